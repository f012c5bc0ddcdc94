"""Random files, and files that pandas writes: right rows or one line, never another error, never a row that is lost."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from energy_flow.data.files import ReadOptions
from energy_flow.data.text_rows import PairRows

from .files import pairs_of

LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=8)
ODD = [
    '"',
    "'",
    "[1, 2]",
    "[0.5 1]",
    "(1, 2)",
    "a,b",
    "a;b",
    "a\tb",
    "x\ny",
    "x\ry",
    "null",
    " a",
    "",
    '"a"',
    "é",
    "日本",
]
TEXTS = st.one_of(LETTERS, st.sampled_from(ODD))
VECTORS = st.lists(st.floats(-9, 9, width=32).filter(lambda number: abs(number) > 1), min_size=2, max_size=4)
FUZZED = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Written(NamedTuple):
    """A file as some program wrote it."""

    name: str
    content: bytes
    options: dict
    rows: list[tuple]  # that it holds
    clear: bool  # whether the options say all that is needed to read it


@st.composite
def delimited(draw) -> Written:
    rows = draw(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
    delimiter, suffix = draw(st.sampled_from(",;\t|")), draw(st.sampled_from(["csv", "tsv", "CSV", "csv.gz"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "utf-32"]))
    file = io.StringIO(newline="")
    end, quoting = (
        draw(st.sampled_from(["\n", "\r\n", "\r"])),
        draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    )
    has_header = draw(st.booleans())
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([("input", "target")] * has_header + rows)
    options = {"delimiter": delimiter, "quoting": "minimal", "encoding": encoding, "list_cells": "texts"}
    options |= {} if has_header else {"column_names": ("input", "target")}
    told = {name: value for name, value in options.items() if draw(st.integers(0, 3))}
    content = file.getvalue().encode(encoding, errors="replace")
    content = gzip.compress(content) if suffix.endswith("gz") else content
    other_ends = set(file.getvalue().replace(end, "")) & {"\r", "\n"}
    bare = quoting == csv.QUOTE_MINIMAL and other_ends  # csv writes them without quotes
    clear = told == options and encoding != "cp1252" and rows[0] != ("input", "target") and not bare
    return Written(f"p.{suffix}", content, told, rows, clear)


@st.composite
def json_files(draw) -> Written:
    values = st.one_of(TEXTS, VECTORS, st.sampled_from([None, 1, 0.5, True, float("nan"), "\ud83d", {}, [], [0, 0]]))
    plain = draw(st.booleans())
    rows = draw(st.lists(st.tuples(*[TEXTS if plain else values] * 2), min_size=1, max_size=6))
    kind = draw(st.sampled_from(["jsonl", "json", "ndjson", "JSONL"]))
    objects = [{"input": first, "target": second} for first, second in rows]
    ends = draw(st.sampled_from(["\n", "\r\n", "\n\n"]))
    content = json.dumps(objects) if kind == "json" else ends.join(map(json.dumps, objects))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig"]))
    return Written(f"p.{kind}", content.encode(encoding), {"list_cells": "texts"}, rows, plain)


@st.composite
def broken(draw) -> Written:
    pieces = [
        "input,target\n",
        "input\ttarget\n",
        '{"input": "a", "target": "b"}\n',
        "a,b\n",
        '"',
        "\n",
        "\r",
        "\0",
        "\ufeff",
    ]
    text = "".join(draw(st.lists(st.one_of(st.sampled_from(pieces), LETTERS), max_size=12)))
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-16", "utf-8"]))) + draw(st.binary(max_size=4))
    name = draw(st.sampled_from(["p.csv", "p.tsv", "p.jsonl", "p.json", "p.csv.gz", "p.parquet", "p.txt", "p"]))
    return Written(name, content, {}, [], clear=False)


def check_file(folder: Path, file: Written) -> None:
    """Right rows, or one line."""
    path = folder / file.name
    path.write_bytes(file.content)
    try:
        reader = PairRows(path, "input", "target", skip_bad=True, options=ReadOptions(**file.options))
        found = [(row.given, row.wanted) for row in reader]
    except ValueError as error:
        check_line(str(error), path)
        assert not file.clear or not any(first.strip() and second.strip() for first, second in file.rows)
        return
    finally:
        path.unlink()
    for line in reader.skipped:
        check_line(line, path)
    if file.clear:
        usable = [row for row in file.rows if row[0].strip() and row[1].strip()]
        assert found == usable
        assert len(reader.skipped) <= len(file.rows) - len(usable)


def check_line(line: str, path: Path) -> None:
    assert str(path) in line
    assert "\n" not in line
    assert len(line) < 3 * (400 + len(str(path)))
    line.encode()


@given(st.one_of(delimited(), json_files(), broken()))
@settings(FUZZED, max_examples=90)
def test_any_file_gives_right_rows_or_one_line(tmp_path, file: Written) -> None:
    check_file(tmp_path, file)


@pytest.mark.slow
@given(st.one_of(delimited(), json_files(), broken()))
@settings(FUZZED, max_examples=2000)
def test_two_thousand_files_give_right_rows_or_one_line(tmp_path, file: Written) -> None:
    check_file(tmp_path, file)


CONTENTS = {
    "plain": [f"thing {row}" for row in range(9)],
    "quotes": [f'he said "{row}", and left' for row in range(9)],
    "lines": [f"one {row}\ntwo\nthree" for row in range(9)],
    "accents": [f"für {row} \u2028 日本 🙂" for row in range(9)],
    "vectors": [[row + 1.0, 0.25, -row] for row in range(9)],
}
BY_PANDAS = {  # how pandas writes a kind of file and reads it again, and what the reader here is told
    "csv": ("p.csv", "csv", {"index": False}, {}, {}),
    "Excel's csv": ("P.CSV", "csv", {"index": False, "encoding": "utf-8-sig"}, {"encoding": "utf-8-sig"}, {}),
    "semicolons": ("p.csv", "csv", {"index": False, "sep": ";"}, {"sep": ";"}, {"delimiter": ";"}),
    "tabs": ("p.tsv", "csv", {"index": False, "sep": "\t"}, {"sep": "\t"}, {"quoting": "minimal"}),
    "UTF-16": ("p.csv", "csv", {"index": False, "encoding": "utf-16"}, {"encoding": "utf-16"}, {"encoding": "utf-16"}),
    "compressed": ("p.csv.gz", "csv", {"index": False}, {}, {}),
    "json": ("p.json", "json", {"orient": "records"}, {}, {}),
    "json table": ("p.json", "json", {"orient": "table", "index": False}, {"orient": "table"}, {}),
    "json lines": ("p.jsonl", "json", {"orient": "records", "lines": True}, {"lines": True}, {}),
    "parquet": ("p.parquet", "parquet", {"index": False}, {}, {}),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("kind", BY_PANDAS)
def test_files_are_read_as_pandas_reads_them(tmp_path, kind: str, content: str) -> None:
    pandas = pytest.importorskip("pandas")
    name, program, writing, reading, options = BY_PANDAS[kind]
    frame = pandas.DataFrame({"id": range(9), "input": CONTENTS[content], "target": [f"word{row}" for row in range(9)]})
    getattr(frame, f"to_{program}")(tmp_path / name, **writing)
    read = getattr(pandas, f"read_{program}")(tmp_path / name, **reading)
    found = pairs_of(tmp_path / name, **options)
    assert [wanted for _, wanted in found] == list(read["target"])
    if content == "vectors":
        vectors = [json.loads(cell) if isinstance(cell, str) else list(cell) for cell in read["input"]]
        np.testing.assert_allclose(np.array([cell for cell, _ in found]), np.array(vectors), rtol=1e-6)
    else:
        assert [cell for cell, _ in found] == list(read["input"]) == CONTENTS[content]
