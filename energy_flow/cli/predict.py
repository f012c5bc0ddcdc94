"""`energy-flow predict`: outputs for texts, embeddings or test examples, decoded to texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from safetensors.torch import save_file
from torch import Tensor

from ..config import Box, EnergyConfig
from ..data import PairData, load_data, parts_of
from ..data.sources import SHIPPED, load_matrices
from ..data.stored_rows import Rows
from ..text import ApproximateTexts, NearestTexts, TextEncoder, TextGenerator
from ..training.batches import box_of
from ..utils import DeviceManager
from ..utils.files import replace_file, require_writable
from .report import console, load_trainer, print_decoded, print_picture


@dataclass(frozen=True)
class Predict:
    """Decode a model's outputs to the nearest texts of a bank: for texts, for embeddings, or for test examples."""

    model: tyro.conf.Positional[Path]
    """model folder, such as runs/NAME/best"""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """texts to embed (needs the extra text) and send through the model; none: test examples of the data set"""
    inputs: Path | None = None
    """.safetensors file with a matrix `inputs` to send through instead"""
    output: Path | None = None
    """.safetensors file to write the output embeddings to, as `outputs`"""
    data: str | None = None
    """data set whose texts are the bank; by default shipped, where its texts have the width of the outputs"""
    examples: int = 10
    """how many test examples"""
    top: int = 5
    """nearest texts to show for each"""
    decoder: Path | None = None
    """folder that train-decoder wrote: write texts with it instead of looking for the nearest"""
    approximate: bool = False
    """look for the nearest with a faiss index, for banks above a million (extra faiss)"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Print the nearest texts, and write the embeddings where that is asked for."""
        self._check()
        trainer = load_trainer(self.model, self.device)
        data = self._bank(trainer.config)
        names, rows = self._given(data, trainer.config)
        box = self._box(data, trainer.config)
        outputs = trainer.predict(rows, box) if len(rows) else torch.empty(0, trainer.config.output_embedding_dim)
        if self.output is not None:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.output, lambda path: save_file({"outputs": outputs.contiguous()}, path))
            console.print(f"wrote {self.output}")
        if data is None or not len(outputs):
            return
        if self.texts or self.inputs or self.decoder or self.approximate:
            self._print_texts(data, names, outputs)
        else:
            shown = parts_of(data.test)[0].spaced(self.examples)
            print_decoded(data, shown, outputs, self.top)
            for row in range(len(shown)):
                print_picture(data, shown, outputs, row)

    def _check(self) -> None:
        """Refuse, with a ValueError, what does not go together, before any work."""
        if self.decoder is not None and self.approximate:
            raise ValueError("--decoder writes texts and --approximate looks for them; give one of them")
        if self.texts and self.inputs:
            raise ValueError("texts and --inputs are both given; give one of them")
        if self.examples < 0:
            raise ValueError(f"--examples {self.examples}; give 0 or more")
        if self.top < 1:
            raise ValueError(f"--top {self.top}; give at least 1")
        if self.output is not None:
            if self.output.is_dir():
                raise ValueError(f"--output {self.output} is a folder; give the path of a file")
            if self.output.exists() and not self.output.is_file():
                raise ValueError(f"--output {self.output} is no file that can be replaced; give the path of a new one")
            require_writable(self.output.parent, "folder of --output", self.output.name)

    def _bank(self, config: EnergyConfig) -> PairData | None:
        """The data set whose texts outputs are decoded to; None where embeddings are written and nothing else asked.

        Raises:
            ValueError: it has no texts, or of another width, and there is nothing else to do with the outputs.
        """
        to_a_file = self.inputs is not None and self.output is not None
        data = load_data(self.data or SHIPPED, config.data_seed)
        if self.decoder is not None or (not self.texts and self.inputs is None):
            return data
        width = None if data.bank is None else data.bank.embeddings.shape[1]
        if width == config.output_embedding_dim:
            return data
        words = (
            "no texts"
            if width is None
            else f"texts of width {width}, and the model gives {config.output_embedding_dim}"
        )
        if to_a_file:
            if self.data is not None:
                console.print(f"{data.name} has {words}: nothing is decoded")
            return None
        raise ValueError(
            f"data = {data.name!r} has {words}: nothing to decode to; give --data with texts, "
            "or --inputs FILE --output FILE"
        )

    def _given(self, data: PairData | None, config: EnergyConfig) -> tuple[Sequence[str], Rows]:
        """What is sent through the model, and what it is called."""
        if self.inputs is not None:
            rows = load_matrices(self.inputs, ("inputs",))["inputs"]
            return [f"row {row}" for row in range(len(rows))], rows
        assert data is not None
        if self.texts:
            encoder = TextEncoder(data.encoders[0]) if data.encoders else TextEncoder()
            return self.texts, encoder(self.texts)
        if self.examples == 0:
            return [], torch.empty(0, config.input_embedding_dim)
        shown = parts_of(data.test)[0].spaced(self.examples)
        return shown.input_texts or [f"row {row}" for row in range(len(shown))], shown.inputs

    def _box(self, data: PairData | None, config: EnergyConfig) -> Box | None:
        """The lattice of the test examples, where it is not the model's own."""
        if data is None or self.texts or self.inputs is not None:
            return None
        return box_of(parts_of(data.test)[0].face, config)

    def _print_texts(self, data: PairData, names: Sequence[str], outputs: Tensor) -> None:
        if self.decoder is not None:
            found = TextGenerator.load(self.decoder).to(DeviceManager(self.device).device).generate(outputs)
        elif data.bank is None:
            raise ValueError(f"data = {data.name!r} has no texts to decode to; give one that has, such as shipped")
        else:
            search = ApproximateTexts if self.approximate else NearestTexts
            nearest = search(data.bank.texts, data.bank.embeddings)(outputs, self.top)
            found = [", ".join(f"{match.text} ({match.score:.3f})" for match in matches) for matches in nearest]
        for name, text in zip(names, found, strict=True):
            console.print(f"{name}: {text}")
