"""Files as people have them: from Excel, pandas, NumPy, databases; right rows, or one line that says what is wrong."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from energy_flow.data.files import BadRowError, ReadOptions
from energy_flow.data.text_rows import PairRows, read_candidates
from energy_flow.data.wordnet import read_queries, read_words

TEXTS = [(f"thing {row}, so to say", f"word{row}") for row in range(20)]


def pairs_of(path: Path, skip_bad: bool = False, **options) -> list[tuple]:
    rows = PairRows(path, "input", "target", skip_bad=skip_bad, options=ReadOptions(**options))
    return [
        tuple(cell if isinstance(cell, str) else tuple(cell.tolist()) for cell in (row.given, row.wanted))
        for row in rows
    ]


def table_of(rows=TEXTS, delimiter: str = ",", header: bool = True, end: str = "\r\n") -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end)
    writer.writerows(([("input", "target")] if header else []) + list(rows))
    return file.getvalue()


GOOD_FILES = {
    "as Excel saves UTF-8": ("pairs.csv", table_of().encode("utf-8-sig"), {}),
    "JSON lines with a mark": (
        "pairs.jsonl",
        "".join(json.dumps({"input": given, "target": wanted}) + "\n" for given, wanted in TEXTS).encode("utf-8-sig"),
        {},
    ),
    "line ends of an old Mac": ("pairs.csv", table_of(end="\r").encode(), {}),
    "a suffix in upper case": ("PAIRS.CSV", table_of().encode(), {}),
    "compressed": ("pairs.csv.gz", gzip.compress(table_of().encode()), {}),
    "a European Excel's line": ("pairs.csv", ("sep=;\r\n" + table_of(delimiter=";")).encode(), {}),
    "semicolons": ("pairs.csv", table_of(delimiter=";").encode(), {"delimiter": ";"}),
    "Unicode text of Excel": ("pairs.csv", table_of(delimiter="\t").encode("utf-16"), {"encoding": "utf-16", "delimiter": "tab"}),
    "cp1252": ("pairs.csv", table_of().encode("cp1252"), {"encoding": "cp1252"}),
    "no header": ("pairs.tsv", table_of(delimiter="\t", header=False).encode(), {"column_names": ("input", "target")}),
    "spaces behind the commas": (
        "pairs.csv",
        b"input, target\n" + b"".join(f'"{given}", {wanted}\n'.encode() for given, wanted in TEXTS),
        {},
    ),
    "rows that were deleted in Excel": ("pairs.csv", (table_of() + ",\r\n,\r\n").encode(), {}),
    "ndjson": ("pairs.ndjson", "\n".join(json.dumps({"input": a, "target": b}) for a, b in TEXTS).encode(), {}),
    "a JSON list": ("pairs.json", json.dumps([{"input": a, "target": b} for a, b in TEXTS]).encode(), {}),
    "a JSON object with a list": ("p.json", json.dumps({"data": [{"input": a, "target": b} for a, b in TEXTS]}).encode(), {}),
    "JSON lines by another name": ("p.json", "\n".join(json.dumps({"input": a, "target": b}) for a, b in TEXTS).encode(), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD_FILES)
def test_files_as_people_have_them_give_their_rows(tmp_path, name: str) -> None:
    file, content, options = GOOD_FILES[name]
    (tmp_path / file).write_bytes(content)
    assert pairs_of(tmp_path / file, **options) == TEXTS


BAD_FILES = {
    "UTF-16": ("pairs.csv", table_of().encode("utf-16"), r"is encoded in UTF-16, .*--encoding utf-16"),
    "UTF-16 without a mark": ("pairs.csv", table_of().encode("utf-16-le"), r"UTF-16 without a mark.*--encoding utf-16-le"),
    "UTF-32": ("pairs.jsonl", "{}".encode("utf-32"), r"is encoded in UTF-32"),
    "semicolons": ("pairs.csv", table_of(delimiter=";").encode(), r"divided by ';', not by ','.*--delimiter ';'"),
    "commas in TSV": ("pairs.tsv", b"input,target\na,b\n", r"divided by ',', not by tab"),
    "tabs in CSV": ("pairs.csv", b"id\tinput\ttarget\n1\ta\tb\n", r"divided by tab.*--delimiter tab"),
    "no header": ("pairs.tsv", b"thing\tword\nmore\twords\n", r"no column 'input' in the header.*thing, word.*--column-names"),
    "a column twice": ("pairs.csv", b"input,target,input\na,b,c\n", r"has the column 'input' twice"),
    "an open quote": ("pairs.csv", b'input,target\n"a,b\nc,d\n', r":2: broken quoting"),
    "a row too long": ("pairs.csv", b"input,target\na,b\nc,d,e\n", r":3: has 3 cells, the header 2"),
    "a workbook": ("pairs.csv", b"PK\x03\x04 and so on", r"a ZIP archive, as .xlsx"),
    "a workbook by name": ("pairs.xlsx", b"PK\x03\x04", r"the suffix is '.xlsx'.*export the table as CSV"),
    "gzip without its suffix": ("pairs.csv", gzip.compress(b"input,target\na,b\n"), r"compressed by gzip"),
    "a cut gzip": ("pairs.csv.gz", gzip.compress(table_of(TEXTS * 50).encode())[:-60], r"broken gzip"),
    "no gzip": ("pairs.csv.gz", b"input,target\na,b\n", r"broken gzip"),
    "zero bytes": ("pairs.csv", b"input,target\na\0,b\n", r"zero byte at place 14"),
    "Latin letters": ("pairs.csv", "input,target\nfür,b\n".encode("cp1252"), r":2: input is not UTF-8 at letter 2"),
    "null": ("pairs.jsonl", b'{"input": null, "target": "b"}\n', r":1: input has no value"),
    "half a pair": ("pairs.jsonl", b'{"input": "a\\ud83d", "target": "b"}\n', r":1: input holds half a surrogate pair \(.ud83d"),
    "half a pair in a target": ("pairs.jsonl", b'{"input": "a", "target": "\\ude00"}\n', r":1: target holds half a surr"),
    "a boolean": ("pairs.jsonl", b'{"input": true, "target": "b"}\n', r":1: input is True; give a text"),
    "an endless number": ("pairs.jsonl", b'{"input": [1' + b"0" * 400 + b'], "target": "b"}\n', r":1: input is a list, but not of fin"),
    "a number of too many digits": ("pairs.jsonl", b'{"input": ' + b"1" * 5000 + b', "target": "b"}\n', r":1: not JSON that can"),
    "nested without end": ("pairs.jsonl", b"[" * 100_000 + b"\n", r":1: not JSON that can be read"),
    "beyond float32": ("pairs.jsonl", b'{"input": [1e39, 1], "target": "b"}\n', r":1: input holds 1e\+39, too large"),
    "zeros": ("pairs.jsonl", b'{"input": [0, 0.0], "target": "b"}\n', r":1: input is a vector of zeros"),
    "a matrix": ("pairs.jsonl", b'{"input": [[1, 2], [3, 4]], "target": "b"}\n', r":1: input is a list of shape \(2, 2\)"),
    "true in a vector": ("pairs.jsonl", b'{"input": [true, 1], "target": "b"}\n', r":1: input is a list, but not of"),
    "numbers left out": ("pairs.csv", b"input,target\n[0.1 0.2 ... 0.9],b\n", r":2: input is a vector of which NumPy wrote"),
    "mixed": ("pairs.csv", b'input,target\n"[1, 2]",a\nb,c\n', r":3: input is a text \('b'\) and the rows before hold vectors"),
    "mixed the other way": ("p.csv", b'input,target\nb,a\n"[1, 2]",c\n', r":3: input is a vector .*hold texts.*--list-cells texts"),
    "widths": ("pairs.csv", b'input,target\n"[1, 2]",a\n"[1, 2, 3]",c\n', r":3: input has a vector of width 3, those before have 2"),
    "JSON of columns": ("pairs.json", b'{"input": {"0": "a"}, "target": {"0": "b"}}', r"orient='records'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_wrong_is_said_in_one_line_with_file_and_row(tmp_path, name: str) -> None:
    file, content, words = BAD_FILES[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        pairs_of(tmp_path / file)
    assert str(tmp_path / file) in str(caught.value)
    assert len(str(caught.value)) < 600


def test_where_every_row_is_bad_the_reasons_are_said(tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"input": 1, "target": "a"}\n' * 5)
    with pytest.raises(BadRowError, match=r"all 5 rows are bad, the first ones: .*:1: input is 1.*:2: .*:3: "):
        pairs_of(path, skip_bad=True)


def test_tab_separated_values_have_no_quotes(tmp_path) -> None:
    path = tmp_path / "pairs.tsv"
    rows = [(f'"It opens here {row}, said the guide' if row % 3 else f'closed" {row}', f"t{row}") for row in range(40)]
    path.write_text("input\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in rows))
    assert pairs_of(path) == rows


def test_cells_of_any_size_are_read(tmp_path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(table_of([("long " * 40_000, "a"), ("b", "c")]), newline="")
    assert [len(given) for given, _ in pairs_of(path)] == [200_000, 1]


VECTOR = [0.5, -1.25, 3e-05, 2.0]
SPELLINGS = {
    "pandas": str(VECTOR),
    "JSON": json.dumps(VECTOR),
    "NumPy": str(np.array(VECTOR)),
    "NumPy over lines": "[ 0.5 -1.25\n 3e-05  2. ]",
    "NumPy 2 in a list": str([np.float32(number) for number in VECTOR]),
    "an array": repr(np.array(VECTOR)),
    "float32": repr(np.array(VECTOR, dtype=np.float32)),
    "a tensor": "tensor([ 5.0000e-01, -1.25, 3e-05, 2.0000e+00], device='cuda:0', dtype=torch.float16)",
    "a tuple": str(tuple(VECTOR)),
    "no spaces": "[0.5,-1.25,3e-05,2]",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_cell_that_is_a_list_is_a_vector(tmp_path, name: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(table_of([(SPELLINGS[name], "a"), (SPELLINGS["pandas"], "b")]), newline="")
    found = pairs_of(path)
    assert [wanted for _, wanted in found] == ["a", "b"]
    for vector, _ in found:
        assert vector == pytest.approx(VECTOR)
    assert pairs_of(path, list_cells="texts")[0][0] == SPELLINGS[name]


@pytest.mark.parametrize(
    "text", ["[1]", "[sic]", "(see page 3, 4)", "[1, 2", "null", "nan", "NA", "007", "1e5", "[]", "tensor"]
)
def test_texts_that_look_like_something_else_stay_texts(tmp_path, text: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(table_of([("a", text), ("b", text)]), newline="")
    assert pairs_of(path) == [("a", text), ("b", text)]


def test_a_folder_of_files_is_read_in_the_order_of_its_numbers(tmp_path) -> None:
    for number in (2, 10, 1):
        (tmp_path / f"part-{number}.csv").write_text(f"input,target\na{number},b\n")
    assert [given for given, _ in pairs_of(tmp_path)] == ["a1", "a2", "a10"]
    rows = PairRows(tmp_path, "input", "target")
    assert [row.row_id for row in rows] == ["part-1.csv:2", "part-2.csv:2", "part-10.csv:2"]
    before = rows.fingerprint()
    (tmp_path / "part-1.csv").write_text("input,target\n,b\n")
    assert rows.fingerprint() != before
    with pytest.raises(BadRowError, match=r"part-1.csv:2: input is empty"):
        pairs_of(tmp_path)
    (tmp_path / "more.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"several kinds \(.csv, .jsonl\)"):
        pairs_of(tmp_path)


def test_names_of_files_may_say_their_splits(tmp_path) -> None:
    for name in ("train-0", "train-1", "test-0"):
        (tmp_path / f"{name}.csv").write_text(f"input,target\n{name},b\n")
    assert [(row.given, row.split) for row in PairRows(tmp_path, "input", "target")] == [
        ("test-0", 2),
        ("train-0", 0),
        ("train-1", 0),
    ]


def test_parquet_reads_the_asked_columns_whatever_their_types(tmp_path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "pairs.parquet"
    vectors = np.arange(1, 9, dtype=np.float16).reshape(2, 4)
    columns = {
        "input": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 4),
        "target": pa.array(["a", "b"]).dictionary_encode(),
        "broken": pa.array([b"\xff", None]),
    }
    pq.write_table(pa.table(columns), path)
    assert pairs_of(path) == [((1.0, 2.0, 3.0, 4.0), "a"), ((5.0, 6.0, 7.0, 8.0), "b")]
    with pytest.raises(ValueError, match=r"pairs.parquet: no column 'other'; the columns are input, target, broken"):
        list(PairRows(path, "other", "target"))
    with pytest.raises(BadRowError, match=r"pairs.parquet:1: broken is b'.xff'; give a text"):
        list(PairRows(path, "broken", "target"))
    pq.write_table(pa.table({"input": pa.array([[1.0, None], None]), "target": ["a", "b"]}), path)
    rows = PairRows(path, "input", "target", skip_bad=True)
    with pytest.raises(BadRowError, match="all 2 rows are bad, the first ones: .*not of finite numbers.*no value"):
        list(rows)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="not a Parquet file"):
        pairs_of(path)


@pytest.mark.parametrize("kind", [None, "torch", "numpy", "pandas"])
def test_sets_of_datasets_are_read_whatever_their_format(tmp_path, kind: str | None) -> None:
    datasets = pytest.importorskip("datasets")
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    labels = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features(
        {
            "input": datasets.Sequence(datasets.Value("float32"), length=8),
            "target": labels,
            "more": datasets.Value("bool"),
        }
    )
    table = datasets.Dataset.from_dict(
        {"input": vectors.tolist(), "target": [row % 2 for row in range(30)], "more": [True] * 30}, features=features
    )
    table.with_format(kind).save_to_disk(str(tmp_path / "set"))
    found = pairs_of(tmp_path / "set")
    np.testing.assert_array_equal(np.array([given for given, _ in found], dtype=np.float32), vectors)
    assert [wanted for _, wanted in found] == ["no", "yes"] * 15


def test_splits_that_a_set_has_are_kept(tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"input": ["a", "b"], "target": ["c", "d"]})
    datasets.DatasetDict({"train": table, "dev": table, "extra": table}).save_to_disk(str(tmp_path / "set"))
    assert [row.split for row in PairRows(tmp_path / "set", "input", "target")] == [0, 0, 1, 1]
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "one"))
    assert [row.split for row in PairRows(tmp_path / "one", "input", "target")] == [None, None]


def test_candidates_come_from_any_table_with_their_vectors(tmp_path) -> None:
    (tmp_path / "c.csv").write_text('text,vector\na,"[1, 2]"\nb,"[3, 4]"\n', encoding="utf-8-sig")
    assert [one.text for one in read_candidates(tmp_path / "c.csv")] == ["a", "b"]
    (tmp_path / "c.jsonl").write_text('{"text": "a", "vector": [1, 2]}\n{"text": "b", "vector": [3, 4]}\n')
    assert [one.vector.tolist() for one in read_candidates(tmp_path / "c.jsonl")] == [[1, 2], [3, 4]]
    (tmp_path / "C.TXT").write_bytes("a\nb\n".encode("utf-8-sig"))
    assert [one.text for one in read_candidates(tmp_path / "C.TXT")] == ["a", "b"]
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"a\nb\n"))
    assert [one.text for one in read_candidates(tmp_path / "c.txt.gz")] == ["a", "b"]
    (tmp_path / "half.jsonl").write_text('{"text": "a\\ud800"}\n')
    with pytest.raises(BadRowError, match=r"half.jsonl:1: text holds half a surrogate pair"):
        list(read_candidates(tmp_path / "half.jsonl"))


def test_words_and_queries_come_with_a_mark_and_in_any_table(tmp_path) -> None:
    (tmp_path / "w.txt").write_bytes("able\nun\u2028able\n".encode("utf-8-sig"))
    assert read_words(tmp_path / "w.txt") == ["able", "un\u2028able"]
    (tmp_path / "w.csv").write_text("rank,word\n1,able\n")
    assert read_words(tmp_path / "w.csv") == ["able"]
    (tmp_path / "w.txt").write_bytes('[{"word": "able"}]'.encode("utf-8-sig"))
    assert read_words(tmp_path / "w.txt") == ["able"]
    (tmp_path / "q.csv").write_text("word,definitions\nAble,that can\n", encoding="utf-8-sig")
    assert read_queries(tmp_path / "q.csv", lower=False) == [("Able", "that can")]


def test_options_that_cannot_be_are_refused() -> None:
    for options, words in (
        ({"delimiter": ";;"}, "delimiter = ';;'; give one letter"),
        ({"encoding": "utf-88"}, "encoding = 'utf-88' is unknown"),
        ({"column_names": ("a", "a")}, "column_names: a twice"),
    ):
        with pytest.raises(ValueError, match=words):
            ReadOptions(**options)


LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
VALUES = st.one_of(
    LETTERS, st.sampled_from(['"', "'", "[1, 2]", "[0.5 1]", "a,b", "a;b", "a\tb", "x\ny", "null", " a", ""])
)
FUZZED = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def files(draw):
    """A file as some program writes it, and what the options would have to say."""
    rows = draw(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=6))
    kind = draw(st.sampled_from(["csv", "tsv", "jsonl", "json", "broken"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"]))
    if kind in ("csv", "tsv"):
        delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
        quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        file = io.StringIO(newline="")
        ends = draw(st.sampled_from(["\n", "\r\n", "\r"]))
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=ends)
        writer.writerows([("input", "target"), *rows])
        content = file.getvalue()
        options = {"delimiter": delimiter, "quoting": "minimal"}
    elif kind == "broken":
        content, options = draw(st.text(st.characters(codec="utf-8"), max_size=60)), {}
        kind = draw(st.sampled_from(["csv", "tsv", "jsonl", "json"]))
    else:
        values = [{"input": given, "target": wanted} for given, wanted in rows]
        content = json.dumps(values) if kind == "json" else "".join(json.dumps(value) + "\n" for value in values)
        options = {}
    told = draw(st.booleans())
    content = content.encode(encoding, errors="replace")
    return kind, content, ({"encoding": encoding} | options) if told else {}, rows


def check_file(tmp_path: Path, file) -> None:
    """Right rows, or one line: never another exception, never a row that is lost without a word."""
    kind, content, options, rows = file
    path = tmp_path / f"pairs.{kind}"
    path.write_bytes(content)
    try:
        reader = PairRows(path, "input", "target", skip_bad=True, options=ReadOptions(**options, list_cells="texts"))
        found = [(row.given, row.wanted) for row in reader]
    except ValueError as error:
        said = str(error)
        assert str(path) in said, said
        return
    if options.get("delimiter") or (kind in ("jsonl", "json") and found):
        lost = [row for row in rows if any(cell.strip() for cell in row)]
        assert len(found) + len(reader.skipped) >= len(lost) or options.get("encoding") == "cp1252"
        if options.get("encoding") in ("utf-8", "utf-8-sig", "utf-16"):
            whole = [(given, wanted) for given, wanted in rows if given.strip() and wanted.strip()]
            assert found == whole


@given(files())
@settings(FUZZED, max_examples=100)
def test_any_file_gives_right_rows_or_one_line(tmp_path, file) -> None:
    check_file(tmp_path, file)


@pytest.mark.slow
@given(files())
@settings(FUZZED, max_examples=2000)
def test_two_thousand_files_give_right_rows_or_one_line(tmp_path, file) -> None:
    check_file(tmp_path, file)


PANDAS_KINDS = {
    f"{kind} {name}": (kind, write, read)
    for kind, write, read in (
        ("csv", lambda frame, path, **more: frame.to_csv(path, index=False, **more), {}),
        ("json", lambda frame, path, **more: frame.to_json(path, orient="records", **more), {}),
        ("jsonl", lambda frame, path, **more: frame.to_json(path, orient="records", lines=True, **more), {}),
        ("parquet", lambda frame, path, **more: frame.to_parquet(path, index=False), {}),
    )
    for name in ("plain", "quotes", "lines", "accents", "vectors")
}


@pytest.mark.parametrize("name", PANDAS_KINDS)
def test_what_pandas_writes_is_read_as_pandas_has_it(tmp_path, name: str) -> None:
    pandas = pytest.importorskip("pandas")
    kind, write, _ = PANDAS_KINDS[name]
    given = {
        "plain": [f"thing {row}" for row in range(9)],
        "quotes": [f'he said "{row}", and left' for row in range(9)],
        "lines": [f"one {row}\ntwo\r\nthree" for row in range(9)],
        "accents": [f"für {row} \u2028 日本 🙂" for row in range(9)],
        "vectors": [[row + 1.0, 0.25, -row] for row in range(9)],
    }[name.split()[1]]
    frame = pandas.DataFrame({"id": range(9), "input": given, "target": [f"word{row}" for row in range(9)]})
    path = tmp_path / f"pairs.{kind}"
    write(frame, path)
    found = pairs_of(path)
    expected = [tuple(one) if isinstance(one, list) else one for one in given]
    if kind == "csv" and name.endswith("lines"):  # pandas itself leaves the ends of lines in cells as they are
        assert [one.replace("\r\n", "\n") for one, _ in found] == [one.replace("\r\n", "\n") for one in expected]
    else:
        assert [one for one, _ in found] == expected
    assert all(math.isfinite(number) for one, _ in found if isinstance(one, tuple) for number in one)
