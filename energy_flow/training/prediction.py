"""Inputs to outputs in batches, without gradients, on one process or shared out over several.

Shapes: `N` rows, `E in` and `E out` embedding widths.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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
    def __call__(self, inputs: Rows) -> Tensor:
        """(N, E in) rows to (N, E out) float32 on the CPU."""
        self.processor.eval()
        return torch.cat([self._run(inputs[rows]) for rows in batch_slices(len(inputs), self.batch_size)])

    @torch.no_grad()
    def shared(self, inputs: Rows, ranks: Ranks, between: Callable[[], None]) -> Tensor:
        """(N, E out) on the first process, and empty on the others: every process runs its share.

        Args:
            inputs: (N, E in), the same on every process.
            ranks: the processes.
            between: called on every process, equally often, before each batch; it may raise.
        """
        self.processor.eval()
        share = ranks.share(len(inputs))
        batches = list(batch_slices(share.stop - share.start, self.batch_size))
        parts = [torch.empty(0, self.processor.config.output_embedding_dim)]
        for number in range(ranks.largest([len(batches)])[0]):
            between()
            if number < len(batches):
                rows = batches[number]
                parts.append(self._run(inputs[share.start + rows.start : share.start + rows.stop]))
        return torch.cat([parts[0], *ranks.bring_to_first(torch.cat(parts))])

    def _run(self, inputs: Tensor) -> Tensor:
        with self.devices.autocast():
            dtype = next(self.processor.parameters()).dtype
            return self.processor(inputs.to(self.devices.device, dtype)).float().cpu()
