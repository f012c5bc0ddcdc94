"""A store in another space, in the place of the old one: nothing is lost whenever it is killed.

The vectors so far lie beside the store, and count once they are on the disk. The new store is written beside the old
one, read back, compared, and moved to its place in one step. The old one stays as `NAME.old` unless that is
to be dropped. `NAME.translated.json` says what was done, so that the same command does not do it twice.

Shapes: `n` vectors of a block, `E` and `T` widths before and after.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.pair_folder import write_json
from ..data.stored_rows import StoredRows
from ..data.vector_output import UnfinishedRows, note_of
from ..utils.directions import cosine_of_rows, unit_rows
from ..utils.files import replace_file, require_writable, sha256_of, sync_file, sync_folder
from .opening import STORES, engine_of, open_store
from .sqlite_store import settle
from .store import Store

SAME_LENGTH = 1e-3  # vectors whose lengths differ from 1 by less count as normalised
SAME_DIRECTION = 0.99  # cosine of a vector and what a store of low precision gives back


@dataclass(frozen=True)
class Translation:
    """How a store is brought into another space.

    Attributes:
        apply: (n, E) vectors to (n, T).
        widths: E and T.
        made_of: what the map follows from, such as checksums.
        block: vectors at once.
        normalise: bring the new vectors to length 1; None does so where the old ones have it.
    """

    apply: Callable[[Tensor], Tensor]
    widths: tuple[int, int]
    made_of: Mapping[str, Any]
    block: int = 8192
    normalise: bool | None = None


def translate_store(
    path: Path,
    translation: Translation,
    engine: str | None = None,
    table: str | None = None,
    output: Path | None = None,
    drop_old: bool = False,
    progress: Callable[[int, int], None] = lambda done, rows: None,
) -> bool:
    """Bring a store into another space; a call that was killed goes on where it stopped.

    Args:
        path: the store.
        translation: how.
        engine: of the store; by default its file tells.
        table: of a database.
        output: where the new store goes; by default to the place of the old one.
        drop_old: remove the old store, once the new one is in its place and was compared.
        progress: told how many vectors are done, of how many.

    Returns:
        whether there was something to do: False where this map was applied to this store before.

    Raises:
        ImportError: the engine is not installed.
        ValueError: the store cannot be read or written, does not fit the map, or was written meanwhile.
    """
    path = path.resolve() if path.is_symlink() else path
    target = output or path
    old, card_path = (target.with_name(target.name + ending) for ending in (".old", ".translated.json"))
    require_writable(target.parent, "folder of the store", note_of(target).name)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a store of {', '.join(STORES)}")
    engine = engine or engine_of(path)
    before = _settled_checksum(path, engine)
    made_of = {**translation.made_of, "normalise": translation.normalise, "table": table}
    if _was_done(_read_card(card_path), made_of, before, target):
        _tidy(target, old if drop_old and output is None else None)
        return False
    store = open_store(path, engine, table)
    if store.width != translation.widths[0]:
        raise ValueError(
            f"{path}: the vectors have width {store.width}, the map takes {translation.widths[0]}; "
            "give the map that was trained on this space"
        )
    if output is None and old.exists() and sha256_of(old) != before:
        raise ValueError(f"{old} holds another store, which would be lost; move it away first")
    if output is not None and output.exists():
        raise ValueError(f"{output} exists; give the path of a new store")
    with UnfinishedRows(target, store.rows, translation.widths[1], {"store": before, **made_of}) as unfinished:
        _translate_rows(store, translation, unfinished, progress)
        new = target.with_name(f".{target.name}.new")
        _write_and_compare(store, new, unfinished.stored(), engine, table)
        store.close()
        if _settled_checksum(path, engine) != before:
            raise ValueError(f"{path} was written while it was translated; run the command again")
        if output is None:
            _keep(path, old)
        write_json(
            card_path,
            {
                "from": before,
                "to": sha256_of(new),
                "made_of": made_of,
                "rows": store.rows,
                "widths": list(translation.widths),
                "old": None if output else old.name,
            },
        )
        os.replace(new, target)
        sync_folder(target.parent)
        unfinished.remove()
    _tidy(target, old if drop_old and output is None else None)
    return True


def _was_done(card: Mapping[str, Any], made_of: Mapping[str, Any], before: str, target: Path) -> bool:
    """Whether the card of a store says that it, or what it was made from, went through this map."""
    known = target.is_file() and card.get("made_of") == made_of and before in (card.get("to"), card.get("from"))
    return known and sha256_of(target) == card.get("to")


def _settled_checksum(path: Path, engine: str) -> str:
    """The checksum of a store that nobody is writing."""
    if engine == "sqlite":
        settle(path)
    return sha256_of(path)


def _translate_rows(
    store: Store, translation: Translation, unfinished: UnfinishedRows, progress: Callable[[int, int], None]
) -> None:
    """Send through the map what was not yet."""
    normalise = translation.normalise
    if normalise is None:
        normalise = all(
            ((block.norm(dim=1) - 1).abs() < SAME_LENGTH).all() for block in store.blocks(translation.block)
        )
    progress(unfinished.done, store.rows)
    for block in store.blocks(translation.block, unfinished.done):
        _require_direction(store, block, unfinished.done, "stored vector is")
        outputs = translation.apply(block)
        _require_direction(store, outputs, unfinished.done, "map makes its vector")
        unfinished.append(unit_rows(outputs) if normalise else outputs)
        progress(unfinished.done, store.rows)


def _require_direction(store: Store, vectors: Tensor, first: int, what: str) -> None:
    bad = (~(vectors.isfinite().all(dim=1) & (vectors != 0).any(dim=1))).nonzero().flatten()
    if len(bad):
        name = store.keys()[first + int(bad[0])]
        raise ValueError(f"{store.path}: id {name}: the {what} zero or not finite, so nothing can find it; remove it")


def _write_and_compare(store: Store, path: Path, rows: StoredRows, engine: str, table: str | None) -> None:
    """Write the new store, and read every vector back."""
    path.unlink(missing_ok=True)
    store.write(path, rows)
    sync_file(path)
    new = open_store(path, engine, table)
    try:
        place = {key: number for number, key in enumerate(store.keys().tolist())}
        keys = new.keys().tolist()
        if len(keys) != len(place) or place.keys() != set(keys):
            raise ValueError(f"{path}: the new store has other ids than {store.path}, which is as it was")
        first = 0
        for found in new.blocks(8192):
            wanted = rows.index_select(0, torch.tensor([place[key] for key in keys[first : first + len(found)]]))
            if not (cosine_of_rows(found, wanted) >= SAME_DIRECTION).all():
                raise ValueError(f"{path}: the new store gives other vectors back; {store.path} is as it was")
            first += len(found)
    finally:
        new.close()


def _keep(path: Path, old: Path) -> None:
    """Give the store a second name, under which it stays."""
    if old.exists():
        return
    try:
        os.link(path, old)
    except OSError:  # a disk without second names
        replace_file(old, lambda new: shutil.copyfile(path, new))


def _tidy(target: Path, old: Path | None) -> None:
    """Remove what is not needed any more."""
    for name in (f".{target.name}.new", f".{target.name}.partial", f".{target.name}.partial.json"):
        target.with_name(name).unlink(missing_ok=True)
    if old is not None:
        old.unlink(missing_ok=True)


def _read_card(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
