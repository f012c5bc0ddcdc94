"""Text files as lines: compressed or not, with or without a byte order mark; what is no text is named."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

START = 4096  # bytes that are looked at before anything is read
MARKS = {  # the longer ones first: UTF-32 begins as UTF-16 does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive, as .xlsx files are; export the table as CSV",
    b"\x1f\x8b": "compressed by gzip; let its name end in .gz",
    b"BZh": "compressed by bzip2; unpack it",
    b"(\xb5/\xfd": "compressed by zstd; unpack it",
    b"\xfd7zXZ": "compressed by xz; unpack it",
    b"PAR1": "a Parquet file; let its name end in .parquet",
    b"\xd0\xcf\x11\xe0": "an old Office file, as .xls is; export the table as CSV",
    b"%PDF": "a PDF; give a text file",
}


def format_of(path: Path) -> str:
    """The suffix in lower case, without a `.gz` behind it: `.csv` of `PAIRS.CSV.gz`."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def lines_of(path: Path, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a text file with their ends, which may be those of any system.

    Bytes that the encoding does not have become half surrogates, so that `text_of` can name their row.

    Raises:
        ValueError: not such a file, another encoding, or a compressed file that was cut.
    """
    number = 0
    try:
        with _open_bytes(path) as raw:
            encoding = _checked_encoding(path, raw.peek(START)[:START], encoding)
            lines = io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="")
            for line in lines:
                number += 1
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: a broken gzip file after line {number} ({error}); give another copy") from error
    except UnicodeError as error:
        raise ValueError(f"{path}:{number + 1}: not {encoding} ({error.args[-1]}); give its --encoding") from error


def text_of_file(path: Path, encoding: str = "utf-8") -> str:
    """All of a text file; errors are those of `lines_of`."""
    return "".join(lines_of(path, encoding))


def _open_bytes(path: Path) -> io.BufferedReader | gzip.GzipFile:
    return gzip.GzipFile(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _checked_encoding(path: Path, start: bytes, encoding: str) -> str:
    """The codec to read with, the mark at the beginning taken off.

    Raises:
        ValueError: the file is of another encoding, or no text.
    """
    plain = codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
    if start.startswith(codecs.BOM_UTF8):
        if not plain:
            raise ValueError(f"{path}: begins with the mark of UTF-8, and not of {encoding}; leave --encoding out")
        return "utf-8-sig"
    for mark, name in MARKS.items():
        if start.startswith(mark) and plain:
            raise ValueError(
                f"{path}: is encoded in {name.upper()}, not in UTF-8; give --encoding {name}, or save it as UTF-8"
            )
    for mark, what in ARCHIVES.items():
        if start.startswith(mark):
            raise ValueError(f"{path}: is {what}")
    if plain and b"\0" in start:
        raise ValueError(f"{path}: {_of_zero_bytes(start)}")
    return encoding


def _of_zero_bytes(start: bytes) -> str:
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) * 5 > len(start):  # most letters of many languages are one byte and a zero
        name = "utf-16-le" if odd > even else "utf-16-be"
        return f"is encoded in UTF-16 without a mark, not in UTF-8; give --encoding {name}, or save it as UTF-8"
    return f"holds a zero byte at place {start.index(0)}, so it is no text file; give a text file"
