"""The loop of training: epochs, steps, looks at the validation set, and what is reported and saved between them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..data.pairs import Pairs, parts_of
from ..data.reading import Batch, read_ahead
from ..utils.logging import log_context, logger
from .batches import box_of, epoch_batches
from .callbacks import Callbacks
from .diagnosis import NonFiniteError, describe, keep_batch
from .learner import Learner
from .metrics import HIT_NOTHING
from .model_folder import save_model
from .run.run import CHECKPOINT, Run
from .run.run_state import EpochReport, RunState
from .step_records import StepRecords
from .validation import Validation


class TrainingLoop:
    """Takes a learner through its epochs.

    Args:
        learner: what learns.
        run: where it is saved, who watches, and who may stop it.
        callbacks: who takes part.
    """

    def __init__(self, learner: Learner, run: Run, callbacks: Callbacks) -> None:
        self.learner, self.run, self.callbacks = learner, run, callbacks
        self.config, self.ranks = learner.config, learner.ranks
        self.records, self._first_step = StepRecords(learner.devices), 0

    def __call__(self, pairs: Pairs, validation: Validation | None, state: RunState) -> None:
        """Train from this state to the end of the run.

        Args:
            pairs: what is learned from.
            validation: what is looked at; None looks at nothing.
            state: where the run is; it goes along.

        Raises:
            TrainingStopped: a signal or the time limit asked for it, and the run was saved.
            WeightsNotSavedError: the last or best weights could not be written.
        """
        self._first_step = state.step
        self.records = StepRecords(self.learner.devices)  # those of a fit that failed are not this one's
        self._log_start(state)
        self.callbacks.before_training()
        while state.epoch <= state.epochs and not self.reason_to_end(state):
            with log_context(run=self.run.name, epoch=state.epoch):
                self._run_epoch(pairs, validation, state)
        self._finish(validation, state)

    def reason_to_end(self, state: RunState) -> str:
        """Why the run is finished before its last epoch; empty where it is not."""
        return state.reason_to_end(self.config.best_by, self.config.patience)

    def _run_epoch(self, pairs: Pairs, validation: Validation | None, state: RunState) -> None:
        """Take the steps of this epoch that are left, and look at the validation set."""
        config, pinned = self.config, self.learner.devices.copies_from_pinned_memory
        order = epoch_batches(pairs, config.batch_size, config.seed, state.epoch)[state.batch :]
        self.records.restart_clock()
        self.learner.require_its_weights()
        with contextlib.closing(read_ahead(pairs, order, config.loader_workers, pinned)) as batches:
            for batch in batches:
                if config.validate_every and state.batch and state.step % config.validate_every == 0:
                    self._look(validation, state)
                if self.reason_to_end(state):
                    return
                with log_context(step=state.step + 1):
                    self._take_step(batch, state)
                    self._pause(state)
        self._look(validation, state)
        state.epoch, state.batch, state.epoch_loss, state.epoch_rows = state.epoch + 1, 0, 0.0, 0

    def _take_step(self, batch: Batch, state: RunState) -> None:
        """Take a step, or leave the batch out where a number is not finite and the policy says so."""
        self.run.signals.awaited = f"step {state.step + 1}"
        self.learner.set_rates(state)
        try:
            self.records.add(self.learner.step(batch))
            self.learner.note_step(state)
        except NonFiniteError as error:
            self._leave_out(batch, state, error)
        state.step, state.batch = state.step + 1, state.batch + 1
        adapts = self.learner.looks_at_budget(state)
        if adapts or len(self.records) >= self.config.log_every:
            self._report(state)
        if adapts:
            self.learner.adapt_budget(state)
        state.ended = self.callbacks.after_step(state.step) or state.ended

    def _look(self, validation: Validation | None, state: RunState) -> None:
        """Look at the validation set, once a step, and keep the weights; what was learned by then is saved before."""
        if state.looked_at == state.step:
            return
        self._report(state)
        report = EpochReport(state.epoch, state.epoch_loss / max(1, state.epoch_rows), None, None, state.step)
        if validation is not None:
            self._save(state)
            self.run.signals.awaited = "the validation set's next batch"
            with self.learner.judged_weights():
                stop = partial(self._pause, state, only_stops=True)
                outputs = [
                    self.learner.prediction.shared(part.inputs, self.ranks, stop, box_of(part.face, self.config))
                    for part in parts_of(validation.pairs)
                ]
            self.run.signals.awaited = "the end of this look at the validation set"
            look = self.ranks.from_first(partial(validation.judge, outputs, self.config))
            report = replace(report, validation_loss=look.loss, validation=look.metrics, own=look.own)
            if look.metrics.no_direction:
                logger.warning("%s of the validation outputs %s", f"{look.metrics.no_direction:.2%}", HIT_NOTHING)
            self.run.look({"step": state.step, "epoch": state.epoch} | report.figures(), look.examples)
        state.reports.append(report)
        self._keep(state)
        state.ended = self.callbacks.after_validation(report) or state.ended
        self.records.restart_clock()

    def _pause(self, state: RunState, only_stops: bool = False) -> None:
        """Write a checkpoint where one is due; stop where a signal or the time limit asks for it."""
        reason = self.run.wish_to_pause(state)
        if not reason or (only_stops and reason == CHECKPOINT):
            return
        self._report(state)
        saved = self._save(state)
        if reason != CHECKPOINT:
            raise self.run.stop(state, reason, saved)

    def _finish(self, validation: Validation | None, state: RunState) -> None:
        """Leave everything of a finished run on the disk, or say what is missing there."""
        self._look(validation, state)
        self._keep(state)
        self._save(state)
        self.run.require_weights(state, went_on=state.step > self._first_step)

    def _keep(self, state: RunState) -> None:
        """Write the weights of the last look, and as the best ones where they are, unless they are on the disk."""
        by, report = self.config.best_by, state.report_at(state.step)
        kept = state.report_at(self.run.has(state, "best"))
        best = report and report.cost(by)
        worst = None if kept is None else kept.cost(by)
        is_best = best is not None and (worst is None or best < worst)
        with self.learner.judged_weights():
            for name in [name for name, wanted in (("last", True), ("best", is_best)) if wanted]:
                if self.run.has(state, name) != state.step:
                    self.run.keep(state, name, partial(save_model, self.learner.processor))

    def _save(self, state: RunState) -> Path | None:
        best = self.run.best if "best" in state.kept else None
        return self.run.save(state, lambda: self.learner.files(state, best))

    def _report(self, state: RunState) -> None:
        records = self.records.bring(state)
        if records:
            self.run.tell(lambda observer: observer.observe(records))

    def _leave_out(self, batch: Batch, state: RunState, error: NonFiniteError) -> None:
        """Leave a batch out, or stop, as the policy says."""
        self._report(state)
        where, step = str(error), state.step + 1
        self.run.keep_batch(state, lambda folder: keep_batch(folder, step, batch, where))
        state.skipped += 1
        message, budget = describe(step, batch, where), self.config.nonfinite_budget
        if self.config.nonfinite == "stop" or state.skipped > budget:
            raise NonFiniteError(message) from error
        logger.warning("%s. Left out: %d of %d", message, state.skipped, budget)

    def _log_start(self, state: RunState) -> None:
        if self.ranks.first:
            place = f"from step {state.step} of {state.total_steps}" if state.step else f"{state.total_steps} steps"
            together = f", {self.ranks.count} processes" if self.ranks.count > 1 else ""
            logger.info("training on %s%s, %s", self.learner.devices.reason, together, place)
