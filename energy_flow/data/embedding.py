"""Texts to a pair set on disk: in blocks, in constant memory, and going on after a kill where it stopped.

Every block of rows is embedded by itself, so a set that was interrupted has the same bits as one that was not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..utils.files import replace_file, sha256_of
from .pair_folder import (
    CANDIDATE_TEXTS,
    CANDIDATES,
    HELD_OUT,
    INPUTS,
    MANIFEST,
    ROWS,
    SPLIT,
    TARGETS,
    read_manifest,
    split_of,
    write_json,
)
from .text_rows import Candidate, PairRows, read_candidates

BLOCK = 1024  # rows that are embedded, written and brought to the disk together
JOB = "job.json"


class Encoder(Protocol):
    """What turns texts into rows; `name` goes into the manifest."""

    name: str

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), width) float32."""
        ...


@dataclass(frozen=True)
class EmbedJob:
    """Embed the pairs of a file into a folder.

    Attributes:
        rows: the pairs.
        folder: where the set goes; a folder of the same job goes on where it stopped.
        input_encoder: for the inputs that are texts; vectors are taken as they are.
        target_encoder: for the targets that are texts.
        candidates: a file of the texts that outputs are decoded to; by default the targets are.
        held_out: share of the targets that goes to validation, and share that goes to test.
        progress: told after every block: rows done and rows in all; inputs, targets and candidates counted apart.
    """

    rows: PairRows
    folder: Path
    input_encoder: Encoder
    target_encoder: Encoder
    candidates: Path | None = None
    held_out: float = HELD_OUT
    progress: Callable[[int, int], None] = lambda done, total: None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 0.5:
            raise ValueError(f"held_out = {self.held_out}; give a share above 0 and below 0.5")

    def run(self) -> dict[str, Any]:
        """Do what is left to do, and return the manifest.

        Raises:
            ValueError: a bad row, a target that is no candidate, or the folder holds something else.
        """
        if (self.folder / MANIFEST).is_file():
            self._require_same(json.loads((self.folder / MANIFEST).read_text(encoding="utf-8")))
            return read_manifest(self.folder)
        state = self._open()
        for side in state["done"]:
            self._embed(side, self.input_encoder if side == INPUTS else self.target_encoder, state)
        manifest = {key: value for key, value in state.items() if key not in ("done", "rows")}
        manifest["widths"] = {name: int(np.load(self.folder / name, mmap_mode="r").shape[1]) for name in state["done"]}
        texts = (CANDIDATE_TEXTS,) if CANDIDATES in state["done"] else ()
        manifest["sha256"] = {name: sha256_of(self.folder / name) for name in (*state["done"], SPLIT, ROWS, *texts)}
        write_json(self.folder / MANIFEST, manifest)
        (self.folder / JOB).unlink()
        return manifest

    def _describe(self) -> dict[str, Any]:
        """What makes a job the same job."""
        return {
            "format": 1,
            "name": self.folder.name,
            "source": self.rows.source.name,
            "source_fingerprint": self.rows.fingerprint(),
            "columns": [self.rows.input_column, self.rows.target_column, self.rows.id_column],
            "input_encoder": self.input_encoder.name,
            "target_encoder": self.target_encoder.name,
            "candidates": None if self.candidates is None else sha256_of(self.candidates),
            "held_out": self.held_out,
        }

    def _require_same(self, found: dict[str, Any]) -> None:
        for key, value in self._describe().items():
            if found.get(key) != value:
                raise ValueError(
                    f"{self.folder} holds another set: its {key} is {found.get(key)!r}, this one's {value!r}; "
                    "give another folder"
                )

    def _open(self) -> dict[str, Any]:
        """The state of an interrupted job; or a new one, its rows checked and its texts written."""
        path = self.folder / JOB
        if path.is_file():
            state = json.loads(path.read_text(encoding="utf-8"))
            self._require_same(state)
            return state
        if self.folder.exists() and any(one for one in self.folder.iterdir() if not _is_leftover(one)):
            raise ValueError(f"{self.folder} holds files that are no pair set; give another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        for half_written in self.folder.glob(".*.tmp"):
            half_written.unlink()
        candidates = [] if self.candidates is None else list(read_candidates(self.candidates))
        splits: list[int] = []
        kinds: set[tuple[bool, bool]] = set()
        known = None if self.candidates is None else {one.text for one in candidates}
        replace_file(self.folder / ROWS, lambda rows_path: self._write_rows(rows_path, splits, kinds, known))
        if not splits:
            raise ValueError(f"{self.rows.source}: no usable row; give at least one pair")
        if len(kinds) > 1:
            raise ValueError(
                f"{self.rows.source}: a column holds texts in some rows and vectors in others; give one kind"
            )
        replace_file(self.folder / SPLIT, lambda split_path: _save_array(split_path, np.array(splits, dtype=np.uint8)))
        if candidates:
            replace_file(self.folder / CANDIDATE_TEXTS, lambda new: _write_candidates(new, candidates))
        input_texts, target_texts = kinds.pop()
        sides = {INPUTS: len(splits), TARGETS: len(splits)} | ({CANDIDATES: len(candidates)} if candidates else {})
        state = self._describe() | {
            "pairs": len(splits),
            "skipped": len(self.rows.skipped),
            "input_texts": input_texts,
            "target_texts": target_texts,
            "normalised": {INPUTS: input_texts, TARGETS: target_texts},
            "rows": sides,
            "done": dict.fromkeys(sides, 0),
        }
        write_json(path, state)
        return state

    def _write_rows(self, path: Path, splits: list[int], kinds: set[tuple[bool, bool]], known: set[str] | None) -> None:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row in self.rows:
                if known is not None and row.wanted not in known:
                    raise ValueError(
                        f"{self.rows.source}:{row.line}: the target {row.wanted!r} is not among the candidates of "
                        f"{self.candidates}; add it there"
                    )
                kinds.add((isinstance(row.given, str), isinstance(row.wanted, str)))
                texts = {"id": row.row_id, "input": row.given, "target": row.wanted}
                file.write(json.dumps({key: text for key, text in texts.items() if isinstance(text, str)}) + "\n")
                splits.append(split_of(row.wanted if isinstance(row.wanted, str) else row.row_id, self.held_out))

    def _embed(self, side: str, encoder: Encoder, state: dict[str, Any]) -> None:
        done, rows, path = state["done"][side], state["rows"][side], self.folder / side
        if done == rows:
            return
        for cells in self._blocks(side, done):
            if isinstance(cells[0], str):
                vectors = np.ascontiguousarray(encoder(cells).numpy(), dtype=np.float32)
            else:
                vectors = np.array(cells, dtype=np.float32)
            if done == 0:
                replace_file(path, lambda new, width=vectors.shape[1]: _create_array(new, (rows, width)))
            matrix = np.load(path, mmap_mode="r+")
            matrix[done : done + len(vectors)] = vectors
            matrix.flush()
            del matrix  # a mapping that stays open would count as memory in use
            done += len(vectors)
            state["done"][side] = done
            write_json(self.folder / JOB, state)
            self.progress(sum(state["done"].values()), sum(state["rows"].values()))

    def _blocks(self, side: str, done: int) -> Iterator[list[Any]]:
        """The cells of one column from row `done` on, block by block; `done` is always a multiple of the block."""
        block: list[Any] = []
        for cell in islice(self._cells(side), done, None):
            block.append(cell)
            if len(block) == BLOCK:
                yield block
                block = []
        if block:
            yield block

    def _cells(self, side: str) -> Iterator[Any]:
        if side == CANDIDATES:
            assert self.candidates is not None  # the side is there with them alone
            return (one.text for one in read_candidates(self.candidates))
        return (row.given if side == INPUTS else row.wanted for row in self.rows)


def _is_leftover(path: Path) -> bool:
    return path.name in (ROWS, SPLIT, INPUTS, TARGETS, CANDIDATE_TEXTS, CANDIDATES) or path.name.endswith(".tmp")


def _create_array(path: Path, shape: tuple[int, int]) -> None:
    np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape).flush()


def _save_array(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for one in candidates:
            groups = {} if one.groups is None else {"groups": one.groups}
            file.write(json.dumps({"text": one.text} | groups) + "\n")
