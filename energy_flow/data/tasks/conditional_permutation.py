"""Conditional permutation: the content of one block decides where all others go.

Shapes: `N` rows, `E` = 64 input width (16 blocks of 4 numbers), `T` = E target width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .judging import REGRESSION, r_squared
from .task import MADE_HERE, Task

BLOCKS, BLOCK_WIDTH, PERMUTATIONS = 16, 4, 4


def sample_conditional_permutation(
    rows: int, split: str, fixed: torch.Generator, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw (N, E) blocks: the first is one-hot and stays; it selects the permutation of the other fifteen, (N, T)."""
    orders = torch.stack([torch.randperm(BLOCKS - 1, generator=fixed) + 1 for _ in range(PERMUTATIONS)])
    orders = torch.cat((torch.zeros(PERMUTATIONS, 1, dtype=torch.long), orders), dim=1)
    choice = torch.randint(PERMUTATIONS, (rows,), generator=random)
    blocks = torch.randn(rows, BLOCKS, BLOCK_WIDTH, generator=random)
    blocks[:, 0] = torch.eye(PERMUTATIONS)[choice] * PERMUTATIONS**0.5  # RMS 1, as the other blocks
    permuted = blocks.gather(1, orders[choice].unsqueeze(2).expand(-1, -1, BLOCK_WIDTH))
    return blocks.flatten(1), permuted.flatten(1)


def selected_permutation(inputs: Tensor, targets: Tensor) -> Tensor:
    """(N, E) inputs and their targets to (N,) int64: the permutation that the first block selects."""
    return inputs[:, :BLOCK_WIDTH].argmax(1)


CONDITIONAL_PERMUTATION = Task(
    "16 blocks of 4 numbers; the same blocks in one of 4 orders, which the first block selects",
    sample_conditional_permutation,
    "R2",
    r_squared,
    REGRESSION,
    licence=MADE_HERE,
    label=selected_permutation,
)
