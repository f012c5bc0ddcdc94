"""Random configurations and models for the laws."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

from energy_flow.config import EnergyConfig
from energy_flow.core import Execution, FlowProcessor, create_processor

PIECE_NAMES = (
    *("coordinates", "relative", "energy", "recall", "site", "neighbours", "cross", "sample"),
    *("harmonics", "attention", "associative"),
)
SMALL = {"carrier_hidden_size": 4, "carrier_num_layers": 1, "neuron_hidden_dim": 5, "neuron_output_dim": 3}


@dataclass(frozen=True)
class Case:
    """A model whose weights make things happen, and a batch for it."""

    config: EnergyConfig
    seed: int
    batch: int
    execution: Execution = Execution()  # noqa: RUF009  (frozen)

    def build(self, dtype: torch.dtype = torch.float64) -> tuple[FlowProcessor, Tensor]:
        processor = build_model(self.config, self.seed, dtype)
        processor.execute(self.execution)
        return processor, self.inputs(dtype)

    def inputs(self, dtype: torch.dtype = torch.float64) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(self.batch, self.config.input_embedding_dim, generator=generator, dtype=torch.float64).to(
            dtype
        )


def build_model(config: EnergyConfig, seed: int, dtype: torch.dtype = torch.float64) -> FlowProcessor:
    """A model with every weight random: flows wander, jump, split and fade."""
    processor = create_processor(config).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in processor.named_parameters():
            spread = {"carrier.heads.weight": 0.6, "carrier.heads.bias": 0.5}.get(name, 0.4)
            weight += spread * torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(dtype)
        channels = config.energy_dim
        processor.carrier.heads.bias[:channels] -= 4.0  # gates in the middle, so that energy fades
        moves = slice(2 * channels, 2 * channels + processor.carrier.mover.width)
        processor.carrier.heads.weight[moves] *= 10  # moves of several sites
        processor.mapper.input_rms.fill_(1.0)
        if config.center_inputs:
            mean = processor.mapper.input_mean
            mean += torch.randn(mean.shape, generator=generator, dtype=torch.float64).to(dtype)
        processor.mapper.output_rms.fill_(1.0)
    return processor


@st.composite
def configs(draw: st.DrawFn, deepest: int = 6) -> EnergyConfig:
    width, height = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    sites = draw(st.integers(1, min(width, 3))), draw(st.integers(1, min(height, 3)))
    num_sites = sites[0] * sites[1]
    mapping = draw(st.sampled_from(["local", "mixed", "tied"]))
    unit = num_sites if mapping == "tied" else 1
    width_in, width_out = (unit * draw(st.integers(1, 2 * num_sites // unit)) for _ in range(2))
    energy_threshold = draw(st.sampled_from([0.0, 0.05, 0.3, 0.7]))
    return EnergyConfig(
        lattice_width=width,
        lattice_height=height,
        lattice_depth=draw(st.integers(2, deepest)),
        sites=sites,
        input_embedding_dim=width_in,
        output_embedding_dim=width_out,
        energy_dim=draw(st.integers(2, 3)),
        mapping=mapping,
        center_inputs=draw(st.booleans()),
        max_active_flows=num_sites + draw(st.integers(0, 6)),
        energy_threshold=energy_threshold,
        spawn_threshold=energy_threshold + draw(st.sampled_from([0.05, 0.3, 0.8])),
        max_spawn_per_step=draw(st.integers(0, 4)),
        max_children=draw(st.integers(0, 3)),
        initial_steps=draw(st.integers(1, deepest)),
        max_jump=draw(st.sampled_from([None, 1, 2])),
        features=tuple(
            draw(
                st.one_of(
                    st.sampled_from([("coordinates", "energy", "neighbours", "sample"), ("coordinates", "energy")]),
                    st.lists(st.sampled_from(PIECE_NAMES), min_size=1, unique=True),
                )
            )
        ),
        energy_rule=draw(st.sampled_from(["gated", "gated", "column", "origin", "kept"])),
        gate_start=draw(st.sampled_from([None, 1.0])),
        mover=draw(st.sampled_from(["free", "free", "straight", "bounded", "pointer"])),
        reader=draw(st.sampled_from(["bilinear", "bilinear", "nearest", "aimed"])),
        place_harmonics=draw(st.integers(1, 2)),
        exchange_dim=draw(st.sampled_from([2, 4])),
        exchange_heads=draw(st.integers(1, 2)),
        neuron_gate=draw(st.sampled_from([False, False, True])),
        carrier_reads_energy=draw(st.sampled_from([True, True, False])),
        carrier_hidden_size=draw(st.integers(2, 4)),
        carrier_num_layers=draw(st.integers(1, 2)),
        neuron_hidden_dim=3,
        neuron_output_dim=3,
    )


def cases(
    deepest: int = 6,
    configurations: st.SearchStrategy[EnergyConfig] | None = None,
    executions: st.SearchStrategy[Execution] = st.sampled_from([Execution(), Execution(fused=False)]),  # noqa: B008  (frozen)
) -> st.SearchStrategy[Case]:
    return st.builds(Case, configurations or configs(deepest), st.integers(0, 10_000), st.integers(1, 3), executions)
