"""`energy-flow share`: a trained model with its card, in a folder or on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from torch import Tensor

from ..analysis.intervals import bootstrap
from ..analysis.scores import SampleScores
from ..core import FlowProcessor
from ..data import PairData, PairSet, load_data, parts_of
from ..sharing import CONFIG, ModelCard, Score
from ..training import EnergyTrainer, Judge
from ..training.batches import box_of
from ..utils.files import require_writable
from ..utils.machine import machine
from .found_models import data_of, model_folder
from .report import console, load_trainer

OF_TEXTS = ("cosine", "median_rank", "acc_1", "acc_10", "acc_100")  # the figures that a card names


@dataclass(frozen=True)
class Share:
    """Judge a trained model on the test split, and write it with a card that says so, to a folder or to the hub."""

    model: tyro.conf.Positional[Path]
    """run or model folder, such as runs/NAME"""
    data: str | None = None
    """what it was trained on: shipped, a task, a folder, or a .safetensors file; by default shipped"""
    output: Path | None = None
    """new folder for model and card"""
    repo: str | None = None
    """repository on the hub to push it to, such as user/maze (extra hub; the token is that of `hf auth login`)"""
    private: bool = False
    """make a new repository private"""
    name: str = ""
    """of the model, in the card; by default that of the run"""
    what: str = ""
    """what it does: the end of a sentence that begins with `It`"""
    licence: str = ""
    """of the weights, as the hub calls it, such as apache-2.0"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Judge, write, and push."""
        self._check()
        trainer = load_trainer(self.model, self.device)
        data = load_data(data_of(self.model, self.data), trainer.config.data_seed)
        card = ModelCard(
            name=self.name or self._name_of_run(),
            what=self.what,
            data=data.name,
            seed=trainer.config.seed,
            scores=scores_of(trainer, data),
            machine=machine(),
            licence=self.licence,
        )
        processor: FlowProcessor = trainer.processor
        if self.output is not None:
            processor.save_pretrained(self.output, card=card, repo_id=self.repo)
            console.print(f"wrote {self.output}")
        if self.repo is not None:
            address = processor.push_to_hub(self.repo, card=card, private=self.private or None)
            console.print(f"pushed to {address}")

    def _check(self) -> None:
        """Refuse, with a ValueError, what cannot be written, before any work."""
        if self.output is None and self.repo is None:
            raise ValueError("nowhere to share it; give --output FOLDER, --repo user/name, or both")
        if self.output is not None:
            require_writable(self.output, "folder of --output", CONFIG)
            if self.output.exists() and (not self.output.is_dir() or any(self.output.iterdir())):
                raise ValueError(f"--output {self.output} holds files already; give a new folder")

    def _name_of_run(self) -> str:
        folder = model_folder(self.model).resolve()
        return folder.parent.name if folder.name in {"best", "last"} else folder.name


def scores_of(trainer: EnergyTrainer, data: PairData) -> list[Score]:
    """What the model scores on the test split, for each size of its rows, with 95 % intervals over rows."""
    found = []
    for part in parts_of(data.test):
        where = "test split" if part.face is None else f"test split, {part.face[0]} x {part.face[1]}"
        outputs = trainer.predict(part.inputs, box_of(part.face, trainer.config))
        found += _of_task(data.task, part, outputs, where) if data.task else _of_texts(data, part, outputs, where)
    return found


def _of_task(task: str, part: PairSet, outputs: Tensor, where: str) -> list[Score]:
    scores = SampleScores(part, task)
    value, low, high = bootstrap(scores(part.inputs[:], outputs, part.targets[:]))
    return [Score(scores.name, where, value, low, high, len(part))]


def _of_texts(data: PairData, part: PairSet, outputs: Tensor, where: str) -> list[Score]:
    judge = Judge(data.bank)
    values, intervals = judge.measure(outputs, part).to_dict(), judge.confidence_intervals(outputs, part)
    shown = [name for name in OF_TEXTS if name in values]
    return [Score(name, where, values[name], *intervals[name], len(part)) for name in shown]
