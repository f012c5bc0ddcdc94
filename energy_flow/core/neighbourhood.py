"""Which sites lie around each site.

Shapes: `S` sites (columns x rows, row by row).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def neighbour_table(columns: int, rows: int) -> Tensor:
    """(S, 9) int64: the sites around each site, row by row, itself in the middle; S stands for "beyond the face"."""
    sites = torch.arange(columns * rows, device="cpu").view(1, 1, rows, columns).double()
    padded = F.pad(sites, (1, 1, 1, 1), value=float(columns * rows))
    return F.unfold(padded, kernel_size=3)[0].T.long().contiguous()
