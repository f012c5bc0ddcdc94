"""What a lattice is compared with: the same lattice, untrained."""

from __future__ import annotations

from ..core import FlowProcessor, create_processor

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
