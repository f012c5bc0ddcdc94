"""Pairs of texts or vectors to a set on disk: in constant memory, and going on after a kill where it stopped.

First the source is read once: vectors go to files, different texts are collected, and rows get their splits. Then every
different text is embedded once, in blocks that do not depend on where a run was cut, so a set that was interrupted has
the same bits as one that was not. Last the matrices are put together.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..utils.files import replace_file, require_writable, sha256_of, sync_file
from .files import is_dataset, require_used, shards_of
from .first_pass import FirstPass
from .job_folder import (
    JOB,
    WORK,
    difference,
    has_embedded,
    require_apart,
    require_free,
    same_weights,
    temporary_files,
)
from .pair_folder import CANDIDATE_TEXTS, CANDIDATES, MANIFEST, ROWS, SPLIT, read_json, read_manifest, write_json
from .splitting import HELD_OUT, LEFT_OUT
from .stored_rows import CHUNK
from .storing import DTYPES, chunks_of, save_array, scales_of, write_matrix
from .text_rows import PairRows
from .text_store import CUT, UNKNOWN, UNSURE, EmbeddedTexts, Encoder, card_of, name_of

NAMED = 10  # texts that an encoder knows nothing of, in the manifest
FORMAT = 2  # of a job: 1 embedded every row of a column by itself
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Store = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class EmbedJob:
    """Embed the pairs of a source into a folder.

    Attributes:
        rows: the pairs.
        folder: where the set goes; a folder of the same job goes on where it stopped.
        input_encoder: for the inputs that are texts; vectors are taken as they are.
        target_encoder: for the targets that are texts.
        candidates: a file of the texts that outputs are decoded to; by default the targets are.
        held_out: share of the rows that goes to validation, and share that goes to test.
        progress: told after every block: different texts that are done, and in all.
        store: how numbers are kept.
        splits_from: the folder of an earlier set, whose rows keep their splits.
    """

    rows: PairRows
    folder: Path
    input_encoder: Encoder
    target_encoder: Encoder
    candidates: Path | None = None
    held_out: float = HELD_OUT
    progress: Callable[[int, int], None] = lambda done, total: None
    store: Store = "float32"
    splits_from: Path | None = None

    def __post_init__(self) -> None:
        if not 0 < self.held_out < 0.5:
            raise ValueError(f"held_out = {self.held_out}; give a share above 0 and below 0.5")
        if self.store not in DTYPES:
            raise ValueError(f"store = {self.store!r}; give one of {', '.join(DTYPES)}")

    def run(self) -> dict[str, Any]:
        """Do what is left to do, and return the manifest.

        Raises:
            ValueError: a bad row, a target that is no candidate, an encoder that is missing or another than before, the
                folder holds something else or the source itself, or the disk is full; what is done stays done.
        """
        try:
            return self._run()
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise ValueError(
                f"disk full: {self.folder} ({error.strerror}); make room and run the same command again: it goes on "
                "where it stopped"
            ) from error

    def _run(self) -> dict[str, Any]:
        self._check_places()
        if (self.folder / MANIFEST).is_file():
            found = read_json(self.folder / MANIFEST, "a manifest of a pair set")
            if "columns" not in found:
                raise ValueError(f"{self.folder} holds a set that data embed did not make; give another folder")
            self._require_same(found)
            return read_manifest(self.folder)
        state = self._open()
        for key, store in state["stores"].items():
            self._embed(key, store, state)
        manifest = self._put_together(state)
        write_json(self.folder / MANIFEST, manifest)
        (self.folder / JOB).unlink()
        shutil.rmtree(self.folder / WORK)
        return manifest

    def _check_places(self) -> None:
        """Refuse, with a ValueError, sources that are no files, that the set would overwrite, or that options miss."""
        if self.candidates is not None and not self.candidates.is_file():
            what = "is a folder" if self.candidates.is_dir() else "no such file"
            raise ValueError(f"candidates {self.candidates}: {what}; give a file with a text a line, or a table")
        sources = [] if is_dataset(self.rows.source) else shards_of(self.rows.source)
        more = [] if self.candidates is None else [self.candidates]
        require_apart(self.folder, [*sources, *more])
        require_used(self.rows.options, [self.rows.source, *more])

    def _describe(self) -> dict[str, Any]:
        """What makes a job the same job, but for its encoders."""
        rows = self.rows
        found: dict[str, Any] = {
            "format": FORMAT,
            "name": self.folder.name,
            "source": rows.source.name,
            "source_fingerprint": rows.fingerprint(),
            "columns": [rows.input_column, rows.target_column, rows.id_column],
            "more_columns": [rows.input_text_column, rows.target_text_column, rows.group_column],
            "reading": rows.options.said() or None,
            "candidates": None if self.candidates is None else sha256_of(self.candidates),
            "held_out": self.held_out,
            "store": self.store,
        }
        if self.splits_from is not None:
            found["splits_from"] = read_manifest(self.splits_from)["sha256"][SPLIT]
        return found

    def _difference(self, found: dict[str, Any]) -> str:
        """In what a set or a job differs from this one, in words; empty where it does not."""
        wanted = self._describe()
        for side, encoder in (("input", self.input_encoder), ("target", self.target_encoder)):
            if found.get(f"{side}_embedded", found.get(f"{side}_texts")):
                wanted |= same_weights(side, encoder, found)
        return difference(found, wanted)

    def _require_same(self, found: dict[str, Any]) -> None:
        if differs := self._difference(found):
            raise ValueError(f"{self.folder} holds another set: {differs}")

    def _open(self) -> dict[str, Any]:
        """The state of an interrupted job; or a new one, its source read.

        A job that has embedded nothing yet is begun anew where it is another one, as after a mended source.
        """
        require_writable(self.folder, "folder of the set", JOB)
        path = self.folder / JOB
        if path.is_file():
            state = self._stored_as_asked(self._read_job(path))
            if has_embedded(state):
                self._require_same(state)
            if "stores" in state and not self._difference(state):
                return state
        else:
            require_free(self.folder)
        state = self._describe() | self._encoders()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, state)
        return self._read(state)

    def _stored_as_asked(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state with this job's store, for which nothing is embedded again while the source's vectors wait."""
        matrices = state.get("matrices", {})
        given = [name for name, side in matrices.items() if side["store"] is None]
        if state.get("store") == self.store or not all((self.folder / WORK / name).is_file() for name in given):
            return state
        for name in matrices:
            scales_of(self.folder / name).unlink(missing_ok=True)
        return state | {"store": self.store}

    def _read_job(self, path: Path) -> dict[str, Any]:
        state = read_json(path, "the state of a job")
        if state.get("format") != FORMAT:
            raise ValueError(f"{path}: was written by an earlier version, or is no job; give another folder")
        return state

    def _read(self, state: dict[str, Any]) -> dict[str, Any]:
        """The same state with what was read, from the beginning."""
        shutil.rmtree(self.folder / WORK, ignore_errors=True)
        for left in temporary_files(self.folder):
            left.unlink()
        (self.folder / WORK).mkdir()
        cards = {side: state.get(f"{side}_encoder_card") for side in ("input", "target")}
        state = state | FirstPass(self, cards).run()
        write_json(self.folder / JOB, state)
        return state

    def _encoders(self) -> dict[str, Any]:
        """The encoders that the first pair asks for, loaded: one that is missing writes nothing."""
        first = next(iter(self.rows), None)
        if first is None:
            raise ValueError(f"{self.rows.source}: no usable row; give at least one pair")
        found: dict[str, Any] = {}
        for side, cell, encoder in (
            ("input", first.given, self.input_encoder),
            ("target", first.wanted, self.target_encoder),
        ):
            embedded = isinstance(cell, str)
            if embedded:
                getattr(encoder, "prepare", lambda: None)()
            found |= {f"{side}_embedded": embedded, f"{side}_encoder": name_of(encoder) if embedded else None}
            if embedded:
                found[f"{side}_encoder_card"] = card_of(encoder)
        return found

    def _embed(self, key: str, store: dict[str, Any], state: dict[str, Any]) -> None:
        total = sum(one["texts"] for one in state["stores"].values())
        texts, before = self._texts(key), state["unknown"]

        def saved(done: int, width: int) -> None:
            store["done"], store["width"] = done, width
            state["unknown"] = (before + texts.unknown)[:NAMED]
            write_json(self.folder / JOB, state)
            self.progress(sum(one["done"] for one in state["stores"].values()), total)

        if store["done"] < store["texts"]:
            encoder = self.input_encoder if "input" in store["sides"] else self.target_encoder
            texts.embed(encoder, store["done"], saved)

    def _texts(self, key: str) -> EmbeddedTexts:
        work = self.folder / WORK
        return EmbeddedTexts(work / f"{key}.jsonl", work / f"{key}.f32")

    def _put_together(self, state: dict[str, Any]) -> dict[str, Any]:
        """Write the matrices, and say what they are."""
        widths, cut, files = {}, {}, [SPLIT, ROWS]
        split = np.load(self.folder / SPLIT)
        without_direction = {}
        for name, side in state["matrices"].items():
            store = None if side["store"] is None else state["stores"][side["store"]]
            widths[name] = side["width"] if store is None else store["width"]
            if store is None:
                places, rows = None, side["rows"]
            else:
                places = np.load(self.folder / WORK / f"{name}.places.npy")
                flags = self._texts(side["store"]).flags_of(places)
                cut[name] = None if (flags & UNSURE).any() else int((flags & CUT > 0).sum())
                without_direction[name] = int((flags & UNKNOWN > 0).sum())
                if name != CANDIDATES:
                    split[flags & UNKNOWN > 0] = LEFT_OUT
                elif without_direction[name]:
                    places = places[flags & UNKNOWN == 0]
                    self._keep_candidates(flags & UNKNOWN == 0)
                rows = len(places)
            if store is None and self.store == "float32":
                self._move_vectors(name)
                files.append(name)
                continue
            chunks = partial(self._chunks, name, side["store"], widths[name], places)
            files += write_matrix(self.folder / name, chunks, rows, widths[name], self.store)
        if not (split != LEFT_OUT).any():
            raise ValueError(
                f"{self.rows.source}: the encoder knows nothing of a text in any row, the first ones "
                f"{'; '.join(state['unknown'])}; give another encoder"
            )
        replace_file(self.folder / SPLIT, lambda path: save_array(path, split))
        files += [CANDIDATE_TEXTS] if CANDIDATES in state["matrices"] else []
        manifest = {key: value for key, value in state.items() if key not in ("stores", "matrices")}
        manifest |= {"widths": widths, "cut": cut, "left_out": int((split == LEFT_OUT).sum())}
        manifest |= {"without_direction": without_direction}
        manifest["texts_embedded"] = sum(store["texts"] for store in state["stores"].values())
        return manifest | {"sha256": {name: sha256_of(self.folder / name) for name in files}}

    def _move_vectors(self, name: str) -> None:
        """Vectors that are kept as they came are in a file already; it is moved, unless that was done before a kill."""
        if (self.folder / WORK / name).is_file():
            sync_file(self.folder / WORK / name)
            os.replace(self.folder / WORK / name, self.folder / name)

    def _chunks(self, name: str, store: str | None, width: int, places: np.ndarray | None) -> Iterator[np.ndarray]:
        """The rows of a matrix, some thousands at a time."""
        if store is None or places is None:
            return chunks_of(self.folder / WORK / name, CHUNK)
        return self._texts(store).chunks(places, width, CHUNK)

    def _keep_candidates(self, keep: np.ndarray) -> None:
        """Leave out the candidates for which the encoder has no direction, unless they are gone already."""
        lines = (self.folder / CANDIDATE_TEXTS).read_text(encoding="utf-8").splitlines(keepends=True)
        if len(lines) == len(keep):
            kept = "".join(line for line, stays in zip(lines, keep.tolist(), strict=True) if stays)
            replace_file(
                self.folder / CANDIDATE_TEXTS,
                lambda path: path.write_text(kept, encoding="utf-8", newline="\n"),
            )
