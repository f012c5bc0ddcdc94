"""Sets of the library `datasets`: folders that `save_to_disk` wrote, and names on the hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .arrow import ROWS_AT_ONCE, chosen_columns, first_line, rows_of_batch
from .options import ReadOptions
from .rows import RawRow, split_named

SAVED = ("state.json", "dataset_dict.json")  # what `save_to_disk` leaves in a folder


def open_dataset(source: Path, options: ReadOptions) -> Any:
    """What `datasets` has in a folder that `save_to_disk` wrote, or under a name.

    Raises:
        ImportError: `datasets` is not installed.
        ValueError: nothing of this name could be loaded.
    """
    if importlib.util.find_spec("datasets") is None:
        raise ImportError(
            f"{source} is no file, so it is read with the library datasets: pip install 'energy-flow[hub]'"
        )
    import datasets

    try:
        if source.is_dir():
            return datasets.load_from_disk(str(source))
        more = {"revision": options.revision, "streaming": options.streaming}
        return datasets.load_dataset(source.as_posix(), options.subset, **more)
    except Exception as error:  # the library raises what its many backends raise
        raise ValueError(
            f"{source}: datasets could not load it ({type(error).__name__}: {first_line(error)}); give a folder that "
            "save_to_disk wrote, a name on the hub (needs the network), or a file"
        ) from error


def read_dataset(
    source: Path, columns: Sequence[str], options: ReadOptions, optional: Sequence[str] = ()
) -> Iterator[RawRow]:
    """The rows of a set, whatever format it was saved with; the splits that it has are kept.

    Raises:
        ValueError: it has no split of training, or a column is missing.
    """
    loaded = open_dataset(source, options)
    if not isinstance(loaded, dict):
        yield from _rows(source, loaded, columns, optional, None)
        return
    known = {name: split_named(name) for name in loaded}
    if 0 not in known.values():
        raise ValueError(f"{source}: has the splits {', '.join(loaded)}, but no train; save the split that you mean")
    alone = set(known.values()) <= {0, None}  # rows of training alone are split here
    for name, table in loaded.items():
        if known[name] is not None:
            place = source if len(loaded) == 1 else source / name
            yield from _rows(place, table, columns, optional, None if alone else known[name])


def other_splits(source: Path, options: ReadOptions) -> list[str]:
    """The splits of a set whose rows are not read, since their names say neither training, validation nor test."""
    loaded = open_dataset(source, options)
    return [name for name in loaded if split_named(name) is None] if isinstance(loaded, dict) else []


def fingerprint_of_dataset(source: Path, options: ReadOptions) -> str:
    """What tells a set of `datasets` from another: the fingerprints of its tables, or its name and revision."""
    loaded = open_dataset(source, options)
    tables = [loaded[name] for name in sorted(loaded)] if isinstance(loaded, dict) else [loaded]
    marks = [str(getattr(table, "_fingerprint", "")) for table in tables]
    return "-".join(marks) if all(marks) else f"{source}@{options.revision}/{options.subset}"


def _rows(
    place: Path, table: Any, columns: Sequence[str], optional: Sequence[str], split: int | None
) -> Iterator[RawRow]:
    for number, row in enumerate(_table_rows(place, table, columns, optional), start=1):
        yield RawRow(place, number, row, split)


def _table_rows(place: Path, table: Any, columns: Sequence[str], optional: Sequence[str]) -> Iterator[dict[str, Any]]:
    names = table.column_names
    if names is None:  # a stream that does not say
        yield from table
        return
    chosen = chosen_columns(place, names, columns, optional)
    table = table.select_columns(chosen)
    features = table.features or {}
    words = {name: features[name] for name in chosen if hasattr(features.get(name), "int2str")}
    for batch in table.with_format("arrow").iter(batch_size=ROWS_AT_ONCE):
        for row in rows_of_batch(batch, chosen):
            for name, feature in words.items():
                row[name] = None if row[name] is None else feature.int2str(row[name])
            yield row
