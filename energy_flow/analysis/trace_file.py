"""Traces on disk: Parquet files that pandas, polars and DuckDB open, written part by part.

Shapes: `R` records, `C` energy channels, `K` children.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..config import Box
from ..core.flows import EVENT_NAMES, FlowTrace

if TYPE_CHECKING:
    import pyarrow

    from .trace import Trace

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
LISTS = {  # columns of lists, where they were recorded
    "energy": "of each channel",
    "gate": "of each channel, the share of the energy that was kept in the step before; NaN where no carrier said so",
    "shares": "of each child that started, its share of energy and mass; 0 for others",
    "refused": "likewise, of each child that the budget refused",
}


def details_in(trace: Trace | FlowTrace) -> dict[str, Tensor | None]:
    """The tensors of `LISTS`."""
    return {name: getattr(trace, name) for name in LISTS}


class TraceWriter:
    """Writes traces one after the other into one file, so that those of a whole data set need the memory of a few.

    Args:
        path: of the Parquet file; what is there is replaced.

    Raises:
        ImportError: pyarrow is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._writer, (self._pyarrow, self._parquet) = Path(path), None, _arrow()
        self._about: dict[str, Any] = {}

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, trace: Trace) -> None:
        """Write the records of a trace.

        Raises:
            ValueError: its box, its sites or its columns are others than those of the traces before.
        """
        lists = {name: None if one is None else one.shape[1] for name, one in details_in(trace).items()}
        about = {"box": list(trace.box), "sites": list(trace.sites), "lists": lists}
        if self._about and about != self._about:
            raise ValueError(f"a trace of {about} cannot follow those of {self._about}; write it to a file of its own")
        table = self._table(trace)
        if self._writer is None:
            self._about = about
            whole = {"version": VERSION, **about, "columns": COLUMNS | LISTS}
            schema = table.schema.with_metadata({KEY: json.dumps(whole).encode()})
            self._writer = self._parquet.ParquetWriter(self._path, schema, compression="zstd")
        self._writer.write_table(table.replace_schema_metadata(self._writer.schema.metadata))

    def _table(self, trace: Trace) -> pyarrow.Table:
        columns: dict[str, Tensor] = {
            "sample": trace.sample.int(),
            "step": trace.step.int(),
            "flow": trace.flow_id.int(),
            "parent": trace.parent_id.int(),
            **dict(zip("xyz", trace.position.T, strict=True)),
            "site": trace.site.int(),
            "level": trace.level,
            "mass": trace.mass,
        }
        table = {name: self._pyarrow.array(column.contiguous().numpy()) for name, column in columns.items()}
        codes = self._pyarrow.array(trace.event.to(torch.int8).numpy())
        table["event"] = self._pyarrow.DictionaryArray.from_arrays(codes, list(EVENT_NAMES))
        for name, rows in details_in(trace).items():
            if rows is not None and rows.shape[1]:
                flat = self._pyarrow.array(rows.contiguous().view(-1).numpy())
                table[name] = self._pyarrow.FixedSizeListArray.from_arrays(flat, rows.shape[1])
        return self._pyarrow.table(table)


def read_columns(path: Path) -> dict[str, Any]:
    """What a `Trace` is made of.

    Raises:
        ImportError, FileNotFoundError, ValueError: as `Trace.load`.
    """
    _, parquet = _arrow()
    table = _read(parquet, path)
    about = json.loads((table.schema.metadata or {}).get(KEY, b"{}"))
    missing = set(COLUMNS) - set(table.column_names)
    if about.get("version") != VERSION or missing:
        what = f"it lacks {', '.join(sorted(missing))}" if missing else f"its version is {about.get('version')}"
        raise ValueError(f"{path} is no trace of version {VERSION}: {what}; write it with Trace.save")

    def numbers(name: str, dtype: torch.dtype) -> Tensor:
        return torch.tensor(table[name].to_numpy(), dtype=dtype)

    lists: dict[str, Tensor | None] = dict.fromkeys(LISTS)
    for name in LISTS:
        if name in table.column_names:
            flat = table[name].combine_chunks().flatten()
            width = table[name].type.list_size
            lists[name] = torch.tensor(flat.to_numpy(), dtype=torch.float32).view(len(table), width)
        elif about.get("lists", {}).get(name) is not None:  # of a model whose flows start no child
            lists[name] = torch.empty(len(table), 0)
    events = [EVENT_NAMES.index(name) for name in table["event"].to_pylist()]
    return {
        "box": Box(*about["box"]),
        "sites": (about["sites"][0], about["sites"][1]),
        "step": numbers("step", torch.int64),
        "sample": numbers("sample", torch.int64),
        "flow_id": numbers("flow", torch.int64),
        "parent_id": numbers("parent", torch.int64),
        "position": torch.stack([numbers(axis, torch.float32) for axis in "xyz"], dim=1),
        "site": numbers("site", torch.int64),
        "level": numbers("level", torch.float32),
        "mass": numbers("mass", torch.float32),
        "event": torch.tensor(events, dtype=torch.int64),
        **lists,
    }


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
