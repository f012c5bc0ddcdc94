"""A run: its folder and the right to write it, its checkpoints and weights, who watches it and who may stop it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from ...config import EnergyConfig
from ...distributed.ranks import Ranks
from ...utils.logging import logger
from ..model_folder import CONFIG, WEIGHTS
from .checkpoint_files import Files, versions
from .checkpoint_store import CheckpointStore
from .folder_lock import FolderLock
from .folder_observers import run_folder_observers
from .metrics_file import METRICS
from .observers import Example, Figures, Observer, Observers
from .opening import CHECKPOINTS, Opened, Opening
from .run_files import (
    LOG,
    NONFINITE,
    OF_ONE_RUN,
    WEIGHT_FOLDERS,
    remove_earlier_run,
    remove_unfinished,
    require_space,
    restore_best,
    set_aside,
)
from .run_state import RunState
from .signals import SIGNALS, StopSignals

Written = TypeVar("Written")
CHECKPOINT = "checkpoint"
WEIGHTS_OF_A_CHECKPOINT = 5  # in sizes of the model: itself, two moments, its average, the best
PAUSES = ("", CHECKPOINT, "time limit", *SIGNALS)  # why training pauses after a step; a later one beats an earlier


class TrainingStopped(Exception):  # noqa: N818  # a stop that was asked for is no error
    """Training was asked to stop, by a signal or its time limit; the message says what was saved and how to go on."""


class WeightsNotSavedError(OSError):
    """Training is done, and its last or best weights could not be written; the message says what is on the disk."""


class Run:
    """What a training run has beside its numbers. Of several processes the first alone writes.

    Building it changes nothing on the disk; `running` takes the folder and gives it back.

    Args:
        opening: what was found in the run folder.
        config: of the run.
        ranks: the processes that train together.
        observers: who watches, beside the files in the folder.
    """

    def __init__(
        self, opening: Opening, config: EnergyConfig, ranks: Ranks, observers: Sequence[Observer] = ()
    ) -> None:
        self.opening, self.config, self.ranks = opening, config, ranks
        self.signals = StopSignals()
        self._extra, self._observers = tuple(observers), Observers(())
        self._lock: FolderLock | None = None
        self._store: CheckpointStore | None = None
        if opening.folder is not None:
            self._store = CheckpointStore(opening.folder / CHECKPOINTS, config.keep_checkpoints)
        self._saved: tuple[tuple[int, int], Path | None] = ((-1, -1), None)  # step and looks, and where
        self._started = self._checkpointed = time.perf_counter()

    @property
    def folder(self) -> Path | None:
        """The run folder."""
        return self.opening.folder

    @property
    def name(self) -> str:
        """What the log calls the run."""
        return "-" if self.folder is None else self.folder.name

    @property
    def best(self) -> Path | None:
        """The file of the best weights."""
        return None if self.folder is None else self.folder / "best" / WEIGHTS

    def reopen(self, how: Opened, checkpoint: Path | None = None) -> None:
        """Another fit of the same trainer begins."""
        if self.folder is not None and self._store is not None:
            known = tuple(path.name for path in self._store.all())
            self.opening = Opening(self.folder, how, checkpoint, known)

    def newest(self) -> Path | None:
        """The newest whole checkpoint in the folder, for every process."""
        store = self._store
        return None if store is None else self.ranks.from_first(store.newest)

    @contextlib.contextmanager
    def running(self, state: RunState, weight_bytes: int) -> Iterator[None]:
        """While it is entered, the folder is this run's, signals are noted, and the observers are told.

        Args:
            state: where the run is.
            weight_bytes: of the model on the disk.

        Raises:
            ValueError: the folder is in use, cannot be written, or its disk is full.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.signals)
            self.signals.awaited = "the first step"
            self.ranks.from_first(partial(self._take, state, weight_bytes, stack))
            self._started = self._checkpointed = time.perf_counter()
            self._saved = ((-1, -1), self.opening.checkpoint)
            if self._saved[1] is not None:
                self.signals.saved = f"{self._saved[1].name} is on the disk"
            yield

    def tell(self, tell: Callable[[Observer], object]) -> None:
        """Tell the observers something, as long as the folder is this run's."""
        self.ranks.from_first(self._require)
        self._observers.tell(tell)

    def look(self, record: Figures, examples: Sequence[Example]) -> None:
        """Tell the observers of a look at the validation set."""
        self.tell(lambda observer: observer.validate(record, examples))

    def wish_to_pause(self, state: RunState) -> str:
        """Why the run would pause after this step, agreed among the processes; their clocks and signals differ."""
        return PAUSES[self.ranks.largest([PAUSES.index(self._own_wish(state))])[0]]

    def save(self, state: RunState, files: Callable[[], Files]) -> Path | None:
        """Write a checkpoint, of every process's part, unless this very state has one; None where that failed.

        Args:
            state: where the run is.
            files: gives what writes each file; called on every process.
        """
        if self.folder is None:
            return None
        self._checkpointed = time.perf_counter()
        now = (state.step, len(state.reports))
        if self._saved[0] != now:
            self.signals.awaited, awaited = "the checkpoint", self.signals.awaited
            written = files()
            self._saved = (now, self.ranks.from_first(partial(self._save, state, written)))
            self.signals.awaited = awaited
            if self._saved[1] is not None:
                self.signals.saved = f"{self._saved[1].name} is on the disk"
        return self._saved[1]

    def keep(self, state: RunState, name: str, write: Callable[[Path], object]) -> None:
        """Write `best` or `last` weights on the first process, and note which they are."""
        folder = self.folder
        if folder is None:
            return

        def written() -> bool:
            self._require()
            return self._try(f"{name} weights", state.step, lambda: write(folder / name) or True) is True

        if self.ranks.from_first(written):
            state.kept[name] = state.step

    def has(self, state: RunState, name: str) -> int | None:
        """The step of the `best` or `last` weights, if they are on the disk still."""
        folder = self.folder
        there = folder is not None and self.ranks.from_first(partial(self._is_there, name))
        return state.kept.get(name) if there else None

    def keep_batch(self, state: RunState, write: Callable[[Path], object]) -> None:
        """Write the batch in which a number was not finite."""
        folder = self.folder
        if folder is not None and self.ranks.first:
            self._try("copy of the batch", state.step, lambda: write(folder / NONFINITE))

    def stop(self, state: RunState, reason: str, saved: Path | None) -> TrainingStopped:
        """What is raised where the run is asked to stop."""
        where = f"saved in {saved}" if saved else "nothing new was saved"
        how = "go on with --resume auto" if self.folder is not None else "fit goes on from here"
        return TrainingStopped(f"stopped after step {state.step} ({reason}), {where}; {how}")

    def require_weights(self, state: RunState, went_on: bool) -> None:
        """Make sure, at the end of a run, that its last and best weights are on the disk.

        Args:
            state: where the run is.
            went_on: whether it took steps since it was opened. Where not, best weights that are lost were told of
                before, and are a warning.

        Raises:
            WeightsNotSavedError: they are not; on every process.
        """
        if self.folder is not None:
            self.ranks.from_first(partial(self._require_weights, state, went_on))

    def _take(self, state: RunState, weight_bytes: int, stack: contextlib.ExitStack) -> None:
        """Take the folder, put it in order for this run, and start the observers."""
        opening, folder = self.opening, self.folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(folder)
            self._lock.acquire()
            stack.callback(self._lock.release)
            opening.require_unchanged()
            require_space(folder, 2 * (WEIGHTS_OF_A_CHECKPOINT + 1) * weight_bytes)
            self._put_in_order(folder, state)
            self.config.save(folder / CONFIG)
        own = [] if folder is None else run_folder_observers(folder, state.step, state.looked_at)
        self._observers = Observers([*own, *self._extra])
        stack.callback(self._observers.close)
        self._observers.tell(lambda observer: observer.start(state.total_steps - state.step))

    def _put_in_order(self, folder: Path, state: RunState) -> None:
        """What an earlier run, or a branch that is not gone on with, left is removed or set aside as was asked for."""
        opening, store = self.opening, self._store
        assert store is not None
        if opening.how is Opened.REPLACED:
            remove_earlier_run(folder)
        elif opening.how is Opened.AGAIN:
            set_aside(folder, OF_ONE_RUN)
        elif opening.how is Opened.RESUMED:
            newer = [path for path in store.all() if store.step_of(path) > state.step]
            if newer:
                branch = [str(path.relative_to(folder)) for path in newer]
                set_aside(folder, [*branch, *WEIGHT_FOLDERS], copied=[METRICS, LOG])
        store.remove_unfinished()
        remove_unfinished(folder)
        if opening.checkpoint is not None:
            restore_best(folder, opening.checkpoint)
        if opening.how is Opened.FORKED:
            state.kept.pop("last", None)

    def _own_wish(self, state: RunState) -> str:
        now, config = time.perf_counter(), self.config
        if self.signals.received:
            return self.signals.received
        if config.time_limit_minutes and now - self._started > 60 * config.time_limit_minutes:
            return "time limit"
        if self.folder is None:
            return ""
        by_steps = config.checkpoint_every and state.batch and state.step % config.checkpoint_every == 0
        by_clock = config.checkpoint_minutes and now - self._checkpointed > 60 * config.checkpoint_minutes
        return CHECKPOINT if by_steps or by_clock else ""

    def _save(self, state: RunState, files: Files) -> Path | None:
        store = self._store
        assert store is not None
        self._require()
        return self._try(CHECKPOINT, state.step, lambda: store.save(state.step, files, {"versions": versions()}))

    def _is_there(self, name: str) -> bool:
        return self.folder is not None and (self.folder / name / WEIGHTS).is_file()

    def _newest_name(self) -> str:
        found = self._store.all() if self._store is not None else []
        return found[-1].name if found else "none"

    def _require(self) -> None:
        if self._lock is not None:
            self._lock.require()

    def _try(self, what: str, step: int, write: Callable[[], Written]) -> Written | None:
        """Write; where the disk does not let it, say so and go on: what was written before is whole."""
        try:
            return write()
        except (OSError, SafetensorError) as error:
            logger.error("no %s at step %d (%s): what was written before stays", what, step, error)
            return None

    def _require_weights(self, state: RunState, went_on: bool) -> None:
        best = state.best(self.config.best_by)
        wanted = {"last": state.looked_at} | ({} if best is None else {"best": best.step})
        there = {name: state.kept.get(name) if self._is_there(name) else None for name in WEIGHT_FOLDERS}
        missing = [name for name, step in wanted.items() if there[name] != step]
        if not missing:
            return
        found = []
        for name in WEIGHT_FOLDERS:
            report = state.report_at(there[name])
            which = "not on the disk" if report is None else f"of epoch {report.epoch} (step {report.step})"
            found.append(f"{name} is {which}")
        words = (
            f"the {' and '.join(missing)} weights are missing in {self.folder}: {', '.join(found)}, and the "
            f"newest checkpoint is {self._newest_name()}"
        )
        if missing == ["best"] and not went_on:
            logger.warning("%s; those of the best look are lost", words)
            return
        raise WeightsNotSavedError(
            f"{words}; free some space, then go on with --resume auto, or write the model in memory with "
            "trainer.save(FOLDER)"
        )
