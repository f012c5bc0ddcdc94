"""One reader for every file that a person writes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...utils.files import sha256_of
from .arrow import read_parquet
from .delimited import DELIMITERS, read_delimited
from .hub import SAVED, fingerprint_of_dataset, other_splits, read_dataset
from .json_rows import read_json, read_json_lines, read_lines
from .opening import format_of
from .options import ReadOptions
from .rows import RawRow, split_named

Reader = Callable[[Path, Sequence[str], ReadOptions, Sequence[str]], Iterator[RawRow]]
READERS: dict[str, Reader] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": read_json,
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".tab": read_delimited,
    ".parquet": read_parquet,
}
DESCRIPTIONS = ("dataset_info.json", "dataset_infos.json")  # beside the files of a set from the hub
TEXT_LISTS = (".txt", ".lst", "")  # of words or candidates, without columns; or tables whose delimiter is given
USES = {  # of options that not every source has a use for: the kinds of source that have one, and what it is about
    "delimiter": ({"delimited"}, "divides the cells of delimited files, such as .csv"),
    "quoting": ({"delimited"}, "is about the cells of delimited files, such as .csv"),
    "column_names": ({"delimited"}, "names the columns of delimited files, such as .csv"),
    "encoding": ({"delimited", "text"}, "is about text files"),
    "subset": ({"hub"}, "names a part of a set on the hub"),
    "revision": ({"hub"}, "names a version of a set on the hub"),
    "streaming": ({"hub"}, "is about a set on the hub"),
}
NO_TABLES = (".gz", ".zip", ".xlsx", ".xls", ".ods", ".npy", ".npz", ".safetensors", ".arrow", ".doc", ".docx", ".pdf")


def read_table(
    source: Path,
    columns: Sequence[str],
    options: ReadOptions | None = None,
    lists_too: bool = False,
    optional: Sequence[str] = (),
) -> Iterator[RawRow]:
    """The rows of a file, of a folder of files, or of a set that `datasets` has, with the asked columns at least.

    Args:
        source: a `.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv` or `.parquet` file, all but the last also with `.gz`
            behind it; a `.txt` file whose delimiter the options say; a folder of such files of one kind; a folder that
            `datasets` wrote; or a name that it loads.
        columns: that are asked for.
        options: how files are read.
        lists_too: take `.txt` files as well, one text a line in the column `text`.
        optional: columns that are read where they are there.

    Raises:
        ValueError: no such file, or not what its name says.
    """
    options = options or ReadOptions()
    if is_dataset(source):
        yield from read_dataset(source, columns, options, optional)
        return
    shards = shards_of(source)
    splits = _splits_of(source, shards)
    for shard, split in zip(shards, splits, strict=True):
        for row in _reader_of(shard, options, lists_too)(shard, columns, options, optional):
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
    found = [one for one in source.rglob("*") if format_of(one) in READERS and one.is_file() and _is_shown(source, one)]
    kinds = sorted({format_of(one) for one in found})
    if not found:
        raise ValueError(f"{source}: datasets could not load it, and it holds no {', '.join(READERS)} file")
    if len(kinds) > 1:
        raise ValueError(f"{source}: holds files of several kinds ({', '.join(kinds)}); give a folder of one kind")
    return sorted(found, key=lambda one: [(int(part), "") if part.isdigit() else (-1, part) for part in _parts(one)])


def require_used(options: ReadOptions, sources: Sequence[Path]) -> None:
    """Refuse, with a ValueError, an option of reading that none of the sources has a use for."""
    kinds = {_kind_of(source, options) for source in sources}
    for name, (users, what) in USES.items():
        value = getattr(options, name)
        if value != getattr(ReadOptions, name) and not kinds & users:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{sources[0]}: {flag} {what}; leave it out")


def _kind_of(source: Path, options: ReadOptions) -> str:
    if is_dataset(source):
        return "saved" if source.is_dir() else "hub"
    kind = format_of(shards_of(source)[0])
    if kind in DELIMITERS or (kind in TEXT_LISTS and options.delimiter):
        return "delimited"
    return "parquet" if kind == ".parquet" else "text"


def fingerprint_of(source: Path, options: ReadOptions) -> str:
    """What tells this source from another: the checksum of the file, or of all shards, or what `datasets` says."""
    if is_dataset(source):
        return fingerprint_of_dataset(source, options)
    shards = shards_of(source)
    if not source.is_dir():
        return sha256_of(source)
    parts = [f"{one.relative_to(source).as_posix()} {sha256_of(one)}" for one in shards]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def left_unread(source: Path, options: ReadOptions) -> list[str]:
    """What of a source is not read though it is there, in words."""
    if not is_dataset(source):
        return []
    return [
        f"{source}: its split {name} is none of train, validation and test, so its rows are not read"
        for name in other_splits(source, options)
    ]


def _reader_of(path: Path, options: ReadOptions, lists_too: bool) -> Reader:
    kind = format_of(path)
    if kind in READERS:
        return READERS[kind]
    if kind in TEXT_LISTS and options.delimiter:
        return read_delimited
    if kind in TEXT_LISTS and lists_too:
        return read_lines
    kinds = ", ".join((*READERS, *(TEXT_LISTS[:2] if lists_too else ())))
    raise ValueError(f"{path}: the suffix is {path.suffix!r}; give a {kinds} file{_hint(path)}")


def is_dataset(source: Path) -> bool:
    """Whether `datasets` has it: a folder that it wrote, or what is no file and has the name of a set."""
    if source.is_dir():
        return any((source / name).is_file() for name in SAVED)
    kind = format_of(source)
    named = not source.suffix or (len(source.parts) == 2 and not source.parent.exists())
    return named and not source.is_file() and kind not in (*READERS, *TEXT_LISTS[:2], *NO_TABLES)


def _is_shown(folder: Path, file: Path) -> bool:
    """Whether a file holds rows, and neither it nor a folder that it lies in is hidden, as programs hide their own."""
    return file.name not in DESCRIPTIONS and not any(part[0] in "._" for part in file.relative_to(folder).parts)


def _splits_of(source: Path, shards: Sequence[Path]) -> list[int | None]:
    """The splits that the names of files or of their folders say, such as `test-00000-of-00002.parquet`.

    Raises:
        ValueError: some say one and others none.
    """
    if not source.is_dir():
        return [None]
    named = [_split_in(shard.relative_to(source)) for shard in shards]
    if set(named) <= {0, None} or 0 not in named:
        return [None] * len(shards)
    if None in named:
        raise ValueError(
            f"{source}: some files are named as a split, and {shards[named.index(None)].name} is none of train, "
            "validation and test; move it to another folder"
        )
    return list(named)


def _split_in(path: Path) -> int | None:
    words = [re.split(r"[-_.]", path.name)[0], *path.parts[:-1]]
    return next((split for word in words if (split := split_named(word)) is not None), None)


def _parts(path: Path) -> list[str]:
    return re.split(r"(\d+)", path.as_posix())


def _hint(path: Path) -> str:
    if path.suffix.lower() in (".xlsx", ".xls", ".ods"):
        return "; export the table as CSV"
    return "; of a table in a .txt file give the --delimiter" if format_of(path) in TEXT_LISTS else ""
