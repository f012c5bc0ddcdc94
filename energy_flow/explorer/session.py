"""Runs, one at a time, and what is kept of them: their traces for a replay, their outputs to compare with.

Shapes: `E` input width, `T` output width.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from threading import Lock
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..analysis.trace import Trace
from ..config import Box
from ..core import FlowProcessor
from ..training.batches import box_of
from ..viz import Scene
from .answers import answer_of, cells_of
from .given import Given
from .hands import interventions_of
from .inputs import read_input
from .requests import Routes, RunRequest
from .subject import Subject

KEPT_RUNS = 12
MOST_STEPS = 2000  # of an untrained path
MOST_RECORDS = 400_000  # of a run that is drawn


class Kept(NamedTuple):
    """What is kept of a run."""

    trace: Trace
    output: Tensor  # (T,)
    measure: tuple[str, float] | None  # what the answer's curve ends with


class Session:
    """Runs what the page asks for. Any number of threads may ask; one run is made at a time.

    Args:
        subject: models and data.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._lock = Lock()
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    @torch.no_grad()
    def run(self, wanted: RunRequest) -> dict[str, Any]:
        """Make a run: its scene with the answer, its name, and how it differs from another one.

        Raises:
            ValueError: what is asked for does not fit the model.
            ImportError: a text, and the extra `text` is not installed.
        """
        with self._lock:
            return self._run(wanted)

    def _run(self, wanted: RunRequest) -> dict[str, Any]:
        model = self.subject.model(wanted.model)
        given = read_input(self.subject, wanted.input)
        processor = self._in_box(model.processor, wanted, given)
        box = processor.config.box
        self._use(wanted)
        hands = interventions_of(wanted.hands, box, {name: kept.trace for name, kept in self._kept.items()})
        weight = next(processor.parameters())
        row = given.row.to(weight.device, weight.dtype)
        result = processor.run(row, record=True, along=1.0, intervene=hands)
        assert result.along is not None
        trace = Trace.of(result, processor.config)
        output = result.output[0].float().cpu()
        if not torch.isfinite(result.along).all():
            raise ValueError("the output is not finite; give smaller numbers, or less noise")
        answer = answer_of(self.subject, given, result.along[:, 0].float().cpu(), result.stats.steps)
        measure = (answer.curve_name, answer.curve[-1]) if answer.curve else None
        scene = Scene.of(trace, title=given.name, subtitle=model.name, names={0: given.name}, answers={0: answer})
        differs = self._difference(wanted.against, output, measure)
        name = self._keep(Kept(trace, output, measure))
        return {"run": name, "scene": scene.to_dict(), "measure": measure, "difference": differs}

    def _in_box(self, processor: FlowProcessor, wanted: RunRequest, given: Given) -> FlowProcessor:
        """The model in the box that is asked for, or in that of the input's face."""
        box = Box(*wanted.box) if wanted.box is not None else box_of(given.face, processor.config)
        config = processor.config if box is None else processor.config.in_box(box)
        if config.input_embedding_dim != given.row.shape[1]:
            raise ValueError(
                f"box = {config.box}: it takes {config.input_embedding_dim} numbers, the input has "
                f"{given.row.shape[1]}; give a box with as many sites as the input has cells"
            )
        if config.untrained_path > MOST_STEPS:
            raise ValueError(
                f"box = {config.box}: {config.untrained_path:,} steps, a page plays at most {MOST_STEPS:,}"
            )
        records = config.num_sites * (config.untrained_path + 1)
        if records > MOST_RECORDS:
            raise ValueError(f"box = {config.box}: about {records:,} records, a page shows {MOST_RECORDS:,}")
        return processor if box is None else processor.in_box(box)

    def _use(self, wanted: RunRequest) -> None:
        """Keep the runs that this one refers to longer than others."""
        for name in (wanted.against, *(hand.run for hand in wanted.hands if isinstance(hand, Routes))):
            if name in self._kept:
                self._kept.move_to_end(name)

    def _keep(self, kept: Kept) -> str:
        name = secrets.token_urlsafe(9)
        self._kept[name] = kept
        while len(self._kept) > KEPT_RUNS:
            self._kept.popitem(last=False)
        return name

    def _difference(
        self, against: str | None, output: Tensor, measure: tuple[str, float] | None
    ) -> dict[str, Any] | None:
        """How an output differs from that of an earlier run, where it is kept and as wide."""
        before = None if against is None else self._kept.get(against)
        if before is None or before.output.shape != output.shape:
            return None
        cells = [cells_of(self.subject, one) for one in (before.output, output)]
        return {
            "cosine": float(F.cosine_similarity(before.output, output, dim=0)),
            "rms": float((output - before.output).square().mean().sqrt()),
            "cells": None if cells[0] is None or cells[1] is None else int((cells[0] != cells[1]).sum()),
            "before": before.measure,
            "after": measure,
        }
