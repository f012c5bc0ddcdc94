"""`energy-flow info`: what a configuration is, and costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config import EnergyConfig, create_config
from ..config.base_config import read_fields
from ..config.fields import RunFields
from ..core.execution.cost import kept_bytes, measure_cost
from ..viz import cost_table
from .report import console
from .settings import ModelOptions, in_groups, read_early


@dataclass(frozen=True)
class Info(ModelOptions):
    """Show what a preset is and costs: parameters, sites, memory and FLOPs."""

    preset: str = "debug"
    """tiny, debug, experiment or optimized"""
    config: Path | None = None
    """.json or .yaml file with fields of the configuration"""

    @classmethod
    def with_defaults(cls, arguments: Sequence[str]) -> Info:
        """The command with the configuration that preset and file give, before options are applied.

        Raises:
            ValueError: one of them cannot be used.
        """
        early = read_early(arguments)
        fields = read_fields(early.config, EnergyConfig) if early.config else {}
        preset = early.preset or cls.preset
        groups = in_groups(create_config(preset, **fields))
        return cls(preset=preset, config=early.config, run=RunFields(**groups.pop("run")), **groups)

    def __call__(self) -> None:
        """Print the tables."""
        config = self.settings
        cost = measure_cost(config)
        size = f"{config.lattice_width} x {config.lattice_height} x {config.lattice_depth}"
        console.print(cost_table(f"{self.preset}: parameters and work", cost.parameters, cost.forward_flops))
        console.print(f"lattice            {size} = {config.num_cells:,} cells, never materialised")
        console.print(
            f"sites              {config.sites[0]} x {config.sites[1]} = {config.num_sites} flows launched per sample,"
        )
        console.print(
            f"                   at most {config.max_active_flows} live, {config.energy_dim} energy channels each"
        )
        console.print(f"flow-steps         {cost.launched_flow_steps:,} per sample before splits, on an untrained path")
        console.print(f"memory             {cost.state_bytes:,} bytes of state per live flow (float32)")
        kept, least = (kept_bytes(config, 2, checkpointed) for checkpointed in (False, True))
        console.print(f"                   {kept:,} bytes kept for the backward pass per flow-step (bfloat16),")
        console.print(f"                   {least:,} with checkpointing")
        console.print(f"                   {4 * sum(cost.parameters.values()) / 2**20:,.1f} MiB of weights")
