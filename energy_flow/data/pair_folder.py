"""A pair set on disk: two matrices, the texts beside them, and a manifest with checksums.

Files: `inputs.npy` (N, E) and `targets.npy` (N, T) float32, `split.npy` (N,) uint8, `manifest.json`; where there are
texts, `rows.jsonl` with id and texts; where the targets' bank is given, `candidates.npy` (V, T) and
`candidates.jsonl`. A folder without a manifest is not finished. A set of several sizes is a folder of such folders, one
for each size, such as `5x5`; its own manifest names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..utils.files import replace_file, require_writable, sha256_of
from .pairs import PairData, PairSet, Size, TextBank, pairs_of, parts_of
from .splitting import SplitKeys
from .stored_rows import IN_MEMORY, Rows, chunks, open_npy, select_rows
from .storing import write_npy_header
from .text_rows import PairRow

INPUTS, TARGETS, SPLIT, ROWS, MANIFEST = "inputs.npy", "targets.npy", "split.npy", "rows.jsonl", "manifest.json"
CANDIDATES, CANDIDATE_TEXTS = "candidates.npy", "candidates.jsonl"
NEEDED = ("name", "sha256", "input_texts", "target_texts")  # in every manifest
SPLIT_NAMES = ("train", "validation", "test")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """The object that a JSON file of ours holds.

    Args:
        path: the file.
        what: it is meant to be; for the message.

    Raises:
        ValueError: not JSON, or no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not {what} ({error}); remove its folder, or give another one") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: not {what} but {json.dumps(found)[:40]}; remove its folder, or give another one")
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest, and check that every file it names is the one that was written.

    Raises:
        ValueError: the set is not finished, or a file is missing or another.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise ValueError(f"{path}: no such file, so the set is not finished; run the command that makes it again")
    manifest = read_json(path, "a manifest of a pair set")
    missing = [key for key in NEEDED if key not in manifest]
    if missing or not isinstance(manifest["sha256"], dict):
        lacks = (missing or ["sha256"])[0]
        raise ValueError(f"{path}: not a manifest of a pair set, as {lacks} is missing; build the set again")
    for name, expected in manifest["sha256"].items():
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name}: no such file, though the manifest names it; build the set again")
        if sha256_of(folder / name) != expected:
            raise ValueError(f"{folder / name}: the checksum differs from the manifest's; build the set again")
    return manifest


def require_new(folder: Path) -> None:
    """Refuse, with a ValueError, a folder that holds something, or in which nothing can be written."""
    require_writable(folder, "folder", MANIFEST)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files already; give a new folder")


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
    require_new(folder)
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
    if "sizes" in manifest:
        return _load_sizes(folder, manifest, in_memory)
    inputs, targets = _open_matrices(folder, in_memory)
    texts = _read_texts(folder, manifest)
    parts = _require_splits(folder, _parts(folder, manifest, inputs, targets, texts))
    bank = (
        _load_candidates(folder, in_memory) if CANDIDATES in manifest["sha256"] else _bank(texts[1], targets, manifest)
    )
    cards = encoder_cards(manifest)
    encoders = None if len(cards) < 2 else (manifest["input_encoder"], manifest["target_encoder"])
    made = {"task": manifest.get("task"), "options": manifest.get("options", {})}
    return PairData(manifest["name"], *parts, bank=bank, encoders=encoders, encoder_cards=cards, **made)


