"""`energy-flow analyze`: what the flows of a model do, and whether it matters which way they go."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from ..analysis import MEASURES, Analysis, Comparison, Samples, analyze, page_of
from ..analysis.comparison import value_beyond_chance
from ..analysis.page import HEADINGS
from ..analysis.plane_picture import planes_png
from ..config import Box, EnergyConfig
from ..core import FlowProcessor
from ..data import load_data
from ..data.checked_rows import check_width
from ..training import load_model
from ..training.model_folder import CONFIG
from ..training.run.opening import CHECKPOINTS
from ..utils import DeviceManager
from ..utils.files import replace_file, require_writable
from ..viz import document_html, metrics_table
from .found_models import data_of, home_of_results, model_folder, run_folder
from .report import console
from .rows import pairs_in_box

JSON, TEXT, PAGE = "analysis.json", "analysis.md", "analysis.html"
_CHECKPOINT = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class Analyze:
    """Measure what the flows of trained models do beside three nulls, and test whether their routes carry anything."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """run folders, of which the best weights are taken, or model folders; several are compared, such as seeds"""
    data: str | None = None
    """shipped, a synthetic task, a folder, or a .safetensors file; by default what a model of the package was trained
    on, and for others shipped"""
    split: str = "test"
    """train, validation, test, or one that a task has beside them, such as few-clues of sudoku-6"""
    samples: int = 200
    """how many samples"""
    output: Path | None = None
    """folder for analysis.json, analysis.md and analysis.html; by default that of the run"""
    box: str | None = None
    """width, height and depth of another lattice to run the weights in, such as 33x33x400"""
    clusters: int = 8
    """classes of samples, where the task has none: clusters of the targets"""
    permutations: int = 20
    """of classes over samples, which say what chance gives"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Analyse every run, print the tables, and write the page."""
        self._check()
        folder = self.output or home_of_results(self.runs[0])
        source = data_of(self.runs[0], self.data)
        require_writable(folder, "folder of --output", PAGE)
        models = [self._load(model_folder(run)) for run in self.runs]
        faces = [self._box_of(model).sites for model in models]
        if len(set(faces)) > 1:
            raise ValueError(f"runs have faces of {faces} sites; give runs of one face to compare")
        analyses = {}
        for run, name, own in zip(self.runs, names_of(self.runs), models, strict=True):
            analyses[name] = self._analyze(run, own)
            self._print(name, analyses[name])
        comparison = Comparison.of(list(analyses.values()), faces[0]) if len(analyses) > 1 else None
        title = f"What flows do: {source}, {self.split} split"
        found: dict[str, Any] = {"data": source, "split": self.split, "box": self.box}
        found["runs"] = {name: one.to_dict() for name, one in analyses.items()}
        found["comparison"] = None if comparison is None else comparison.to_dict()
        folder.mkdir(parents=True, exist_ok=True)
        pictures = {name: planes_png(one.planes, HEADINGS) for name, one in analyses.items()}
        files = {
            JSON: json.dumps(found, indent=2) + "\n",
            TEXT: page_of(title, analyses, comparison),
            PAGE: document_html(title, page_of(title, analyses, comparison, pictures)),
        }
        for name, text in files.items():
            replace_file(folder / name, lambda path, text=text: path.write_text(text, encoding="utf-8", newline="\n"))
            console.print(f"wrote {folder / name}")

    def _check(self) -> None:
        """Refuse, with a ValueError, what does not go together, before any work."""
        if not self.runs:
            raise ValueError("no run is given; give run folders, such as runs/NAME")
        if self.samples < 2:
            raise ValueError(f"--samples {self.samples}; give at least 2, as they are compared")
        if self.permutations < 1:
            raise ValueError(f"--permutations {self.permutations}; give at least 1")
        if self.output is None and len(self.runs) > 1:
            raise ValueError(f"{len(self.runs)} runs are compared; give --output, the folder for what is found")

    def _box_of(self, own: FlowProcessor) -> EnergyConfig:
        """The configuration of a model in the box that is asked for."""
        return own.config if self.box is None else own.config.in_box(Box.parse(self.box))

    def _analyze(self, run: Path, own: FlowProcessor) -> Analysis:
        """What was found of a run, whose model is `own`."""
        data = load_data(data_of(self.runs[0], self.data), own.config.data_seed)
        box = self._box_of(own).box
        pairs = pairs_in_box(box, data, self.split, self.samples, own.config)
        processor = own.in_box(box)
        check_width(f"{data.name}: inputs", pairs.inputs, processor.config.input_embedding_dim)
        check_width(f"{data.name}: targets", pairs.targets, processor.config.output_embedding_dim)
        samples = Samples.of(pairs.spaced(self.samples), data.task, self.clusters)
        checkpoints = {step: self._load(folder).in_box(box) for step, folder in checkpoints_of(run).items()}
        return analyze(processor, samples, checkpoints, self.permutations)

    def _load(self, folder: Path) -> FlowProcessor:
        return load_model(folder, DeviceManager(self.device).device)

    def _print(self, name: str, found: Analysis) -> None:
        rows: dict[str, dict[str, float]] = {}
        for system, measures in found.measures.items():
            values = {one: value_beyond_chance(one, value) for one, value in measures.items()}
            rows[system] = {MEASURES[one].title: value for one, value in values.items() if value is not None}
        console.print(metrics_table(f"{name}: {found.samples} samples; information, less chance", rows))
        console.print(found.verdict)


def checkpoints_of(run: Path) -> dict[int, Path]:
    """The checkpoints of a run by their steps, in order."""
    found = sorted((run_folder(run) / CHECKPOINTS).glob("step-*"))
    steps = [(_CHECKPOINT.fullmatch(folder.name), folder) for folder in found]
    return {int(step[1]): folder for step, folder in steps if step is not None and (folder / CONFIG).is_file()}


def names_of(runs: tuple[Path, ...]) -> list[str]:
    """What runs are called: their folders' names, or their paths where these are the same."""
    names = [run_folder(run).name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]
