"""What a model costs: parameters, floating-point operations and memory, per part and per flow-step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ...config import PIECES, EnergyConfig
from ..constants import seeded_start
from ..flow_processor import FlowProcessor, create_processor
from ..flows import PER_SAMPLE
from .weights import take_weights

SMALL_BYTES = 200  # of a flow-step: position, mass, numbers of sample, flow and parent, and the addresses of neighbours


class ModelCost(NamedTuple):
    """The cost of a configuration; a flow-step is one flow taking one step."""

    parameters: dict[str, int]  # per part
    forward_flops: dict[str, int]  # of the products, per part and flow-step (faces: per sample)
    state_bytes: int  # of one live flow
    launched_flow_steps: int  # per sample: flows launched, times the steps of an untrained path


def measure_cost(config: EnergyConfig) -> ModelCost:
    """Count parameters and products from the layers' shapes."""
    processor = create_processor(config)
    carrier, neuron = processor.carrier, processor.neuron
    parts = {"neuron": neuron, "carrier GRU": carrier.gru, "carrier heads": (carrier.norm, carrier.heads)}
    parameters = {name: _count(part) for name, part in parts.items()}
    parameters["carrier child offset"] = carrier.child_offset.numel()
    parameters["faces"] = _count(processor.mapper)
    taken = take_weights(neuron, carrier)
    gate = 0 if neuron.gate is None else neuron.gate.weight.numel()
    exchange = sum(piece.products for piece in neuron.perceived)
    products = {
        "neuron": taken.perceive.numel() + gate + (0 if taken.project is None else taken.project[0].numel()) + exchange,
        "carrier GRU": sum(layer.weight_ih.numel() + layer.weight_hh.numel() for layer in taken.layers),
        "carrier heads": carrier.heads.weight.numel(),
        "faces": processor.mapper.input_weight.numel() + processor.mapper.output_weight.numel(),
    }
    return ModelCost(
        parameters=parameters,
        forward_flops={name: 2 * count for name, count in products.items()},
        state_bytes=_state_bytes(processor),
        launched_flow_steps=config.num_sites * config.untrained_path,
    )


def _count(part: nn.Module | tuple[nn.Module, ...]) -> int:
    modules = part if isinstance(part, tuple) else (part,)
    return sum(weight.numel() for module in modules for weight in module.parameters())


def _state_bytes(processor: FlowProcessor) -> int:
    flows = processor.launch(_probe(processor))
    tensors = [value for name, value in flows._asdict().items() if name not in PER_SAMPLE and value is not None]
    return sum(value.numel() * value.element_size() for value in tensors) // flows.size


def kept_bytes(config: EnergyConfig, number_bytes: int, checkpointed: bool, gathered: bool = True) -> int:
    """What one flow-step keeps for the backward pass (`benchmarks/speed/activation_memory.py` measures it).

    Args:
        config: sizes.
        number_bytes: of a number in the dense part, 4 in float32 and 2 in bfloat16.
        checkpointed: the hidden states and what the neuron perceives alone, or all that the step needs: the states
            before and after, four gates a layer, and the heads' input before and after its norm.
        gathered: every flow keeps its own row of all that is perceived, as the compiled form does; otherwise the
            tables of sites are kept, a row for each site.
    """
    layers, channels = config.carrier_num_layers, config.energy_dim
    wide = layers if checkpointed else 6 * layers + 2
    with seeded_start(config.seed, "cost"):  # torch's generators stay as they are
        pieces = [PIECES[name](config) for name in config.features]
    perceived = sum(piece.width for piece in pieces if gathered or piece.of == "flow")
    perceived += 0 if gathered else channels + 1
    return wide * config.carrier_hidden_size * number_bytes + 4 * (perceived + 4 * channels) + SMALL_BYTES


def _probe(processor: FlowProcessor) -> Tensor:
    width = processor.config.input_embedding_dim
    return torch.full((1, width), width**-0.5)
