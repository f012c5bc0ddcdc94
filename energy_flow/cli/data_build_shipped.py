"""`energy-flow data build-shipped`: the data set that comes with the package, again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..data.shipped import build_shipped
from ..text import TextEncoder
from ..text.encoder_settings import OFFLINE_MODEL
from .report import WORDNET, console


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
        console.print_json(data=build_shipped(self.wordnet, self.output, encoder, OFFLINE_MODEL))
