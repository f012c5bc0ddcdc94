"""`energy-flow translate`: a vector store moves to another encoder's space."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from ..stores import Translation, translate_store
from .found_models import model_folder
from .progress import rows_bar
from .report import console, load_trainer
from .row_map import LatticeMap, StoredLinearMap

NORMALISE = {"auto": None, "yes": True, "no": False}


@dataclass(frozen=True)
class Translate:
    """Bring the vectors of a store into another space, in place: ids and all else that it holds stay.

    The new store is written beside the old one, compared, and moved to its place in one step; a command that was killed
    goes on where it stopped, and one that was done is not done twice.
    """

    store: tyro.conf.Positional[Path]
    """file of faiss (write_index) or usearch (save), or a SQLite database with a table of sqlite-vec"""
    model: tyro.conf.Positional[Path]
    """linear map that train-linear wrote, or model folder, such as runs/NAME/best"""
    engine: Literal["faiss", "usearch", "sqlite"] | None = None
    """by default the file tells"""
    table: str | None = None
    """of a database; by default the only one of sqlite-vec"""
    output: Path | None = None
    """write the new store here, and leave the old one as it is"""
    drop_old: bool = False
    """remove the old store in the end; by default it stays as NAME.old"""
    normalise: Literal["auto", "yes", "no"] = "auto"
    """bring the new vectors to length 1; auto does so where all old ones have it"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Translate, and say where the old store is."""
        if not self.store.is_file():
            raise ValueError(f"{self.store}: no such file; give a store")
        row_map = (
            StoredLinearMap(self.model)
            if self.model.is_file()
            else LatticeMap(model_folder(self.model), load_trainer(self.model, self.device))
        )
        translation = Translation(row_map, row_map.widths, row_map.made_of, row_map.block, NORMALISE[self.normalise])
        with rows_bar("translating") as show:
            did = translate_store(self.store, translation, self.engine, self.table, self.output, self.drop_old, show)
        target = self.output or self.store
        if not did:
            console.print(f"{target}: was translated by this map before; nothing to do")
            return
        kept = "" if self.drop_old or self.output else f"; the old one is {target.name}.old"
        console.print(f"{target}: the vectors of width {row_map.widths[0]} are now of {row_map.widths[1]}{kept}")
