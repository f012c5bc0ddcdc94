"""A pair set on disk: two matrices, the texts beside them, and a manifest with checksums.

Files: `inputs.npy` (N, E) and `targets.npy` (N, T) float32, `split.npy` (N,) uint8, `rows.jsonl` with id and texts,
`manifest.json`. A folder without a manifest is not finished.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.files import sha256_of
from .pairs import PairData, PairSet, TextBank

INPUTS, TARGETS, SPLIT, ROWS, MANIFEST = "inputs.npy", "targets.npy", "split.npy", "rows.jsonl", "manifest.json"
SPLIT_NAMES = ("train", "validation", "test")
HELD_OUT = 0.1  # share of the targets in validation, and in test


def split_of(target: str) -> int:
    """The split that a target text belongs to, by its checksum: always the same, and one split for one text."""
    share = int.from_bytes(hashlib.sha256(target.encode()).digest()[:8], "big") / 2**64
    return 2 if share < HELD_OUT else 1 if share < 2 * HELD_OUT else 0


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest, and check that every file it names is the one that was written.

    Raises:
        ValueError: the set is not finished, or a file is missing or another.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{path}: no such file, so the set is not finished; run `energy-flow data embed` again")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name, expected in manifest["sha256"].items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such file, though the manifest names it; build the set again")
        if sha256_of(folder / name) != expected:
            raise ValueError(f"{folder / name}: the checksum differs from the manifest's; build the set again")
    return manifest


def load_pair_folder(folder: Path) -> PairData:
    """Load a finished pair set; the bank holds every target text once."""
    manifest = read_manifest(folder)
    inputs, targets = (torch.from_numpy(np.load(folder / name, mmap_mode="c")) for name in (INPUTS, TARGETS))
    split = torch.from_numpy(np.load(folder / SPLIT))
    with (folder / ROWS).open(encoding="utf-8") as lines:
        texts = [json.loads(line) for line in lines]

    def part(name: str) -> PairSet:
        rows = (split == SPLIT_NAMES.index(name)).nonzero().flatten()
        if not len(rows):
            raise ValueError(
                f"{folder}: no row falls into the {name} split; give more pairs with more different targets"
            )
        chosen = [texts[row] for row in rows.tolist()]
        return PairSet(
            inputs.index_select(0, rows),
            targets.index_select(0, rows),
            [row["input"] for row in chosen] if manifest["input_texts"] else (),
            [row["target"] for row in chosen] if manifest["target_texts"] else (),
        )

    bank = _bank([row["target"] for row in texts], targets) if manifest["target_texts"] else None
    return PairData(manifest["name"], part("train"), part("validation"), part("test"), bank)


def _bank(texts: list[str], targets: Tensor) -> TextBank:
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    return TextBank(list(first), targets.index_select(0, torch.tensor(list(first.values()))))
