"""Delivery: blocks of numbers must travel to other sites, and the content of the first one says where to.

Shapes: `N` rows, `S` blocks, one for each site of a square face, `R` orders; `E` = 4 S input width, `T` = E target
width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..pairs import Size
from .judging import REGRESSION, r_squared
from .task import MADE_HERE, Task

BLOCK_WIDTH = 4
FACES, ORDERS = ((4, 4), (8, 8)), (4, 16)  # that there are; more orders than that are hard to tell apart


def sample_delivery(
    rows: int,
    split: str,
    fixed: torch.Generator,
    random: torch.Generator,
    *,
    face: Size = (4, 4),
    orders: int = 4,
) -> tuple[Tensor, Tensor]:
    """Draw (N, E) blocks: the first one stays and selects the order into which all others go, (N, T).

    Selector r is one-hot, r mod 4, scaled to unit mean square as the other blocks have it; where there are more than 4
    orders, r // 4 is added to all of its numbers. Unlike `conditional-permutation` every site has its own block on
    both faces, so that a block arrives only if something carries it there.

    Args:
        rows: N.
        split: every split is drawn alike.
        fixed: draws the orders, the same for all splits.
        random: draws the blocks.
        face: columns and rows of blocks, 4 x 4 or 8 x 8.
        orders: R, 4 or 16.

    Raises:
        ValueError: another face, or another number of orders.
    """
    if face not in FACES:
        raise ValueError(f"face = {face}: blocks lie on a square face; give (4, 4) or (8, 8)")
    if orders not in ORDERS:
        raise ValueError(f"orders = {orders!r}; give one of 4, 16")
    sources = _sources(face[0] * face[1], orders, fixed)
    choice = torch.randint(orders, (rows,), generator=random)
    blocks = torch.randn(rows, sources.shape[1], BLOCK_WIDTH, generator=random)
    blocks[:, 0] = _selectors(orders)[choice]
    delivered = blocks.gather(1, sources[choice].unsqueeze(2).expand(-1, -1, BLOCK_WIDTH))
    return blocks.flatten(1), delivered.flatten(1)


def delivery_sites(inputs: Tensor, seed: int = 0, orders: int = 4) -> Tensor:
    """Where every block has to go, for a measure of how many arrive.

    Args:
        inputs: (N, E) rows of the task `delivery`.
        seed: with which the rows were made, as in `make_task`.
        orders: as the rows were made.

    Returns:
        (N, S) int64: block b of row n belongs to site `sites[n, b]`, so target block `sites[n, b]` is input block b.

    Raises:
        ValueError: the rows are not blocks of 4 numbers, or a first block is none of the selectors.
    """
    if inputs.ndim != 2 or inputs.shape[1] % BLOCK_WIDTH:
        raise ValueError(f"inputs has shape {tuple(inputs.shape)}; give rows of blocks of {BLOCK_WIDTH} numbers")
    selectors = _selectors(orders)
    same = (inputs[:, None, :BLOCK_WIDTH] == selectors).all(dim=2)  # (N, R)
    if not same.any(1).all():
        row = int((~same.any(1)).nonzero()[0])
        raise ValueError(f"inputs: the first block of row {row} selects none of {orders} orders; give orders as drawn")
    sources = _sources(inputs.shape[1] // BLOCK_WIDTH, orders, torch.Generator().manual_seed(seed))
    return sources.argsort(dim=1)[same.long().argmax(1)]


def delivery_orders(inputs: Tensor, targets: Tensor) -> Tensor:
    """(N, E) inputs and their targets to (N,) int64: the order that the first block selects."""
    return inputs[:, :BLOCK_WIDTH].argmax(1) + BLOCK_WIDTH * inputs[:, :BLOCK_WIDTH].amin(1).round().long()


def _sources(blocks: int, orders: int, fixed: torch.Generator) -> Tensor:
    """(R, S): for every order and site, the block that goes there; the first one stays."""
    others = torch.stack([torch.randperm(blocks - 1, generator=fixed) + 1 for _ in range(orders)])
    return torch.cat((torch.zeros(orders, 1, dtype=torch.long), others), dim=1)


def _selectors(orders: int) -> Tensor:
    """(R, 4): the first block, for every order."""
    order = torch.arange(orders)
    one_hot = torch.eye(BLOCK_WIDTH)[order % BLOCK_WIDTH] * BLOCK_WIDTH**0.5
    return one_hot + (order // BLOCK_WIDTH).unsqueeze(1)


DELIVERY = Task(
    "blocks of 4 numbers, one a site; the same blocks in one of several orders, which the first block selects",
    sample_delivery,
    "R2",
    r_squared,
    REGRESSION | {"mapping": "tied"},
    licence=MADE_HERE,
    face=(4, 4),
    rows=96_000,
    train_sizes=((4, 4),),
    test_sizes=((4, 4),),
    options={"orders": 4},
    label=delivery_orders,
)
