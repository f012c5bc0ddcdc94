"""`energy-flow predict`: outputs for texts, vectors or test examples, written to a file or decoded to texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import Tensor

from ..config import Box
from ..data import PairData, load_data, parts_of
from ..data.beside_vectors import check_beside
from ..data.files import ReadOptions, text_of
from ..data.vector_files import VectorSource, check_output, open_vectors
from ..data.vector_output import UnfinishedRows, finish, note_of
from ..data.vector_tables import OUTPUT
from ..text import TextEncoder, encoder_of
from ..training.batches import box_of
from ..training.metrics import HIT_NOTHING
from ..utils.directions import has_direction
from ..utils.files import require_writable, sha256_of
from .decoding import Decode, by_index, by_search, by_writing, hub_queries
from .found_models import data_of, model_folder
from .given_rows import TextRows, read_texts
from .progress import rows_bar
from .report import console, load_trainer, print_decoded, print_picture
from .row_map import LatticeMap, RowMap, StoredLinearMap, require_width
from .rows import pairs_in_box

DEFAULT_TOP = 5


@dataclass(frozen=True)
class Predict:
    """Send texts, vectors or test examples through a model: write what comes out, or decode it to the nearest texts."""

    model: tyro.conf.Positional[Path]
    """model folder, such as runs/NAME/best, a name that `energy-flow list` shows, or a linear map that train-linear
    wrote"""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """texts to embed (needs the extra text) and send through the model; none: test examples of the data set"""
    texts_file: str | None = None
    """file of texts, one a line, instead; - reads the standard input"""
    encoding: str = "utf-8"
    """of this file"""
    inputs: Path | None = None
    """file of vectors instead: .npy, .safetensors, or a table (.jsonl, .csv, .parquet and others)"""
    key: str | None = None
    """matrix of a .safetensors file; by default the only one, or `inputs`"""
    input_column: str | None = None
    """column of a table; by default `input`, or the only one with vectors"""
    output: Path | None = None
    """file to write the outputs to: .npy, .safetensors (as `outputs`), .jsonl or .parquet, which keep the other columns
    of the inputs; the same command goes on after a kill"""
    output_column: str = OUTPUT
    """column of the outputs in a .jsonl or .parquet file"""
    data: str | None = None
    """data set whose texts are the bank; by default shipped, where its texts have the width of the outputs"""
    encoder: str | None = None
    """what embeds texts; by default what embedded the inputs of the data set"""
    examples: int = 10
    """how many test examples"""
    box: str | None = None
    """width, height and depth of another lattice to run the weights in, such as 33x33x400; of a task, examples of this
    size are drawn"""
    top: int | None = None
    """nearest texts to show for each, by default 5; with --output nothing is decoded unless this or --data is given"""
    csls: bool = False
    """hold hubs back when decoding (CSLS, measured on outputs for training inputs of the data set)"""
    decoder: Path | None = None
    """folder that train-decoder wrote: write texts with it instead of looking for the nearest"""
    approximate: bool = False
    """look for the nearest with a faiss index, for banks above a million (extra faiss)"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __post_init__(self) -> None:
        if self.output is not None and self.output.parts[:1] == ("~",):  # as no shell expands it behind --output=
            object.__setattr__(self, "output", self.output.expanduser())

    def __call__(self) -> None:
        """Write the outputs where that is asked for, and print what they are decoded to."""
        self._check()
        given = None if self.inputs is None else open_vectors(self.inputs, self.key, self.input_column)
        texts = self.texts if self.texts_file is None else read_texts(self.texts_file, self.encoding)
        row_map = self._map()
        data = self._data(row_map)
        if given is None and texts:
            given = TextRows(texts, self._encoder(data))
        if given is None:
            self._print_examples(row_map, data)
            return
        what = given.name if isinstance(given, TextRows) else str(self.inputs)
        require_width(what, given.width, row_map)
        self._require_free_column(given)
        decoding = None if data is None else self._decoding(row_map, data)
        names = texts or [f"row {row}" for row in range(given.rows)] if decoding else ()
        if self.output is None:
            assert decoding is not None  # there is nothing else to do with outputs
            for first, outputs in _outputs(row_map, given, 0):
                _print(names[first:], decoding(outputs))
        else:
            self._write(self.output, row_map, given, names, decoding)

    def _check(self) -> None:
        """Refuse, with a ValueError, what does not go together, before any work."""
        if self.decoder is not None and (self.approximate or self.csls):
            raise ValueError("--decoder writes texts, --approximate and --csls look for them; give one of them")
        if self.approximate and self.csls:
            raise ValueError("--csls is exact and --approximate is not; give one of them")
        ways = {"texts": self.texts, "--texts-file": self.texts_file, "--inputs": self.inputs}
        given = [name for name, value in ways.items() if value]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given; give one of them")
        for name, value in (("--key", self.key), ("--input-column", self.input_column)):
            if value is not None and self.inputs is None:
                raise ValueError(f"{name} {value} is about a file of vectors; give it with --inputs")
        if self.encoding != Predict.encoding and self.texts_file is None:
            raise ValueError(f"--encoding {self.encoding} is about a file of texts; give it with --texts-file")
        ReadOptions(encoding=self.encoding)
        for number, text in enumerate(self.texts, start=1):
            text_of(text, f"text {number}")
        if self.examples < 0:
            raise ValueError(f"--examples {self.examples}; give 0 or more")
        if self.top is not None and self.top < 1:
            raise ValueError(f"--top {self.top}; give at least 1")
        if self.output is not None:
            if self.output.is_dir():
                raise ValueError(f"--output {self.output} is a folder; give the path of a file")
            if self.output.exists() and not self.output.is_file():
                raise ValueError(f"--output {self.output} is no file that can be replaced; give the path of a new one")
            require_writable(self.output.parent, "folder of --output", note_of(self.output).name)
            check_output(self.output)

    def _map(self) -> RowMap:
        box = None if self.box is None else Box.parse(self.box)
        if not self.model.is_file():
            return LatticeMap(model_folder(self.model), load_trainer(self.model, self.device), box)
        if box is not None:
            raise ValueError(f"{self.model} is a linear map, which has no lattice; leave --box out")
        return StoredLinearMap(self.model)

    def _data(self, row_map: RowMap) -> PairData | None:
        """The data set whose texts outputs are decoded to, or whose examples are shown; None where none is needed.

        Raises:
            ValueError: it has no texts, or of another width, and there is nothing else to do with the outputs.
        """
        own_rows = bool(self.texts or self.texts_file or self.inputs)
        asked = (self.data, self.top, self.decoder) != (None, None, None) or self.approximate or self.csls
        if own_rows and self.output is not None and not asked:
            return None
        seed = row_map.trainer.config.data_seed if isinstance(row_map, LatticeMap) else 0
        return load_data(data_of(self.model, self.data), seed)

    def _decoding(self, row_map: RowMap, data: PairData) -> Decode | None:
        """How outputs become texts; None where they cannot, and are written all the same."""
        if self.decoder is not None:
            return by_writing(self.decoder, self.device)
        width = None if data.bank is None else data.bank.embeddings.shape[1]
        if data.bank is None or width != row_map.widths[1]:
            held = "no texts" if width is None else f"texts of width {width}, and the model gives {row_map.widths[1]}"
            if self.output is None:
                raise ValueError(
                    f"data = {data.name!r} has {held}: nothing to decode to; give --data with texts, "
                    "or --inputs FILE --output FILE"
                )
            console.print(f"{data.name} has {held}: nothing is decoded")
            return None
        texts = len(data.bank.texts)
        if self.top is not None and self.top > texts:
            raise ValueError(f"--top {self.top}; {data.name} has {texts} texts: give at most as many")
        top = self.top or min(DEFAULT_TOP, texts)
        if self.approximate:
            return by_index(data.bank, top)
        return by_search(data.bank, top, hub_queries(row_map, data) if self.csls else None)

    def _encoder(self, data: PairData | None) -> TextEncoder:
        """What embeds texts: with --data, whatever embedded the inputs of that set, and no other weights."""
        if self.encoder is not None:
            own = None if self.data is None or data is None else encoder_of(data, "input", model=self.encoder)
            return own or TextEncoder(self.encoder)
        return (None if data is None else encoder_of(data, "input")) or TextEncoder()

    def _require_free_column(self, given: VectorSource) -> None:
        if self.output_column in given.columns and self.output_column != given.column:
            raise ValueError(
                f"{self.inputs or 'the table'} has a column {self.output_column!r} already; "
                "name another for the outputs with --output-column"
            )

    def _write(
        self, output: Path, row_map: RowMap, given: VectorSource, names: Sequence[str], decoding: Decode | None
    ) -> None:
        decoded: list[str] = []
        bad = 0
        schema = check_beside(given, output, row_map.block)
        with UnfinishedRows(output, given.rows, row_map.widths[1], self._made_of(row_map, given)) as unfinished:
            if unfinished.done:
                console.print(f"{output}: goes on at row {unfinished.done} of {given.rows}")
            with rows_bar("predicting") as show:
                for _, outputs in _outputs(row_map, given, unfinished.done):
                    unfinished.append(outputs)
                    show(unfinished.done, given.rows)
            stored = unfinished.stored()
            for first in range(0, given.rows, row_map.block):
                outputs = stored[first : first + row_map.block]
                bad += int((~has_direction(outputs)).sum())
                decoded += [] if decoding is None else decoding(outputs)
            finish(unfinished, lambda: given.beside(row_map.block), self.output_column, schema)
        console.print(f"wrote {output}")
        if bad:
            console.print(f"{bad} of {given.rows} outputs {HIT_NOTHING}")
        _print(names, decoded)

    def _made_of(self, row_map: RowMap, given: VectorSource) -> Mapping[str, str | None]:
        """What tells this job from another."""
        if isinstance(given, TextRows):
            return row_map.made_of | given.made_of
        assert self.inputs is not None  # rows come from texts or from a file
        return row_map.made_of | {"inputs": sha256_of(self.inputs), "key": self.key, "column": given.column}

    def _print_examples(self, row_map: RowMap, data: PairData | None) -> None:
        """Test examples of the data set, and their outputs."""
        assert data is not None  # it is there unless rows are given
        box, part = None, parts_of(data.test)[0]
        if isinstance(row_map, LatticeMap):
            config, box = row_map.trainer.config, row_map.box
            if box is not None:
                part = pairs_in_box(box, data, "test", max(1, self.examples), config)
            box = box or box_of(part.face, config)
        require_width(f"{data.name}: inputs", part.inputs.shape[1], row_map, box)
        shown = part.spaced(self.examples) if self.examples else None
        outputs = row_map(shown.inputs[:], box) if shown is not None else torch.empty(0, row_map.widths[1])
        if self.output is not None:
            with UnfinishedRows(
                self.output, len(outputs), row_map.widths[1], row_map.made_of | {"examples": data.name}
            ) as unfinished:
                unfinished.done = 0
                unfinished.append(outputs)
                finish(unfinished, lambda: [[{} for _ in outputs]], self.output_column)
            console.print(f"wrote {self.output}")
        if shown is None:
            return
        if self.decoder or self.approximate or self.csls:
            decoding = self._decoding(row_map, data)
            if decoding is not None:
                names = shown.input_texts or [f"row {row}" for row in range(len(shown))]
                _print(names, decoding(outputs))
            return
        print_decoded(data, shown, outputs, self.top or DEFAULT_TOP)
        for row in range(len(shown)):
            print_picture(data, shown, outputs, row)


def _outputs(row_map: RowMap, given: VectorSource, start: int) -> Iterator[tuple[int, Tensor]]:
    """Blocks of outputs from row `start` on, each with the number of its first row."""
    for block in given.blocks(row_map.block, start):
        yield start, row_map(block)
        start += len(block)


def _print(names: Sequence[str], decoded: Sequence[str]) -> None:
    for name, text in zip(names, decoded, strict=False):
        console.print(f"{name}: {text}")
