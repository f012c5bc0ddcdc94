"""Pairs of texts or vectors to a set on disk: in constant memory, and going on after a kill where it stopped.

First the source is read once: vectors go to files, different texts are collected, and rows get their splits. Then every
different text is embedded once, in blocks that do not depend on where a run was cut, so a set that was interrupted has
the same bits as one that was not. Last the matrices are put together.
"""

from __future__ import annotations

import errno
import json
import shutil
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..utils.files import replace_file, sha256_of
from .files import Cell
from .pair_folder import (
    CANDIDATE_TEXTS,
    CANDIDATES,
    INPUTS,
    MANIFEST,
    ROWS,
    SPLIT,
    TARGETS,
    read_keys,
    read_manifest,
    write_json,
)
from .splitting import HELD_OUT, LEFT_OUT, KnownSplits, SplitKeys, assign_splits
from .stored_rows import CHUNK
from .storing import DTYPES, write_matrix
from .text_rows import Candidate, PairRow, PairRows, read_candidates
from .text_store import CUT, UNKNOWN, EmbeddedTexts, Encoder, TextCollector, card_of

JOB, WORK = "job.json", "unfinished"
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
                f"{self.folder}: the disk is full ({error.strerror}); make room and run the same command again: it "
                "goes on where it stopped"
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
                wanted |= {f"{side}_encoder": encoder.name}
                if f"{side}_encoder_card" in found:
                    wanted |= {f"{side}_encoder_card": card_of(encoder)}
        if found.get("format") == 1:  # of a set that is finished, by an earlier version
            wanted = {key: value for key, value in wanted.items() if key in found and key != "format"}
        for key, value in wanted.items():
            if found.get(key) != value:
                raise ValueError(
                    f"{self.folder} holds another set: its {key} is {found.get(key)!r}, this one's {value!r}; "
                    "give another folder"
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
        state = state | _Reading(self, cards).run()
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
            found |= {f"{side}_embedded": embedded, f"{side}_encoder": encoder.name if embedded else None}
            if embedded:
                getattr(encoder, "prepare", lambda: None)()
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
        return EmbeddedTexts(self.folder / WORK / f"{key}.jsonl", self.folder / WORK / f"{key}.f32")

    def _put_together(self, state: dict[str, Any]) -> dict[str, Any]:
        """Write the matrices, and say what they are."""
        work, widths, cut, files = self.folder / WORK, {}, {}, [SPLIT, ROWS]
        split = np.load(self.folder / SPLIT)
        for name, side in state["matrices"].items():
            if side["store"] is None:
                width, places = side["width"], None
            else:
                width, places = state["stores"][side["store"]]["width"], np.load(work / f"{name}.places.npy")
                flags = self._texts(side["store"]).flags_of(places)
                cut[name] = int((flags & CUT > 0).sum())
                if name != CANDIDATES:
                    split[flags & UNKNOWN > 0] = LEFT_OUT

            def chunks(name: str = name, side: Any = side, width: int = width, places: Any = places) -> Iterator[Any]:
                if places is not None:
                    return self._texts(side["store"]).chunks(places, width, CHUNK)
                return _raw_chunks(work / f"{name}.f32", width)

            files += write_matrix(self.folder / name, chunks, side["rows"], width, self.store)
            widths[name] = width
        if not (split != LEFT_OUT).any():
            raise ValueError(
                f"{self.rows.source}: the encoder knows nothing of a text in any row, the first ones "
                f"{'; '.join(state['unknown'])}; give another encoder"
            )
        if int((split == LEFT_OUT).sum()) != int((np.load(self.folder / SPLIT) == LEFT_OUT).sum()):
            replace_file(self.folder / SPLIT, lambda path: _save_array(path, split))
        files += [CANDIDATE_TEXTS] if CANDIDATES in state["matrices"] else []
        manifest = {key: value for key, value in state.items() if key not in ("stores", "matrices")}
        manifest |= {"widths": widths, "cut": cut, "left_out": int((split == LEFT_OUT).sum())}
        manifest["texts_embedded"] = sum(store["texts"] for store in state["stores"].values())
        return manifest | {"sha256": {name: sha256_of(self.folder / name) for name in files}}


@dataclass
class _Reading:
    """One pass through the source: vectors and texts to their files, and splits.

    Attributes:
        job: what is read, and where to.
        cards: of the encoders of both sides, where they are texts.
    """

    job: EmbedJob
    cards: dict[str, dict[str, Any] | None]
    keys: SplitKeys = field(default_factory=SplitKeys)
    texts: dict[str, TextCollector] = field(default_factory=dict)
    numbers: dict[str, array[int]] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)

    def run(self) -> dict[str, Any]:
        """What the job's state begins with."""
        job, work = self.job, self.job.folder / WORK
        self.stores = self._share_stores()
        for key in dict.fromkeys(self.stores.values()):
            self.texts[key] = TextCollector(work / f"{key}.jsonl")
        raw = {name: (work / f"{name}.f32").open("wb") for name in (INPUTS, TARGETS, CANDIDATES)}
        try:
            candidates = self._read_candidates(raw[CANDIDATES])
            known = {one.text for one in candidates} if candidates else None
            replace_file(job.folder / ROWS, lambda path: self._read_rows(path, raw, known))
        finally:
            for file in (*raw.values(), *(one for one in self.texts.values())):
                file.close()
        self._write_splits()
        matrices = {}
        sides = {INPUTS: "input", TARGETS: "target"} | ({CANDIDATES: "candidates"} if candidates else {})
        for name, side in sides.items():
            store = self.stores.get(side)
            matrices[name] = {"store": store, "rows": self._rows_of(name), "width": self.widths.get(name)}
            if store is not None:
                places = self.texts[store].places(self.numbers[name])
                replace_file(work / f"{name}.places.npy", lambda path, places=places: _save_array(path, places))
        used = {side: self.stores.get(side) is not None for side in ("input", "target")}
        state: dict[str, Any] = {"pairs": len(self.keys), "skipped": len(job.rows.skipped)}
        state |= {"multi_line": job.rows.multi_line}
        state |= {f"{side}_texts": used[side] or self._has_text_beside(side) for side in used}
        state["unknown"] = []
        state["normalised"] = {
            name: used[side] and bool((self.cards[side] or {}).get("normalise", True))
            for name, side in ((INPUTS, "input"), (TARGETS, "target"))
        }
        state["stores"] = {
            key: {"sides": [side for side, own in self.stores.items() if own == key], "texts": len(one), "done": 0}
            for key, one in self.texts.items()
        }
        return state | {"matrices": matrices}

    def _share_stores(self) -> dict[str, str]:
        """The store of the texts of every side; sides that are embedded alike share one."""
        stores: dict[str, str] = {}
        for side in ("input", "target"):
            card = self.cards[side]
            if card is not None:
                same = next((other for other in stores if self.cards[other] == card), None)
                stores[side] = stores[same] if same else f"texts-{side}"
        return stores

    def _read_candidates(self, raw: Any) -> list[Candidate]:
        job = self.job
        if job.candidates is None:
            return []
        found: list[Candidate] = []
        for one in read_candidates(job.candidates, job.rows.options):
            if one.vector is not None:
                self.widths[CANDIDATES] = len(one.vector)
                raw.write(one.vector.astype("<f4").tobytes())
            elif "target" not in self.stores:
                raise ValueError(
                    f"{job.candidates}: candidates are texts without vectors, and the targets of {job.rows.source} are "
                    "vectors, which no encoder made here; give candidates with text and vector"
                )
            else:
                self.stores["candidates"] = self.stores["target"]
                number = self.texts[self.stores["target"]].add(one.text, str(job.candidates))
                self.numbers.setdefault(CANDIDATES, array("q")).append(number)
            found.append(one._replace(vector=None))
        replace_file(job.folder / CANDIDATE_TEXTS, lambda path: _write_candidates(path, found))
        return found

    def _read_rows(self, path: Path, raw: dict[str, Any], known: set[str] | None) -> None:
        rows = self.job.rows
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                where = f"{row.path}:{row.line}"
                target = row.wanted if isinstance(row.wanted, str) else row.wanted_text
                if known is not None and target is not None and target not in known:
                    raise ValueError(
                        f"{where}: the target {target!r} is not among the candidates of {self.job.candidates}; "
                        "add it there"
                    )
                self._take(INPUTS, "input", row.given, where, raw[INPUTS])
                self._take(TARGETS, "target", row.wanted, where, raw[TARGETS])
                self.keys.add(row)
                file.write(json.dumps(_texts_of(row)) + "\n")
        candidates, targets = self.widths.get(CANDIDATES), self.widths.get(TARGETS)
        if candidates is not None and targets is not None and candidates != targets:
            raise ValueError(
                f"{self.job.candidates}: vectors of width {candidates}, and the targets have {targets}; give one width"
            )

    def _take(self, name: str, side: str, cell: Cell, where: str, raw: Any) -> None:
        if isinstance(cell, str):
            number = self.texts[self.stores[side]].add(cell, where)
            self.numbers.setdefault(name, array("q")).append(number)
        else:
            self.widths[name] = len(cell)
            raw.write(cell.astype("<f4").tobytes())

    def _rows_of(self, name: str) -> int:
        if name in self.numbers:
            return len(self.numbers[name])
        if name != CANDIDATES:
            return len(self.keys)
        size = (self.job.folder / WORK / f"{name}.f32").stat().st_size
        return size // (4 * self.widths[name])

    def _write_splits(self) -> None:
        job = self.job
        known = None
        if job.splits_from is not None:
            known = KnownSplits.of(*read_keys(job.splits_from))
        split = assign_splits(self.keys, job.held_out, known)
        replace_file(job.folder / SPLIT, lambda path: _save_array(path, split))

    def _has_text_beside(self, side: str) -> bool:
        name = self.job.rows.input_text_column if side == "input" else self.job.rows.target_text_column
        return name is not None


def _texts_of(row: PairRow) -> dict[str, str]:
    given = row.given if isinstance(row.given, str) else row.given_text
    wanted = row.wanted if isinstance(row.wanted, str) else row.wanted_text
    texts = {"id": row.row_id, "input": given, "target": wanted, "group": row.group}
    return {key: text for key, text in texts.items() if text is not None}


def _is_leftover(path: Path) -> bool:
    return path.name in (ROWS, SPLIT, INPUTS, TARGETS, CANDIDATE_TEXTS, CANDIDATES, WORK) or path.name.endswith(".tmp")


def _raw_chunks(path: Path, width: int) -> Iterator[np.ndarray]:
    with path.open("rb") as file:
        while block := file.read(CHUNK * width * 4):
            yield np.frombuffer(block, dtype="<f4").reshape(-1, width)


def _save_array(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _write_candidates(path: Path, candidates: list[Candidate]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for one in candidates:
            groups = {} if one.groups is None else {"groups": one.groups}
            file.write(json.dumps({"text": one.text} | groups) + "\n")
