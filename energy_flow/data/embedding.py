"""Pairs of texts or vectors to a set on disk: in constant memory, and going on after a kill where it stopped.

First the source is read once: vectors go to files, different texts are collected, and rows get their splits. Then every
different text is embedded once, in blocks that do not depend on where a run was cut, so a set that was interrupted has
the same bits as one that was not. Last the matrices are put together.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..utils.files import replace_file, sha256_of, sync_file
from .first_pass import WORK, FirstPass
from .pair_folder import (
    CANDIDATE_TEXTS,
    CANDIDATES,
    INPUTS,
    MANIFEST,
    ROWS,
    SPLIT,
    TARGETS,
    read_manifest,
    write_json,
)
from .splitting import HELD_OUT, LEFT_OUT
from .stored_rows import CHUNK
from .storing import DTYPES, chunks_of, save_array, write_matrix
from .text_rows import PairRows
from .text_store import CUT, UNKNOWN, UNSURE, EmbeddedTexts, Encoder, card_of, name_of

JOB = "job.json"
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
                folder holds something else, or the disk is full; what is done stays done.
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
        if (self.folder / MANIFEST).is_file():
            self._require_same(json.loads((self.folder / MANIFEST).read_text(encoding="utf-8")))
            return read_manifest(self.folder)
        state = self._open()
        for key, store in state["stores"].items():
            self._embed(key, store, state)
        manifest = self._put_together(state)
        write_json(self.folder / MANIFEST, manifest)
        (self.folder / JOB).unlink()
        shutil.rmtree(self.folder / WORK)
        return manifest

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

    def _require_same(self, found: dict[str, Any]) -> None:
        wanted = self._describe()
        for side, encoder in (("input", self.input_encoder), ("target", self.target_encoder)):
            if found.get(f"{side}_embedded", found.get(f"{side}_texts")):
                wanted |= _same_weights(side, encoder, found)
        if found.get("format") == 1:  # of a set that is finished, by an earlier version
            wanted = {key: value for key, value in wanted.items() if key in found and key != "format"}
        for key, value in wanted.items():
            if found.get(key) != value:
                name, is_there, is_asked = _difference(key, found.get(key), value)
                weights = "the encoder of then, or " if name.endswith("fingerprint") else ""
                raise ValueError(
                    f"{self.folder} holds another set: its {name} is {is_there!r}, this one's {is_asked!r}; "
                    f"give {weights}another folder"
                )

    def _open(self) -> dict[str, Any]:
        """The state of an interrupted job; or a new one, its source read."""
        path = self.folder / JOB
        if path.is_file():
            state = json.loads(path.read_text(encoding="utf-8"))
            if state.get("format") != FORMAT:
                raise ValueError(f"{self.folder} was begun by an earlier version; remove it and run the command again")
            self._require_same(state)
            return state if "stores" in state else self._read(state)
        if self.folder.exists() and any(one for one in self.folder.iterdir() if not _is_leftover(one)):
            raise ValueError(f"{self.folder} holds files that are no pair set; give another folder")
        state = self._describe() | self._encoders()
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, state)
        return self._read(state)

    def _read(self, state: dict[str, Any]) -> dict[str, Any]:
        """The same state with what was read, from the beginning."""
        shutil.rmtree(self.folder / WORK, ignore_errors=True)
        for left in self.folder.glob(".*.tmp"):
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


def _same_weights(side: str, encoder: Encoder, found: dict[str, Any]) -> dict[str, Any]:
    """Name and card that a set is asked to have; where its model was moved, the same weights in the old place."""
    name, card = f"{side}_encoder", f"{side}_encoder_card"
    if card not in found:  # of an earlier version, which kept the name as it was given
        same = Path(str(found.get(name))).name == Path(name_of(encoder)).name
        return {name: found.get(name) if same else name_of(encoder)}
    wanted = card_of(encoder)
    if wanted.get("fingerprint") and wanted["fingerprint"] == found[card].get("fingerprint"):
        return {name: found[name], card: wanted | {"model": found[card]["model"]}}
    return {name: name_of(encoder), card: wanted}


def _difference(key: str, is_there: Any, is_asked: Any) -> tuple[str, Any, Any]:
    """What differs, and how: of an encoder's card the first entry alone; its weights come before its name."""
    if not isinstance(is_there, dict) or not isinstance(is_asked, dict):
        return key, is_there, is_asked
    differing = [one for one in is_there | is_asked if is_there.get(one) != is_asked.get(one)]
    first = "fingerprint" if "fingerprint" in differing else differing[0]
    return f"{key.removesuffix('_card').replace('_', ' ')}'s {first}", is_there.get(first), is_asked.get(first)


def _is_leftover(path: Path) -> bool:
    return path.name in (ROWS, SPLIT, INPUTS, TARGETS, CANDIDATE_TEXTS, CANDIDATES, WORK) or path.name.endswith(".tmp")
