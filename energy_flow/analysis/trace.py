"""Every flow of some samples at every step, as a table that people keep.

Shapes: `R` records, `C` energy channels.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..config import Box, EnergyConfig
from ..core import FlowResult
from ..core.flows import EVENT_NAMES
from ..core.readers import site_of

if TYPE_CHECKING:
    import pyarrow

VERSION = 1
KEY = b"energy_flow_trace"
COLUMNS = {  # of the file, and what they hold
    "sample": "row of the batch",
    "step": "steps of the run before this record; 0 is the launch",
    "flow": "number of the flow in its sample; those launched have the number of their site",
    "parent": "number of the flow it split off from; -1 at launch",
    "x": "cells; continuous on the output face",
    "y": "cells; likewise",
    "z": "cells; 0 is the input face",
    "site": "site column, numbered row by row",
    "level": "RMS of the energy; 1 is the mean at launch",
    "mass": "share of a launched flow",
    "event": f"one of {', '.join(EVENT_NAMES)}",
}


@dataclass(frozen=True)
class Trace:
    """Every flow of some samples at every step: one record each, in order of time; tensors on the CPU.

    Attributes:
        box: cells along x, y and z.
        sites: columns and rows of sites.
        step: (R,) int64, steps of the run before this record; 0 is the launch.
        sample: (R,) int64, row of the batch.
        flow_id: (R,) int64, number of the flow in its sample.
        parent_id: (R,) int64, -1 at launch.
        position: (R, 3) float32 cells.
        site: (R,) int64, the site column.
        level: (R,) float32, RMS of the energy.
        mass: (R,) float32.
        event: (R,) int64, index of `energy_flow.core.flows.EVENT_NAMES`.
        energy: (R, C) float32, where it was recorded.
    """

    box: Box
    sites: tuple[int, int]
    step: Tensor
    sample: Tensor
    flow_id: Tensor
    parent_id: Tensor
    position: Tensor
    site: Tensor
    level: Tensor
    mass: Tensor
    event: Tensor
    energy: Tensor | None = None

    @classmethod
    def of(cls, result: FlowResult, config: EnergyConfig) -> Trace:
        """The trace of a run.

        Args:
            result: of `processor.run(rows, record=True)`, or `record="energy"`.
            config: of the processor that ran; where a box was given, `config.in_box(box)`.

        Raises:
            ValueError: nothing was recorded, or the flows leave the box of the configuration.
        """
        trace = result.trace
        if trace is None:
            raise ValueError("the run has no trace; call processor.run(rows, record=True)")
        position = trace.position.detach().cpu().float()
        reached = position.amax(0).tolist() if len(position) else [0.0] * 3
        if any(cell > size - 1 for cell, size in zip(reached, config.box, strict=True)):
            raise ValueError(
                f"config has a box of {config.box}, and the trace reaches cell {reached}; give config.in_box"
            )
        return cls(
            box=config.box,
            sites=config.sites,
            step=trace.step.cpu(),
            sample=trace.sample.cpu(),
            flow_id=trace.flow_id.cpu(),
            parent_id=trace.parent_id.cpu(),
            position=position,
            site=site_of(position, config),
            level=trace.level.detach().cpu().float(),
            mass=trace.mass.detach().cpu().float(),
            event=trace.event.cpu(),
            energy=None if trace.energy is None else trace.energy.detach().cpu().float(),
        )

    def __len__(self) -> int:
        """R."""
        return len(self.step)

    def of_sample(self, sample: int) -> Trace:
        """The records of one sample.

        Raises:
            ValueError: there are none.
        """
        rows = (self.sample == sample).nonzero().flatten()
        if not len(rows):
            raise ValueError(f"sample = {sample}; the trace has {self.sample.unique().tolist()}")
        return self.records(rows)

    def records(self, rows: Tensor) -> Trace:
        """Some records (int64 rows), in the order given."""
        tensors = {name: value for name, value in self._tensors().items() if value is not None}
        return dataclasses.replace(self, **{name: value.index_select(0, rows) for name, value in tensors.items()})

    def save(self, path: str | Path) -> Path:
        """Write a Parquet file: the columns of `COLUMNS`, and `energy` as a list where it was recorded.

        Raises:
            ImportError: pyarrow is missing.
        """
        pyarrow, parquet = _arrow()
        columns: dict[str, Any] = {
            "sample": self.sample.int(),
            "step": self.step.int(),
            "flow": self.flow_id.int(),
            "parent": self.parent_id.int(),
            **dict(zip("xyz", self.position.T, strict=True)),
            "site": self.site.int(),
            "level": self.level,
            "mass": self.mass,
        }
        table = {name: pyarrow.array(column.contiguous().numpy()) for name, column in columns.items()}
        codes = pyarrow.array(self.event.to(torch.int8).numpy())
        table["event"] = pyarrow.DictionaryArray.from_arrays(codes, list(EVENT_NAMES))
        if self.energy is not None:
            flat = pyarrow.array(self.energy.contiguous().view(-1).numpy())
            table["energy"] = pyarrow.FixedSizeListArray.from_arrays(flat, self.energy.shape[1])
        about = {"version": VERSION, "box": list(self.box), "sites": list(self.sites), "columns": COLUMNS}
        written = pyarrow.table(table).replace_schema_metadata({KEY: json.dumps(about).encode()})
        path = Path(path)
        parquet.write_table(written, path, compression="zstd")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read what `save` has written; columns that were added to the file are left alone.

        Raises:
            ImportError: pyarrow is missing.
            FileNotFoundError: there is no such file.
            ValueError: it is no trace.
        """
        _, parquet = _arrow()
        table = _read(parquet, Path(path))
        about = json.loads((table.schema.metadata or {}).get(KEY, b"{}"))
        missing = set(COLUMNS) - set(table.column_names)
        if about.get("version") != VERSION or missing:
            what = f"it lacks {', '.join(sorted(missing))}" if missing else f"its version is {about.get('version')}"
            raise ValueError(f"{path} is no trace of version {VERSION}: {what}; write it with Trace.save")

        def numbers(name: str, dtype: torch.dtype) -> Tensor:
            return torch.tensor(table[name].to_numpy(), dtype=dtype)

        events = torch.tensor([EVENT_NAMES.index(name) for name in table["event"].to_pylist()], dtype=torch.int64)
        energy = None
        if "energy" in table.column_names:
            flat = table["energy"].combine_chunks().flatten()
            energy = torch.tensor(flat.to_numpy(), dtype=torch.float32).view(len(table), -1)
        return cls(
            box=Box(*about["box"]),
            sites=(about["sites"][0], about["sites"][1]),
            step=numbers("step", torch.int64),
            sample=numbers("sample", torch.int64),
            flow_id=numbers("flow", torch.int64),
            parent_id=numbers("parent", torch.int64),
            position=torch.stack([numbers(axis, torch.float32) for axis in "xyz"], dim=1),
            site=numbers("site", torch.int64),
            level=numbers("level", torch.float32),
            mass=numbers("mass", torch.float32),
            event=events,
            energy=energy,
        )

    def _tensors(self) -> dict[str, Tensor | None]:
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("box", "sites")]
        return {name: getattr(self, name) for name in names}


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError("traces on disk need pyarrow: pip install 'energy-flow[viz]'") from error
    return pyarrow, parquet


def _read(parquet: Any, path: Path) -> pyarrow.Table:
    try:
        return parquet.read_table(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; give one that Trace.save has written") from error
    except (ValueError, OSError) as error:  # what pyarrow raises where a file is not Parquet
        raise ValueError(f"{path} is no Parquet file: {error}; give one that Trace.save has written") from error
