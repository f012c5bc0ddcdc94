"""Every flow of some samples at every step, as a table that people keep.

Shapes: `R` records, `C` energy channels, `K` children that a flow may start in a step.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..config import Box, EnergyConfig
from ..core import FlowResult
from ..core.readers import site_of
from ..viz.page import trace_html
from .trace_file import TraceWriter, details_in, read_columns


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
        energy: (R, C) float32, where it was recorded; so are the others.
        gate: (R, C) float32, the share of its energy that the carrier let the flow keep in the step to this record; NaN
            as a flow begins, and where it coasted.
        shares: (R, K) float32 of its energy and mass, that it gave in this step to children that started.
        refused: (R, K) float32 likewise, to children that the budget refused.
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
    gate: Tensor | None = None
    shares: Tensor | None = None
    refused: Tensor | None = None

    @classmethod
    def of(cls, result: FlowResult, config: EnergyConfig) -> Trace:
        """The trace of a run.

        Args:
            result: of `processor.run(rows, record=True)`, or with details, such as `record=("energy", "gate")`.
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
            **{name: None if one is None else one.detach().cpu().float() for name, one in details_in(trace).items()},
        )

    def __len__(self) -> int:
        """R."""
        return len(self.step)

    def _repr_html_(self) -> str:
        """What notebooks show: a page on which the flows play."""
        return trace_html(self)

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

    def numbered(self, samples: Tensor) -> Trace:
        """The same with other numbers of samples: (B,) int64, the new number of each."""
        return dataclasses.replace(self, sample=samples.index_select(0, self.sample))

    def save(self, path: str | Path) -> Path:
        """Write a Parquet file: the columns of `COLUMNS`, and those of `LISTS` that were recorded.

        Raises:
            ImportError: pyarrow is missing.
        """
        with TraceWriter(path) as writer:
            writer.add(self)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read what `save` or a `TraceWriter` has written; columns that were added to the file are left alone.

        Raises:
            ImportError: pyarrow is missing.
            FileNotFoundError: there is no such file.
            ValueError: it is no trace.
        """
        return cls(**read_columns(Path(path)))

    def _tensors(self) -> dict[str, Tensor | None]:
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("box", "sites")]
        return {name: getattr(self, name) for name in names}
