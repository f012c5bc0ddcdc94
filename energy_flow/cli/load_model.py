"""`energy-flow load`: a trained model of the package or of the hub, in a folder of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from ..models import load, model_path
from ..sharing import CARD, CONFIG, WEIGHTS, ModelCard, fetch, write_model
from ..utils.files import require_writable
from .report import console


@dataclass(frozen=True)
class LoadModel:
    """Copy a trained model to a folder: one of the package, or one of the hub."""

    name: tyro.conf.Positional[str]
    """what `energy-flow list` shows, such as maze; or a repository on the hub, such as user/maze (extra hub)"""
    output: Path | None = None
    """new folder; by default models/ and the name"""

    def __call__(self) -> None:
        """Load it, which checks it, and write it with its card."""
        folder = self.output or Path("models") / self.name.rsplit("/", maxsplit=1)[-1]
        require_writable(folder, "folder of --output", CONFIG)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} holds files already; give a new folder with --output")
        found = model_path(self.name)
        if not found.is_dir() and "/" in self.name:
            found = fetch(self.name, [WEIGHTS, CONFIG, CARD])
        model = load(found)
        write_model(folder, model.state_dict(), model.config, _card(found) or ModelCard().text(model.config))
        console.print(f"wrote {folder}; energy-flow evaluate {folder} --data ... judges it")


def _card(folder: Path) -> str | None:
    path = folder / CARD
    return path.read_text(encoding="utf-8") if path.is_file() else None
