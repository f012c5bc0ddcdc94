"""`energy-flow trace`: every flow of some samples at every step, as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
import tyro

from ..analysis import Trace, TraceWriter
from ..config import Box
from ..core.ledger import Detail
from ..data import load_data
from ..data.checked_rows import check_width
from ..training import load_model
from ..utils import DeviceManager, batch_slices
from ..utils.files import replace_file, require_writable
from .found_models import data_of, home_of_results, model_folder
from .report import console
from .rows import pairs_in_box
from .trace_page import write_trace_page

AT_ONCE = 32  # samples whose records are in the memory


@dataclass(frozen=True)
class TraceFlows:
    """Write the trace of every flow of some samples to a Parquet file, which pandas, polars and DuckDB open."""

    run: tyro.conf.Positional[Path]
    """run folder, of which the best weights are taken, model folder, or a name that `energy-flow list` shows"""
    data: str | None = None
    """shipped, a synthetic task, a folder, or a .safetensors file; by default what a model of the package was trained
    on, and for others shipped"""
    split: str = "test"
    """train, validation, test, or one that a task has beside them, such as few-clues of sudoku-6"""
    samples: tuple[int, ...] = (0,)
    """rows of the split, as the set has them; -1 is all"""
    rows: int = 200
    """how many rows are drawn for a box that the set has no rows for"""
    box: str | None = None
    """width, height and depth of another lattice to run the weights in, such as 33x33x400"""
    energy: bool = False
    """the energies too, a list of channels for each record"""
    gate: bool = False
    """the share of its energy that every flow kept in each step, a list of channels for each record"""
    children: bool = False
    """the shares that children took, and those that the budget refused, a list of children for each record"""
    output: Path | None = None
    """file to write; by default trace.parquet in the folder of the run"""
    page: Path | None = None
    """HTML file to write too: a page on which the flows of at most 32 samples play"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Run the samples, some at a time, and write what their flows did."""
        path = (self.output or home_of_results(self.run) / "trace.parquet").expanduser()
        page = None if self.page is None else self.page.expanduser()
        _require_file(path, "--output")
        if page is not None:
            _require_file(page, "--page")
            if page.resolve() == path.resolve():
                raise ValueError(f"--page {page} is the file of the trace too; give another")
        own = load_model(model_folder(self.run), DeviceManager(self.device).device).eval()
        data = load_data(data_of(self.run, self.data), own.config.data_seed)
        box = own.config.box if self.box is None else Box.parse(self.box)
        pairs = pairs_in_box(box, data, self.split, self.rows, own.config)
        processor = own.in_box(box)
        check_width(f"{data.name}: inputs", pairs.inputs, processor.config.input_embedding_dim)
        chosen = self._chosen(len(pairs))
        if page is not None:
            write_trace_page(page, processor, data, pairs, chosen)
            console.print(f"wrote {page}")
        details = [name for name in get_args(Detail) if getattr(self, name)]
        records = 0

        def write(file: Path) -> None:
            nonlocal records
            with TraceWriter(file) as writer:
                for part in batch_slices(len(chosen), AT_ONCE):
                    inputs = pairs.subset(chosen[part]).inputs[:]
                    with torch.no_grad():
                        result = processor.run(inputs, record=details)
                    trace = Trace.of(result, processor.config)
                    trace = trace.numbered(chosen[part])
                    writer.add(trace)
                    records += len(trace)

        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, write)
        console.print(f"wrote {path}: {records:,} records of {len(chosen)} samples")

    def _chosen(self, rows: int) -> torch.Tensor:
        """(N,) int64 rows of the split.

        Raises:
            ValueError: there are none of such a number.
        """
        if self.samples == (-1,):
            return torch.arange(rows)
        if not self.samples or min(self.samples) < 0 or max(self.samples) >= rows:
            given = " ".join(map(str, self.samples))
            raise ValueError(f"--samples {given}; give rows from 0 to {rows - 1}, or -1 for all")
        if len({*self.samples}) < len(self.samples):
            twice = next(row for row in self.samples if self.samples.count(row) > 1)
            raise ValueError(f"--samples has {twice} more than once; give every row once")
        return torch.tensor(self.samples)


def _require_file(path: Path, option: str) -> None:
    """Refuse, with a ValueError, a path at which no file can be written."""
    require_writable(path.parent, f"folder of {option}", path.name)
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder; give the path of a file")
