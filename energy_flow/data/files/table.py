"""One reader for every file that a person writes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...utils.files import sha256_of
from .arrow import fingerprint_of_dataset, read_dataset, read_parquet
from .delimited import read_delimited
from .json_rows import read_json, read_json_lines, read_lines
from .opening import format_of
from .options import ReadOptions
from .rows import RawRow, split_named

Reader = Callable[[Path, Sequence[str], ReadOptions], Iterator[RawRow]]
READERS: dict[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".tab": read_delimited,
    ".parquet": read_parquet,
}
TEXT_LISTS = {".txt": read_lines, ".lst": read_lines, "": read_lines}  # of words or candidates, without columns
SAVED_BY_DATASETS = ("state.json", "dataset_dict.json", "dataset_info.json")


def read_table(
    source: Path, columns: Sequence[str], options: ReadOptions | None = None, lists_too: bool = False
) -> Iterator[RawRow]:
    """The rows of a file, of a folder of files, or of a set that `datasets` has, with the asked columns at least.

    Args:
        source: a `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv` or `.parquet` file, all but the last also with `.gz`
            behind it; a folder of such files of one kind; a folder that `datasets` wrote; or a name that it loads.
        columns: that are asked for.
        options: how files are read.
        lists_too: take `.txt` files as well, one text a line in the column `text`.

    Raises:
        ValueError: no such file, or not what its name says.
    """
    options = options or ReadOptions()
    if _is_dataset(source):
        yield from read_dataset(source, columns, options)
        return
    shards = shards_of(source)
    readers = READERS | (TEXT_LISTS if lists_too else {})
    splits = _splits_of(shards) if source.is_dir() else [None]
    for shard, split in zip(shards, splits, strict=True):
        kind = format_of(shard)
        if kind not in readers:
            raise ValueError(f"{shard}: the suffix is {shard.suffix!r}; give a {', '.join(readers)} file{_hint(shard)}")
        for row in readers[kind](shard, columns, options):
            yield row if split is None else row._replace(split=split)


def shards_of(source: Path) -> list[Path]:
    """The file itself, or the files of a folder, those with numbers in their names in the order of these.

    Raises:
        ValueError: no such file, a folder without any that can be read, or one of several kinds.
    """
    if not source.is_dir():
        if not source.is_file():
            raise ValueError(f"{source}: no such file; give a {', '.join(READERS)} file")
        return [source]
    found = [
        one for one in source.rglob("*") if one.is_file() and format_of(one) in READERS and one.name[0] not in "._"
    ]
    kinds = sorted({format_of(one) for one in found})
    if not found:
        raise ValueError(f"{source}: datasets could not load it, and it holds no {', '.join(READERS)} file")
    if len(kinds) > 1:
        raise ValueError(f"{source}: holds files of several kinds ({', '.join(kinds)}); give a folder of one kind")
    return sorted(found, key=lambda one: [(int(part), "") if part.isdigit() else (-1, part) for part in _parts(one)])


def fingerprint_of(source: Path, options: ReadOptions) -> str:
    """What tells this source from another: the checksum of the file, or of all shards, or what `datasets` says."""
    if _is_dataset(source):
        return fingerprint_of_dataset(source, options)
    shards = shards_of(source)
    if not source.is_dir():
        return sha256_of(source)
    parts = [f"{one.relative_to(source).as_posix()} {sha256_of(one)}" for one in shards]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _is_dataset(source: Path) -> bool:
    if source.is_dir():
        return any((source / name).is_file() for name in SAVED_BY_DATASETS)
    return not source.suffix and not source.is_file()


def _splits_of(shards: Sequence[Path]) -> list[int | None]:
    """The splits that names of shards say, such as `test-00000-of-00002.parquet`, where there are several."""
    named = [split_named(re.split(r"[-_.]", shard.name)[0]) for shard in shards]
    return named if 0 in named and set(named) != {0} and None not in named else [None] * len(shards)


def _parts(path: Path) -> list[str]:
    return re.split(r"(\d+)", path.as_posix())


def _hint(path: Path) -> str:
    return "; export the table as CSV" if path.suffix.lower() in (".xlsx", ".xls", ".ods") else ""
