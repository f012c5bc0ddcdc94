"""`energy-flow data build`: WordNet's pairs as texts, or the rows of a task as a set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from ..data.sources import TASK_ROWS
from ..data.tasks import TASKS, build_task
from ..data.wordnet import build_wordnet, read_words
from .report import WORDNET, console

TASK_OPTIONS = ("rows", "held_out_rows", "seed")
WORDNET_OPTIONS = ("wordnet", "exclude_words", "exclude_synsets")


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
        self._check()
        if self.name != "wordnet":
            manifest = build_task(self.name, self.output, self.rows, self.held_out_rows, self.seed)
            console.print_json(data=manifest)
            return
        words = read_words(self.exclude_words) if self.exclude_words else []
        console.print_json(data=build_wordnet(self.wordnet, self.output, words, self.exclude_synsets))

    def _check(self) -> None:
        """Refuse, with a ValueError, options that the set which is built has no use for."""
        others, kind = (TASK_OPTIONS, "a task") if self.name == "wordnet" else (WORDNET_OPTIONS, "wordnet")
        for option in others:
            if (value := getattr(self, option)) != getattr(Build, option):
                flag = f"--{option.replace('_', '-')}"
                raise ValueError(f"{flag} {value} is about {kind}, and {self.name} is built; leave it out")
        if self.exclude_synsets and self.exclude_words is None:
            raise ValueError("--exclude-synsets needs --exclude-words, the words whose synsets leave")
