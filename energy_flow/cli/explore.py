"""`energy-flow explore`: a local page to send inputs through a model and put one's hand in."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import tyro

from ..data import load_data
from ..explorer import Model, Subject
from .analyze import names_of
from .found_models import data_of, model_folder
from .report import console, load_trainer

_INSTALL = "pip install 'energy-flow[serve]'"


@dataclass(frozen=True)
class Explore:
    """Serve a local page: send inputs through a model, watch its flows, cut, freeze or replay them."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """run or model folders, such as runs/NAME, or names that `energy-flow list` shows; the page compares several"""
    data: str | None = None
    """shipped, a synthetic task, a folder, or a .safetensors file: as in training; by default what a model of the
    package was trained on, and for others shipped"""
    port: int = 8765
    """where to listen; 0 takes a free one"""
    host: str = "127.0.0.1"
    """where to listen; for any but this machine's loopback every request must carry a token, which is printed"""
    open: bool = False
    """open the page in a browser"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Serve until it is interrupted."""
        for name in ("fastapi", "uvicorn"):
            if importlib.util.find_spec(name) is None:
                raise ImportError(f"the explorer needs {name}: {_INSTALL}")
        if not 0 <= self.port <= 65_535:
            raise ValueError(f"--port {self.port}; give 0 to 65535")
        from ..explorer.serving import serve

        subject = self.subject()
        subject.warm_up()
        serve(subject, self.host, self.port, self.open, console.print)

    def subject(self) -> Subject:
        """The models and the data set.

        Raises:
            ValueError: no such folder, or a model that does not fit the data.
        """
        models = []
        for name, folder in zip(names_of(self.runs), self.runs, strict=True):
            trainer = load_trainer(model_folder(folder), self.device)
            models.append(Model(name, trainer.processor.eval()))
        if not models:
            raise ValueError("no run; give at least one run or model folder")
        return Subject(models, load_data(data_of(self.runs[0], self.data), models[0].processor.config.data_seed))
