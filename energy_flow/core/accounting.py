"""What a model costs: parameters, floating-point operations and memory, per part and per flow-step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..config import EnergyConfig
from .flow_processor import FlowProcessor, create_processor


class ModelCost(NamedTuple):
    """The cost of a configuration; a flow-step is one flow taking one step."""

    parameters: dict[str, int]  # per part
    forward_flops: dict[str, int]  # of the products, per part and flow-step (faces: per sample)
    state_bytes: int  # of one live flow
    activation_bytes: int  # that autograd keeps per flow-step in float32, measured on one step
    launched_flow_steps: int  # per sample: flows launched, times the steps of an untrained path


def measure_cost(config: EnergyConfig) -> ModelCost:
    """Count parameters and products from the layers' shapes; measure what autograd keeps for one step on the CPU."""
    processor = create_processor(config)
    carrier, neuron = processor.carrier, processor.neuron
    parts = {"neuron": neuron, "carrier GRU": carrier.gru, "carrier heads": (carrier.norm, carrier.heads)}
    parameters = {name: _count(part) for name, part in parts.items()}
    parameters["carrier child offset"] = carrier.child_offset.numel()
    parameters["faces"] = _count(processor.mapper)
    gru_weights = sum(weight.numel() for name, weight in carrier.gru.named_parameters() if name.startswith("weight"))
    products = {
        "neuron": neuron.perceive.weight.numel() + neuron.project.weight.numel(),
        "carrier GRU": gru_weights,
        "carrier heads": carrier.heads.weight.numel(),
        "faces": processor.mapper.input_weight.numel() + processor.mapper.output_weight.numel(),
    }
    steps = -(-(config.lattice_depth - 1) // config.initial_jump)
    return ModelCost(
        parameters=parameters,
        forward_flops={name: 2 * count for name, count in products.items()},
        state_bytes=_state_bytes(processor),
        activation_bytes=_activation_bytes(processor),
        launched_flow_steps=config.num_sites * steps,
    )


def _count(part: nn.Module | tuple[nn.Module, ...]) -> int:
    modules = part if isinstance(part, tuple) else (part,)
    return sum(weight.numel() for module in modules for weight in module.parameters())


def _state_bytes(processor: FlowProcessor) -> int:
    flows = processor.launch(_probe(processor))
    tensors = [value for name, value in flows._asdict().items() if name != "next_id"]
    return sum(value.numel() * value.element_size() for value in tensors) // flows.size


def _activation_bytes(processor: FlowProcessor) -> int:
    flows = processor.launch(_probe(processor))
    known = {tensor.untyped_storage().data_ptr() for tensor in (*processor.parameters(), *processor.buffers(), *flows)}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = processor.step(flows)
    assert result.outcome.shape[0] == flows.size  # the graph is alive until here, so no storage was reused
    return sum(kept.values()) // flows.size


def _probe(processor: FlowProcessor) -> Tensor:
    width = processor.config.input_embedding_dim
    return torch.full((1, width), width**-0.5)
