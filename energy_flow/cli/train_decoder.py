"""`energy-flow train-decoder`: a language model learns to write what an embedding stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from ..data import PairSet, load_data
from ..data.pairs import one_size
from ..data.sources import SHIPPED
from ..text import GeneratorSettings, TextGenerator
from ..text.generator import EpochLosses
from ..utils import DeviceManager
from ..utils.files import require_writable
from .report import console, load_trainer

EXAMPLES = 10


@dataclass(frozen=True)
class TrainDecoder:
    """Train a generative decoder: a small prefix through which a language model reads an embedding (extra text)."""

    language_model: tyro.conf.Positional[Path]
    """folder of a causal or sequence-to-sequence model with its tokenizer, as transformers saves it"""
    output: tyro.conf.Positional[Path]
    """new folder for the decoder"""
    data: str = SHIPPED
    """data set with target texts: shipped, or a folder that `energy-flow data embed` made"""
    model: Path | None = None
    """model folder, such as runs/NAME/best: learn from its outputs instead of the targets' own embeddings"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    settings: tyro.conf.OmitArgPrefixes[GeneratorSettings] = field(default_factory=GeneratorSettings)

    def __call__(self) -> None:
        """Train, save, and show what the decoder writes for validation rows."""
        require_writable(self.output, "folder of the decoder")
        if self.output.exists() and any(self.output.iterdir()):
            raise ValueError(f"{self.output} holds files already; give a new folder")
        data = load_data(self.data)
        train, validation = one_size(data.name, data.train), one_size(data.name, data.validation)
        if not train.target_texts:
            raise ValueError(f"{data.name} has no target texts to learn to write; give a set of texts")
        device = DeviceManager(self.device).device
        generator = TextGenerator(self.language_model, train.targets.shape[1], self.settings).to(device)
        trainer = None if self.model is None else load_trainer(self.model, self.device)

        def given(pairs: PairSet) -> tuple:
            embeddings = pairs.targets[:] if trainer is None else trainer.predict(pairs.inputs)
            return embeddings, pairs.target_texts

        generator.fit(given(train), given(validation), _print_losses)
        generator.save(self.output)
        shown = validation.spaced(EXAMPLES)
        for wanted, written in zip(shown.target_texts, generator.generate(given(shown)[0]), strict=True):
            console.print(f"    {wanted} -> {written}", highlight=False, markup=False)
        console.print(f"wrote {self.output}")


def _print_losses(losses: EpochLosses) -> None:
    figures = f"loss {losses.train:.4f}  validation loss {losses.validation:.4f} nats per token"
    console.print(f"epoch {losses.epoch}  {figures}", highlight=False)
