"""A pair set on disk: two matrices, the texts beside them, and a manifest with checksums.

Files: `inputs.npy` (N, E) and `targets.npy` (N, T) float32, `split.npy` (N,) uint8, `manifest.json`; where there are
texts, `rows.jsonl` with id and texts; where the targets' bank is given, `candidates.npy` (V, T) and
`candidates.jsonl`. A folder without a manifest is not finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.files import replace_file, sha256_of
from .pairs import PairData, PairSet, TextBank
from .stored_rows import IN_MEMORY, Rows, open_npy, select_rows

INPUTS, TARGETS, SPLIT, ROWS, MANIFEST = "inputs.npy", "targets.npy", "split.npy", "rows.jsonl", "manifest.json"
CANDIDATES, CANDIDATE_TEXTS = "candidates.npy", "candidates.jsonl"
SPLIT_NAMES = ("train", "validation", "test")
HELD_OUT = 0.1  # share of the targets in validation, and in test


def split_of(target: str, held_out: float = HELD_OUT) -> int:
    """The split that a target text belongs to, by its checksum: always the same, and one split for one text."""
    share = int.from_bytes(hashlib.sha256(target.encode()).digest()[:8], "big") / 2**64
    return 2 if share < held_out else 1 if share < 2 * held_out else 0


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest, and check that every file it names is the one that was written.

    Raises:
        ValueError: the set is not finished, or a file is missing or another.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{path}: no such file, so the set is not finished; run the command that makes it again")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        checksums = dict(manifest["sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a manifest of a pair set ({error!r}); build the set again") from error
    for name, expected in checksums.items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such file, though the manifest names it; build the set again")
        if sha256_of(folder / name) != expected:
            raise ValueError(f"{folder / name}: the checksum differs from the manifest's; build the set again")
    return manifest


def write_pair_folder(
    folder: Path, rows: int, blocks: Iterable[tuple[str, Tensor, Tensor]], description: Mapping[str, Any]
) -> dict[str, Any]:
    """Write embeddings without texts as a pair set, block by block, so that it may be larger than the memory.

    Args:
        folder: a new folder.
        rows: how many pairs there are in all.
        blocks: name of the split, inputs (n, E) and targets (n, T), each.
        description: for the manifest; `name` at least.

    Returns:
        the manifest.

    Raises:
        ValueError: the folder holds something, or the blocks are more or fewer rows than was said.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files already; give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    splits: list[np.ndarray] = []
    widths: dict[str, int] = {}
    with (folder / INPUTS).open("wb") as inputs_file, (folder / TARGETS).open("wb") as targets_file:
        for split, inputs, targets in blocks:
            for name, file, matrix in ((INPUTS, inputs_file, inputs), (TARGETS, targets_file, targets)):
                if name not in widths:
                    widths[name] = matrix.shape[1]
                    write_npy_header(file, rows, matrix.shape[1])
                file.write(np.ascontiguousarray(matrix.numpy(), dtype="<f4").data)
            splits.append(np.full(len(inputs), SPLIT_NAMES.index(split), dtype=np.uint8))
    found = sum(len(part) for part in splits)
    if found != rows:
        raise ValueError(f"{folder}: {rows} rows were announced and {found} written; give the number of rows")
    with (folder / SPLIT).open("wb") as file:
        np.save(file, np.concatenate(splits))
    manifest = {"format": 1, **description, "pairs": rows, "input_texts": False, "target_texts": False}
    manifest |= {"widths": widths, "sha256": {name: sha256_of(folder / name) for name in (INPUTS, TARGETS, SPLIT)}}
    write_json(folder / MANIFEST, manifest)
    return manifest


def load_pair_folder(folder: Path, in_memory: int = IN_MEMORY) -> PairData:
    """Load a finished pair set. The bank is the set's candidates, or else every target text once.

    Args:
        folder: the set.
        in_memory: bytes up to which a matrix is kept in memory; larger ones are read row by row.
    """
    manifest = read_manifest(folder)
    inputs, targets = (open_npy(folder / name, in_memory) for name in (INPUTS, TARGETS))
    split = torch.from_numpy(np.load(folder / SPLIT))
    input_texts, target_texts = _read_texts(folder, manifest)

    def part(name: str) -> PairSet:
        rows = (split == SPLIT_NAMES.index(name)).nonzero().flatten()
        if not len(rows):
            raise ValueError(
                f"{folder}: no row falls into the {name} split; give more pairs with more different targets"
            )
        texts = ([column[row] for row in rows.tolist()] if column else () for column in (input_texts, target_texts))
        return PairSet(select_rows(inputs, rows), select_rows(targets, rows), *texts)

    bank = _load_candidates(folder, in_memory) if CANDIDATES in manifest["sha256"] else _bank(target_texts, targets)
    encoders = (manifest["input_encoder"], manifest["target_encoder"]) if input_texts and target_texts else None
    parts = (part(name) for name in SPLIT_NAMES)
    return PairData(manifest["name"], *parts, bank=bank, encoders=encoders, task=manifest.get("task"))


def write_npy_header(file: Any, rows: int, width: int) -> None:
    """The head of an `.npy` file of float32 rows, which follow it."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write readable JSON, whole or not at all."""
    replace_file(path, lambda new: new.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8", newline="\n"))


def _read_texts(folder: Path, manifest: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    columns: dict[str, list[str]] = {name: [] for name in ("input", "target") if manifest[f"{name}_texts"]}
    if columns:
        with (folder / ROWS).open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                for name, texts in columns.items():
                    texts.append(row[name])
    return columns.get("input", []), columns.get("target", [])


def _load_candidates(folder: Path, in_memory: int) -> TextBank:
    with (folder / CANDIDATE_TEXTS).open(encoding="utf-8") as lines:
        candidates = [json.loads(line) for line in lines]
    groups = [frozenset(one["groups"]) for one in candidates] if "groups" in candidates[0] else ()
    return TextBank([one["text"] for one in candidates], open_npy(folder / CANDIDATES, in_memory), groups)


def _bank(texts: list[str], targets: Rows) -> TextBank | None:
    if not texts:
        return None
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    return TextBank(list(first), select_rows(targets, torch.tensor(list(first.values()))))
