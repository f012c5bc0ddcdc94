"""What takes part in a training run and may end it; who only watches is an observer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .energy_trainer import EnergyTrainer
    from .run.run_state import EpochReport


class Callback:
    """Takes part in training: derive from it, and give the methods that you need.

    A method that returns a text ends the run there, as one that is finished: with a checkpoint, and with the text in
    `TrainingResult.ended`. Where several processes train, each has its callbacks, and the first text counts for all. A
    callback that fails ends the run with its error. What it does should follow from the step: a checkpoint holds
    nothing of it.
    """

    def before_training(self, trainer: EnergyTrainer) -> None:
        """The run begins, or goes on."""

    def after_step(self, trainer: EnergyTrainer, step: int) -> str | None:
        """A step was taken; `step` counts from 1."""

    def after_validation(self, trainer: EnergyTrainer, report: EpochReport) -> str | None:
        """The validation set was looked at, or an epoch without one ended."""


class Callbacks:
    """The callbacks of a trainer, whose reasons to end are agreed among the processes.

    Args:
        callbacks: in the order in which they are called.
        trainer: what they are given.
    """

    def __init__(self, callbacks: Sequence[Callback], trainer: EnergyTrainer) -> None:
        for callback in callbacks:
            if isinstance(callback, type) or not all(
                hasattr(callback, name) for name in vars(Callback) if name[0] != "_"
            ):
                raise ValueError(f"callbacks has {callback!r}; give objects of classes that derive from Callback")
        self._callbacks, self._trainer, self._ranks = tuple(callbacks), trainer, trainer.ranks
        if len({*trainer.ranks.everyones(len(callbacks))}) > 1:
            raise ValueError("the processes have different numbers of callbacks; give all the same")

    def before_training(self) -> None:
        """The run begins, or goes on."""
        for callback in self._callbacks:
            callback.before_training(self._trainer)

    def after_step(self, step: int) -> str:
        """Why the run ends with this step; empty where it does not."""
        return self._reason(lambda callback: callback.after_step(self._trainer, step))

    def after_validation(self, report: EpochReport) -> str:
        """Why the run ends with this look; empty where it does not."""
        return self._reason(lambda callback: callback.after_validation(self._trainer, report))

    def _reason(self, ask: Callable[[Callback], str | None]) -> str:
        if not self._callbacks:
            return ""
        said, failed = "", None
        try:
            said = _first_text([ask(callback) for callback in self._callbacks])
        except Exception as error:  # told to the others, so that none waits for this one
            failed = error
        everyone = self._ranks.everyones((said, None if failed is None else f"{type(failed).__name__}: {failed}"))
        if failed is not None:
            raise failed
        for _, words in everyone:
            if words is not None:
                raise RuntimeError(f"a callback of another process failed ({words})")
        return next((text for text, _ in everyone if text), "")


def _first_text(said: Sequence[object]) -> str:
    if not all(isinstance(one, str | None) for one in said):
        raise ValueError(f"callbacks said {said}; each returns a text, which ends the run, or None")
    return next((one for one in said if isinstance(one, str) and one), "")
