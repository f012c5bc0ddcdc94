"""The commands of `energy-flow data`: build sets of texts, embed them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
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

from .data.embedding import EmbedJob
from .data.pair_folder import HELD_OUT
from .data.shipped import build_shipped
from .data.sources import TASK_ROWS
from .data.tasks import TASKS, build_task
from .data.text_rows import PairRows
from .data.wordnet import build_wordnet, read_words
from .text import TextEncoder
from .text.encoder import OFFLINE_MODEL
from .utils import DeviceManager

WORDNET = Path("/usr/share/wordnet")
console = Console()


class RateColumn(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """The rate, where there is one yet."""
        return Text(f"{task.speed:.0f} rows/s" if task.speed else "")


@dataclass(frozen=True)
class BuildShipped:
    """Build the data set that comes with the package again, from an installed WordNet 3.0 (needs the extra text)."""

    output: tyro.conf.Positional[Path]
    """new folder for the files"""
    wordnet: Path = WORDNET
    """folder of WordNet's database files (data.noun, ...), as the Debian package wordnet-base installs them"""

    def __call__(self) -> None:
        """Build and print the card."""
        encoder = TextEncoder()
        console.print_json(data=build_shipped(self.wordnet, self.output, encoder, encoder.name))


def _buildable() -> Any:
    """The names to choose from: those of the tasks that are registered when the command is parsed."""
    return Literal[("wordnet", *TASKS)]


Buildable = Annotated[str, tyro.conf.arg(constructor_factory=_buildable)]


@dataclass(frozen=True)
class Build:
    """Build a set: WordNet's 138 834 pairs of a definition and its word as texts, or a task as a pair set."""

    name: tyro.conf.Positional[Buildable]
    """what to build"""
    output: tyro.conf.Positional[Path]
    """new folder; of wordnet for `pairs.jsonl`, `candidates.jsonl` (all words) and the card, of a task for the set"""
    rows: int = TASK_ROWS
    """training rows of a task (digits has 1437 and no more)"""
    held_out_rows: int = 2000
    """rows of a task's validation split, and of its test split (digits has 180)"""
    seed: int = 0
    """seed of a task"""
    wordnet: Path = WORDNET
    """folder of WordNet's database files (data.noun, ...), as the Debian package wordnet-base installs them"""
    exclude_words: Path | None = None
    """file of words to leave out, one a line, or a JSON list of objects with `word`"""
    exclude_synsets: bool = False
    """leave out every synset of an excluded word too, so that no synonym brings its definition back"""

    def __call__(self) -> None:
        """Build and print the card."""
        if self.name != "wordnet":
            manifest = build_task(self.name, self.output, self.rows, self.held_out_rows, self.seed)
            console.print_json(data=manifest)
            return
        if self.exclude_synsets and self.exclude_words is None:
            raise ValueError("--exclude-synsets needs --exclude-words, the words whose synsets leave")
        words = read_words(self.exclude_words) if self.exclude_words else []
        console.print_json(data=build_wordnet(self.wordnet, self.output, words, self.exclude_synsets))


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


DATA_COMMANDS: dict[str, Any] = {"build": Build, "embed": Embed, "build-shipped": BuildShipped}