def encoder_cards(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What decides the bits of the encoder of each side that was embedded here from texts."""
    return {
        side: manifest.get(f"{side}_encoder_card", {"model": manifest[f"{side}_encoder"]})
        for side in ("input", "target")
        if manifest.get(f"{side}_embedded", manifest.get(f"{side}_texts"))
    }


def read_keys(folder: Path) -> tuple[SplitKeys, np.ndarray]:
    """What the rows of a set have to share, and their splits: for a set that holds these rows and more."""
    manifest = read_manifest(folder)
    matrices = dict(zip(("input", "target"), _open_matrices(folder, IN_MEMORY), strict=True))
    embedded = {side: manifest.get(f"{side}_embedded", manifest[f"{side}_texts"]) for side in matrices}
    if manifest.get("store", "float32") != "float32" and not all(embedded.values()):
        raise ValueError(
            f"{folder}: its vectors are stored as {manifest['store']} and cannot be found again; embed anew"
        )
    keys = SplitKeys()
    with (folder / ROWS).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            texts = json.loads(line)
            cells = {
                side: texts[side] if embedded[side] else matrix[number : number + 1][0].numpy()
                for side, matrix in matrices.items()
            }
            given, wanted = (None if embedded[side] else texts.get(side) for side in matrices)
            row = PairRow(number, texts["id"], cells["input"], cells["target"], given, wanted, texts.get("group"))
            keys.add(row)
    return keys, np.load(folder / SPLIT)


def write_data_folder(folder: Path, data: PairData, description: Mapping[str, Any]) -> dict[str, Any]:
    """Write a data set without texts, of one size or of several, as a pair set.

    Args:
        folder: a new folder.
        data: what is written.
        description: as in `write_pair_folder`.

    Returns:
        the manifest.

    Raises:
        ValueError: the folder holds something, or some rows have a face and others none.
    """
    by_face: dict[Size | None, dict[str, PairSet]] = {}
    for split in SPLIT_NAMES:
        for part in parts_of(getattr(data, split)):
            by_face.setdefault(part.face, {})[split] = part
    if len(by_face) == 1:
        ((face, splits),) = by_face.items()
        return _write_size(folder, face, splits, description)
    return _write_sizes(folder, {_known(face): splits for face, splits in by_face.items()}, description)


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


def _bank(texts: list[str], targets: Rows, manifest: Mapping[str, Any]) -> TextBank | None:
    """Every target text once; those for which the encoder had no direction are left out."""
    if not texts:
        return None
    first: dict[str, int] = {}
    for row, text in enumerate(texts):
        first.setdefault(text, row)
    rows = torch.tensor(list(first.values()))
    if manifest.get("without_direction", {}).get(TARGETS):
        known = torch.cat([chunk.any(dim=1) for chunk in chunks(select_rows(targets, rows))])
        rows = rows[known]
    return TextBank([texts[row] for row in rows.tolist()], select_rows(targets, rows))


def _open_matrices(folder: Path, in_memory: int) -> tuple[Rows, Rows]:
    return open_npy(folder / INPUTS, in_memory), open_npy(folder / TARGETS, in_memory)


def _parts(
    folder: Path, manifest: Mapping[str, Any], inputs: Rows, targets: Rows, texts: tuple[list[str], list[str]]
) -> dict[str, PairSet]:
    """The pairs of every split that has some."""
    split = torch.from_numpy(np.load(folder / SPLIT))
    face = tuple(manifest["face"]) if manifest.get("face") else None
    parts = {}
    for index, name in enumerate(SPLIT_NAMES):
        rows = (split == index).nonzero().flatten()
        if len(rows):
            chosen = ([column[row] for row in rows.tolist()] if column else () for column in texts)
            parts[name] = PairSet(select_rows(inputs, rows), select_rows(targets, rows), *chosen, face=face)
    return parts


def _require_splits(folder: Path, parts: Mapping[str, Any]) -> Iterator[Any]:
    """What the three splits have, in their order."""
    for name in SPLIT_NAMES:
        if name not in parts:
            raise ValueError(
                f"{folder}: no row falls into the {name} split; give more pairs with more different targets"
            )
    return (parts[name] for name in SPLIT_NAMES)


def _load_sizes(folder: Path, manifest: Mapping[str, Any], in_memory: int) -> PairData:
    found: dict[str, list[PairSet]] = {}
    for size in manifest["sizes"]:
        parts = _parts(folder / size, read_manifest(folder / size), *_open_matrices(folder / size, in_memory), ([], []))
        for split, part in parts.items():
            found.setdefault(split, []).append(part)
    splits = _require_splits(folder, {split: pairs_of(parts) for split, parts in found.items()})
    return PairData(manifest["name"], *splits, task=manifest.get("task"), options=manifest.get("options", {}))


def _known(face: Size | None) -> Size:
    if face is None:
        raise ValueError("some rows have a face and others none; give all of them one, or none")
    return face


def _write_size(
    folder: Path, face: Size | None, splits: Mapping[str, PairSet], description: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the splits of one size."""
    blocks = (
        (split, inputs, targets)
        for split, part in splits.items()
        for inputs, targets in zip(chunks(part.inputs), chunks(part.targets), strict=True)
    )
    card = dict(description) | ({} if face is None else {"face": face})
    return write_pair_folder(folder, sum(map(len, splits.values())), blocks, card)


def _write_sizes(
    folder: Path, by_face: Mapping[Size, Mapping[str, PairSet]], description: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a folder for each size, and last the manifest that names them."""
    require_new(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = {face: f"{face[0]}x{face[1]}" for face in by_face}
    for face, splits in by_face.items():
        _write_size(folder / names[face], face, splits, {"name": description["name"]})
    checksums = {f"{name}/{MANIFEST}": sha256_of(folder / name / MANIFEST) for name in names.values()}
    pairs = sum(len(part) for splits in by_face.values() for part in splits.values())
    manifest = {"format": 1, **description, "pairs": pairs, "input_texts": False, "target_texts": False}
    manifest |= {"sizes": list(names.values()), "sha256": checksums}
    write_json(folder / MANIFEST, manifest)
    return manifest
