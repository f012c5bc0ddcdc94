"""Inputs to outputs in batches, without gradients, on one process or shared out over several.

Shapes: `N` rows, `E in` and `E out` embedding widths.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..config import Box
from ..core import FlowProcessor
from ..data.stored_rows import Rows
from ..distributed.ranks import Ranks
from ..utils.device_manager import DeviceManager
from ..utils.helpers import batch_slices


class Prediction:
    """Runs a model on rows, a batch at a time.

    Args:
        processor: the model, on its device.
        devices: device and precision.
        batch_size: rows that run at once.
    """

    def __init__(self, processor: FlowProcessor, devices: DeviceManager, batch_size: int) -> None:
        self.processor, self.devices, self.batch_size = processor, devices, batch_size

    @torch.no_grad()
    def __call__(self, inputs: Rows, box: Box | None = None) -> Tensor:
        """(N, E in) rows to (N, E out) float32 on the CPU, in a lattice of another size where a box is given."""
        self.processor.eval()
        return torch.cat([self._run(inputs[rows], box) for rows in batch_slices(len(inputs), self.batch_size)])

    @torch.no_grad()
    def shared(self, inputs: Rows, ranks: Ranks, between: Callable[[], None], box: Box | None = None) -> Tensor:
        """(N, E out) on the first process, and empty on the others: every process runs its share.

        Args:
            inputs: (N, E in), the same on every process.
            ranks: the processes.
            between: called on every process, equally often, before each batch; it may raise.
            box: a lattice of another size.
        """
        self.processor.eval()
        share = ranks.share(len(inputs))
        batches = list(batch_slices(share.stop - share.start, self.batch_size))
        config = self.processor.config if box is None else self.processor.config.in_box(box)
        parts = [torch.empty(0, config.output_embedding_dim)]
        for number in range(ranks.largest([len(batches)])[0]):
            between()
            if number < len(batches):
                rows = batches[number]
                parts.append(self._run(inputs[share.start + rows.start : share.start + rows.stop], box))
        return torch.cat([parts[0], *ranks.bring_to_first(torch.cat(parts))])

    def _run(self, inputs: Tensor, box: Box | None) -> Tensor:
        with self.devices.autocast():
            dtype = next(self.processor.parameters()).dtype
            return self.processor(inputs.to(self.devices.device, dtype), box=box).float().cpu()
