"""The first pass over pairs to embed: vectors go to files, different texts are collected, rows get their splits."""

from __future__ import annotations

import json
from array import array
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..utils.files import replace_file
from .files import Cell
from .job_folder import WORK
from .pair_folder import CANDIDATE_TEXTS, CANDIDATES, INPUTS, ROWS, SPLIT, TARGETS, read_keys
from .splitting import KnownSplits, SplitKeys, assign_splits, leaks
from .storing import GrowingMatrix, save_array
from .text_rows import Candidate, PairRow, read_candidates
from .text_store import TextCollector, embedded, name_of

if TYPE_CHECKING:
    from .embedding import EmbedJob


@dataclass
class FirstPass:
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

    def run(self) -> dict[str, Any]:
        """What the job's state begins with."""
        job, work = self.job, self.job.folder / WORK
        self.stores = self._share_stores()
        for key in dict.fromkeys(self.stores.values()):
            self.texts[key] = TextCollector(work / f"{key}.jsonl")
        self.vectors = {name: GrowingMatrix(work / name) for name in (INPUTS, TARGETS, CANDIDATES)}
        with ExitStack() as files:  # closes all of them, though a full disk may refuse one
            for file in (*self.vectors.values(), *self.texts.values()):
                files.callback(file.close)
            candidates = self._read_candidates()
            known = {one.text for one in candidates} if candidates else None
            replace_file(job.folder / ROWS, lambda path: self._read_rows(path, known))
            for one in (*self.texts.values(), *self.vectors.values()):
                one.finish()
        leaked = self._write_splits()
        matrices = {}
        sides = {INPUTS: "input", TARGETS: "target"} | ({CANDIDATES: "candidates"} if candidates else {})
        for name, side in sides.items():
            store = self.stores.get(side)
            rows = self.vectors[name].rows if store is None else len(self.numbers[name])
            matrices[name] = {"store": store, "rows": rows, "width": self.vectors[name].width}
            if store is not None:
                places = self.texts[store].places(self.numbers[name])
                replace_file(work / f"{name}.places.npy", lambda path, places=places: save_array(path, places))
        used = {side: self.stores.get(side) is not None for side in ("input", "target")}
        state: dict[str, Any] = {"pairs": len(self.keys), "skipped": len(job.rows.skipped)}
        state |= {"multi_line": job.rows.multi_line, "leaked": leaked}
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

    def _read_candidates(self) -> list[Candidate]:
        job = self.job
        if job.candidates is None:
            return []
        found: list[Candidate] = []
        for one in read_candidates(job.candidates, job.rows.options):
            if one.vector is not None:
                self.vectors[CANDIDATES].append(one.vector)
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
        if not found:
            raise ValueError(f"{job.candidates}: holds no candidate; give at least one text, or leave --candidates out")
        self._require_width_of_targets(found[0].text)
        replace_file(job.folder / CANDIDATE_TEXTS, lambda path: _write_candidates(path, found))
        return found

    def _require_width_of_targets(self, text: str) -> None:
        """Refuse, with a ValueError, candidates with vectors of another width than the encoder of the targets gives."""
        width, store = self.vectors[CANDIDATES].width, self.stores.get("target")
        if not width or store is None:
            return
        made = embedded(self.job.target_encoder, [text], [str(self.job.candidates)]).shape[1]
        if made != width:
            raise ValueError(
                f"{self.job.candidates}: vectors of width {width}, and the encoder {name_of(self.job.target_encoder)} "
                f"gives the targets {made}; give vectors of that encoder, or texts alone"
            )

    def _read_rows(self, path: Path, known: set[str] | None) -> None:
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
                self._take(INPUTS, "input", row.given, where)
                self._take(TARGETS, "target", row.wanted, where)
                self.keys.add(row)
                file.write(json.dumps(_texts_of(row)) + "\n")
        candidates, targets = self.vectors[CANDIDATES].width, self.vectors[TARGETS].width
        if candidates and targets and candidates != targets:
            raise ValueError(
                f"{self.job.candidates}: vectors of width {candidates}, and the targets have {targets}; give one width"
            )

    def _take(self, name: str, side: str, cell: Cell, where: str) -> None:
        if isinstance(cell, str):
            number = self.texts[self.stores[side]].add(cell, where)
            self.numbers.setdefault(name, array("q")).append(number)
        else:
            self.vectors[name].append(cell)

    def _write_splits(self) -> int:
        """Write the split of every row, and count the held-out rows that share something with the training."""
        job = self.job
        known = None
        if job.splits_from is not None:
            known = KnownSplits.of(*read_keys(job.splits_from))
        split = assign_splits(self.keys, job.held_out, known)
        replace_file(job.folder / SPLIT, lambda path: save_array(path, split))
        return leaks(self.keys, split)

    def _has_text_beside(self, side: str) -> bool:
        name = self.job.rows.input_text_column if side == "input" else self.job.rows.target_text_column
        return name is not None


def _texts_of(row: PairRow) -> dict[str, str]:
    given = row.given if isinstance(row.given, str) else row.given_text
    wanted = row.wanted if isinstance(row.wanted, str) else row.wanted_text
    texts = {"id": row.row_id, "input": given, "target": wanted, "group": row.group}
    return {key: text for key, text in texts.items() if text is not None}


def _write_candidates(path: Path, candidates: list[Candidate]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for one in candidates:
            groups = {} if one.groups is None else {"groups": one.groups}
            file.write(json.dumps({"text": one.text} | groups) + "\n")
