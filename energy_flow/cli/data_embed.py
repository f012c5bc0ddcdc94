"""`energy-flow data embed`: the pairs of a file become a set of embeddings."""

from __future__ import annotations

from dataclasses import dataclass
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

from ..data.embedding import EmbedJob
from ..data.pair_folder import HELD_OUT
from ..data.text_rows import PairRows
from ..text import TextEncoder
from ..text.encoder import OFFLINE_MODEL
from ..utils import DeviceManager
from .report import console


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """The rate, where there is one yet."""
        return Text(f"{task.speed:.0f} rows/s" if task.speed else "")


@dataclass(frozen=True)
class Embed:
    """Embed the pairs of a file into a folder that `train --data` takes; run it again after a kill, and it goes on."""

    source: tyro.conf.Positional[Path]
    """.jsonl, .csv, .tsv or .parquet file; or a folder or name that the library datasets loads (extra hub)"""
    output: tyro.conf.Positional[Path]
    """folder for the pair set"""
    input_column: str = "input"
    """column with the inputs: texts, or vectors that are taken as they are"""
    target_column: str = "target"
    """column with the targets"""
    id_column: str | None = None
    """column with ids, unique in the file"""
    encoder: str = OFFLINE_MODEL
    """sentence-transformers model for the inputs, a name or a folder; the default needs no network"""
    target_encoder: str | None = None
    """another one for the targets"""
    candidates: Path | None = None
    """file of the texts that outputs are decoded to, beyond the targets: .txt, one a line, or .jsonl with `text` and
    perhaps `groups` of synonyms, as `data build wordnet` writes"""
    held_out: float = HELD_OUT
    """share of the targets that goes to validation, and share that goes to test"""
    skip_bad: bool = False
    """leave bad rows out, and list them, instead of stopping at the first"""
    device: str = "auto"
    """where the encoder runs"""

    def __call__(self) -> None:
        """Embed, and print the manifest."""
        device = str(DeviceManager(self.device).device)
        encoder = TextEncoder(self.encoder, device)
        other = encoder if self.target_encoder is None else TextEncoder(self.target_encoder, device)
        rows = PairRows(self.source, self.input_column, self.target_column, self.id_column, self.skip_bad)
        columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), RateColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("embedding", total=None)

            def show(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            job = EmbedJob(rows, self.output, encoder, other, self.candidates, self.held_out, show)
            manifest = job.run()
        for bad in rows.skipped:
            console.print(f"skipped {bad}", markup=False, highlight=False)
        console.print_json(data=manifest)
