"""`energy-flow data embed`: the pairs of a file become a set of embeddings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..data.embedding import EmbedJob, Store
from ..data.files import ReadOptions
from ..data.splitting import HELD_OUT
from ..data.text_rows import PairRows
from ..text import EncoderSettings, TextEncoder
from ..text.encoder_settings import OFFLINE_MODEL
from ..utils import DeviceManager
from .report import console


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """The rate, where there is one yet."""
        return Text(f"{task.speed:.0f} rows/s" if task.speed else "")


@dataclass(frozen=True)
class EncoderOptions:
    """How texts become vectors."""

    encoder: str = OFFLINE_MODEL
    """for the inputs: a sentence-transformers name or folder (the default needs no network), model2vec:NAME,
    fastembed:NAME, either with a folder too, or MODULE:FUNCTION from texts to rows"""
    target_encoder: str | None = None
    """another one for the targets"""
    input_prompt: str | None = None
    """what stands before every input: a prompt of the model by its name, such as query, or the words themselves, which
    have a space or a colon; by default what the model does by itself"""
    target_prompt: str | None = None
    """what stands before every target and candidate, such as document"""
    truncate_dim: int | None = None
    """take so many numbers of each vector alone"""
    max_tokens: int | None = None
    """cut texts behind so many tokens; by default the model's own limit"""
    encoder_batch: int | None = None
    """texts that go through the model together; by default what suits its kind, 64 for transformers"""
    normalise: bool = True
    """bring vectors of texts to unit length"""
    trust_remote_code: bool = False
    """run the code that comes with a model"""

    def both(self, device: str) -> tuple[TextEncoder, TextEncoder]:
        """The encoders of inputs and targets."""
        if self.encoder_batch is not None and self.encoder_batch < 1:
            raise ValueError(f"--encoder-batch {self.encoder_batch}; give at least 1")
        more = {name: getattr(self, name) for name in ("truncate_dim", "max_tokens", "normalise", "trust_remote_code")}
        given = EncoderSettings(self.encoder, self.input_prompt, **more)
        wanted = EncoderSettings(self.target_encoder or self.encoder, self.target_prompt, **more)
        first = TextEncoder(given, device, self.encoder_batch)
        return first, first if wanted == given else TextEncoder(wanted, device, self.encoder_batch)


@dataclass(frozen=True)
class Embed:
    """Embed the pairs of a file into a folder that `train --data` takes; run it again after a kill, and it goes on."""

    source: tyro.conf.Positional[Path]
    """.jsonl, .ndjson, .json, .csv, .tsv or .parquet file, with .gz or without; a folder of such files; or a folder or
    name that the library datasets loads (extra hub)"""
    output: tyro.conf.Positional[Path]
    """folder for the pair set"""
    input_column: str = "input"
    """column with the inputs: texts, or vectors that are taken as they are"""
    target_column: str = "target"
    """column with the targets"""
    id_column: str | None = None
    """column with ids, unique in the file"""
    input_text_column: str | None = None
    """column with the texts of inputs that are vectors"""
    target_text_column: str | None = None
    """column with the texts of targets that are vectors: outputs are decoded to them"""
    group_column: str | None = None
    """column with groups, such as the document of a passage: the rows of one stay in one split"""
    candidates: Path | None = None
    """file of the texts that outputs are decoded to, beyond the targets: one a line, or rows with `text` and perhaps
    `groups` of synonyms, as `data build wordnet` writes, and `vector`"""
    held_out: float = HELD_OUT
    """share of the rows that goes to validation, and share that goes to test"""
    splits_from: Path | None = None
    """an earlier set of fewer rows, which keep their splits"""
    skip_bad: bool = False
    """leave bad rows out, and list them, instead of stopping at the first"""
    store: Store = "float32"
    """numbers on the disk: float16 takes half of the room and int8 a quarter"""
    device: str = "auto"
    """where the encoder runs"""
    encoding: tyro.conf.OmitArgPrefixes[EncoderOptions] = field(default_factory=EncoderOptions)
    reading: tyro.conf.OmitArgPrefixes[ReadOptions] = field(default_factory=ReadOptions)

    def __call__(self) -> None:
        """Embed, and print the manifest."""
        device = str(DeviceManager(self.device).device)
        rows = PairRows(
            self.source,
            self.input_column,
            self.target_column,
            self.id_column,
            self.skip_bad,
            self.input_text_column,
            self.target_text_column,
            self.group_column,
            self.reading,
        )
        columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=console)
        task = bar.add_task("embedding", total=None)

        def show(done: int, total: int) -> None:
            bar.start()
            bar.update(task, completed=done, total=total)

        given, wanted = self.encoding.both(device)
        more = {"store": self.store, "splits_from": self.splits_from}
        try:
            manifest = EmbedJob(rows, self.output, given, wanted, self.candidates, self.held_out, show, **more).run()
        finally:
            if bar.live.is_started:
                bar.stop()
        for bad in rows.skipped:
            _say(f"skipped {bad}")
        for side, encoder in (("input", given), ("target", wanted)):
            if manifest.get(f"{side}_embedded") and (names := encoder.unused_prompts):
                _say(f"the encoder has the prompts {', '.join(names)}; {side}s have none: --{side}-prompt NAME")
        for name, count in manifest.get("cut", {}).items():
            if count:
                _say(f"{count} texts of {name} are longer than what the encoder reads; their ends were not read")
        if manifest.get("left_out"):
            unknown = "; ".join(manifest["unknown"])
            words = f", as the encoder knows nothing of their texts: {unknown}" if unknown else ""
            _say(f"{manifest['left_out']} rows are left out of all splits{words}")
        if manifest.get("leaked"):  # splits that are given alone can do so
            _say(
                f"{manifest['leaked']} held-out rows share an input, a target, a text or a group with a row of the "
                "training: these splits were given, and are kept; give none to have them drawn anew"
            )
        for note in rows.notes():
            _say(note)
        console.print_json(data=manifest)


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False)
