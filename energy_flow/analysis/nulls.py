"""What a lattice is compared with: the same lattice untrained, and its trained energies with straight moves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..core import Aimed, FlowProcessor, Place, create_processor

MEASURED = ("input_rms", "output_rms", "calibrated", "input_mean")  # of the data, by the faces


def untrained(processor: FlowProcessor, seeds: int = 1) -> FlowProcessor:
    """A lattice of the same configuration with fresh weights, on the same device; it knows the size of the data.

    Args:
        processor: the trained one.
        seeds: by how much its seed differs.
    """
    config = processor.config.replace(seed=processor.config.seed + seeds)
    fresh = create_processor(config)
    for name, value in processor.mapper.named_buffers():
        if name in MEASURED:
            fresh.mapper.get_buffer(name).copy_(value)
    return fresh.to(processor.mapper.input_weight.device).eval()


@contextmanager
def straight_moves(processor: FlowProcessor) -> Iterator[None]:
    """Within the block flows go straight ahead: along z as the mover says, and never along x and y."""

    def straighten(mover: object, given: tuple[Tensor, Place], moved: Tensor | Aimed) -> Tensor | Aimed:
        position = moved.position if isinstance(moved, Aimed) else moved
        ahead = torch.cat((given[1].position[:, :2], position[:, 2:]), dim=1)
        return moved._replace(position=ahead) if isinstance(moved, Aimed) else ahead

    hook = processor.carrier.mover.register_forward_hook(straighten)
    try:
        yield
    finally:
        hook.remove()
