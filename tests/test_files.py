"""Files as people have them: from Excel, pandas, NumPy, databases; right rows, or one line that says what is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from energy_flow.data.files import BadRowError, ReadOptions
from energy_flow.data.text_rows import PairRows, read_candidates
from energy_flow.data.wordnet import build_wordnet, read_queries, read_words

from .files import TEXTS, pairs_of, table_of
from .test_data import write_wordnet
from .test_embedding import job

OBJECTS = [{"input": given, "target": wanted} for given, wanted in TEXTS]
LINES = "\n".join(map(json.dumps, OBJECTS))
TABBED = table_of(delimiter="\t")
GOOD_FILES: dict[str, tuple[str, bytes, dict]] = {
    "as Excel saves UTF-8": ("p.csv", table_of().encode("utf-8-sig"), {}),
    "JSON lines with a mark": ("p.jsonl", LINES.encode("utf-8-sig"), {}),
    "line ends of an old Mac": ("p.csv", table_of(end="\r").encode(), {}),
    "a suffix in upper case": ("PAIRS.CSV", table_of().encode(), {}),
    "compressed": ("p.csv.gz", gzip.compress(table_of().encode()), {}),
    "compressed lines": ("P.JSONL.GZ", gzip.compress(LINES.encode()), {}),
    "a European Excel's line": ("p.csv", ("sep=;\r\n" + table_of(delimiter=";")).encode(), {}),
    "semicolons": ("p.csv", table_of(delimiter=";").encode(), {"delimiter": ";"}),
    "Unicode text of Excel": ("p.txt", TABBED.encode("utf-16"), {"encoding": "utf-16", "delimiter": "tab"}),
    "UTF-16 whose order is said": ("p.csv", table_of().encode("utf-16"), {"encoding": "utf-16-le"}),
    "cp1252": ("p.csv", table_of().encode("cp1252"), {"encoding": "cp1252"}),
    "no header": ("p.tsv", table_of(delimiter="\t", header=False).encode(), {"column_names": ("input", "target")}),
    "spaces behind the commas": ("p.csv", table_of().replace(",word", ", word").replace("t,t", "t, t").encode(), {}),
    "spaces around the names": ("p.csv", table_of().replace("input,target", " input , target ").encode(), {}),
    "rows that were deleted in Excel": ("p.csv", (table_of() + ",\r\n,\r\n").encode(), {}),
    "blank lines": ("p.csv", ("\n\n" + table_of().replace("\r\n", "\n\n")).encode(), {}),
    "everything in quotes": ("p.csv", table_of(quoting=1).encode(), {}),
    "ndjson": ("p.ndjson", LINES.encode(), {}),
    "a JSON list": ("p.json", json.dumps(OBJECTS, indent=1).encode(), {}),
    "a JSON list in UTF-16": ("p.json", json.dumps(OBJECTS).encode("utf-16"), {"encoding": "utf-16"}),
    "a JSON object with a list": ("p.json", json.dumps({"data": OBJECTS, "version": "1"}).encode(), {}),
    "JSON lines by another name": ("p.json", LINES.encode(), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD_FILES)
def test_files_as_people_have_them_give_their_rows(tmp_path, name: str) -> None:
    file, content, options = GOOD_FILES[name]
    (tmp_path / file).write_bytes(content)
    assert pairs_of(tmp_path / file, **options) == TEXTS


A_B = "input,target\na,b\n"
BAD_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "UTF-16": ("p.csv", A_B.encode("utf-16"), r"is encoded in UTF-16, .*--encoding utf-16"),
    "UTF-16 without a mark": ("p.csv", A_B.encode("utf-16-le"), r"UTF-16 without a mark.*--encoding utf-16-le"),
    "UTF-16 the other way": ("p.csv", A_B.encode("utf-16-be"), r"UTF-16 without a mark.*--encoding utf-16-be"),
    "UTF-32": ("p.jsonl", "{}".encode("utf-32"), r"is encoded in UTF-32"),
    "UTF-32 without a mark": ("p.csv", A_B.encode("utf-32-le"), r"UTF-32 without a mark.*--encoding utf-32-le"),
    "semicolons": ("p.csv", A_B.replace(",", ";"), r"divided by ';', not by ','.*--delimiter ';'"),
    "commas in TSV": ("p.tsv", A_B, r"divided by ',', not by tab"),
    "tabs in CSV": ("p.csv", "id\tinput\ttarget\n1\ta\tb\n", r"divided by tab.*--delimiter tab"),
    "pipes among commas": ("p.csv", "input|target|x,y\na|b|c,d\n", r"divided by '\|'"),
    "no header": ("p.tsv", "thing\tword\nmore\twords\n", r"no column 'input' in the header.*'thing', 'word'.*--column"),
    "names in quotes": ("p.tsv", '"input"\t"target"\n"a"\t"b"\n', r"names of its columns are in quotes.*--quoting min"),
    "a column twice": ("p.csv", "input,target,input\na,b,c\n", r"has the column 'input' twice"),
    "a name twice": ("p.jsonl", '{"input": "a", "input": "c", "target": "b"}', r":1: not JSON .*'input' comes twice"),
    "an open quote": ("p.csv", 'input,target\n"a,b\nc,d\n', r":2: broken quoting"),
    "a row too long": ("p.csv", A_B + "c,d,e\n", r":3: has 3 cells, the header 2"),
    "a row too short": ("p.tsv", "id\tinput\ttarget\n1\ta\n", r":2: has 2 cells, the header 3; write every cell"),
    "a row of another delimiter": ("p.csv", A_B + "c;d\n", r":3: has 1 cells, the header 2: cells are divided by ';'"),
    "a workbook": ("p.csv", "PK\x03\x04 and so on", r"a ZIP archive, as .xlsx"),
    "a workbook by name": ("p.xlsx", "PK\x03\x04", r"the suffix is '.xlsx'.*export the table as CSV"),
    "text without a delimiter": ("p.txt", A_B, r"the suffix is '.txt'; .*a .txt file give the --delimiter"),
    "gzip without its suffix": ("p.csv", gzip.compress(A_B.encode()), r"compressed by gzip"),
    "a cut gzip": ("p.csv.gz", gzip.compress(table_of(TEXTS * 50).encode())[:-60], r"broken gzip"),
    "no gzip": ("p.csv.gz", A_B, r"broken gzip"),
    "zero bytes": ("p.csv", "input,target\na\0,b\n", r":2: input holds a zero byte at letter 2"),
    "Latin letters": ("p.csv", "input,target\nfür,b\n".encode("cp1252"), r":2: input is not UTF-8, or .* at letter 2.*cp1252"),
    "null": ("p.jsonl", '{"input": null, "target": "b"}', r":1: input has no value"),
    "NaN": ("p.jsonl", '{"input": NaN, "target": "b"}', r":1: input has no value"),
    "half a pair": ("p.jsonl", r'{"input": "a\ud83d", "target": "b"}', r":1: input holds half a surrogate .*\(.ud83d"),
    "half in a target": ("p.jsonl", r'{"input": "a", "target": "\ude00"}', r":1: target holds half a surrogate pair"),
    "a boolean": ("p.jsonl", '{"input": true, "target": "b"}', r":1: input is True; give a text"),
    "too many digits": ("p.jsonl", f'{{"input": {"1" * 5000}, "target": "b"}}', r":1: not JSON that can be read"),
    "nested without end": ("p.jsonl", "[" * 100_000, r":1: not JSON that can be read"),
    "JSON of columns": ("p.json", '{"input": {"0": "a"}, "target": {"0": "b"}}', r"orient='records'"),
    "numbers in a JSON list": ("p.json", "[1, 2]", r":1: holds a int; give a list of objects"),
    "a broken JSON list": ("p.json", '[\n{"input": "a" "target": "b"}]', r":2: not JSON: .* at column 15"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_wrong_is_said_in_one_line_with_file_and_row(tmp_path, name: str) -> None:
    file, content, words = BAD_FILES[name]
    (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=words) as caught:
        pairs_of(tmp_path / file)
    assert str(tmp_path / file) in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_options_that_cannot_be_are_refused(tmp_path) -> None:
    for options, words in (
        ({"delimiter": ";;"}, "delimiter = ';;'; give one letter"),
        ({"encoding": "utf-88"}, "encoding = 'utf-88' is unknown"),
        ({"encoding": "base64"}, "encoding = 'base64' is unknown"),
        ({"column_names": ("a", "a")}, "column_names: a twice"),
    ):
        with pytest.raises(ValueError, match=words):
            ReadOptions(**options)
    (tmp_path / "p.csv").write_text(A_B)
    with pytest.raises(ValueError, match=r"p.csv:1: is a header with the names of --column-names; leave"):
        pairs_of(tmp_path / "p.csv", column_names=("input", "target"))
    with pytest.raises(ValueError, match=r"no column 'target'; --column-names are input, other"):
        pairs_of(tmp_path / "p.csv", column_names=("input", "other"))
    with pytest.raises(ValueError, match=r"p.csv: not utf-16 behind line 0"):
        pairs_of(tmp_path / "p.csv", encoding="utf-16")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("p.jsonl", {"delimiter": ";"}, "--delimiter divides the cells of delimited files"),
        ("p.jsonl", {"column_names": ("a", "b")}, "--column-names names the columns of delimited files"),
        ("p.jsonl", {"quoting": "none"}, "--quoting is about the cells of delimited files"),
        ("p.jsonl", {"subset": "small"}, "--subset names a part of a set on the hub"),
        ("p.csv", {"streaming": True}, "--streaming is about a set on the hub"),
        ("p.parquet", {"encoding": "cp1252"}, "--encoding is about text files"),
    ],
)
def test_options_that_a_source_has_no_use_for_are_refused(tmp_path, name: str, options: dict, words: str) -> None:
    (tmp_path / name).write_text("input,target\n")
    with pytest.raises(ValueError, match=f"{name}: {words}.*; leave it out"):
        job(tmp_path / name, tmp_path / "set", options=ReadOptions(**options)).run()


def test_an_option_that_the_candidates_alone_have_a_use_for_is_taken(tmp_path) -> None:
    (tmp_path / "p.jsonl").write_text(LINES)
    (tmp_path / "c.csv").write_text("text;groups\n" + "".join(f"{word};a\n" for _, word in TEXTS))
    options = ReadOptions(delimiter=";", encoding="cp1252")
    assert job(tmp_path / "p.jsonl", tmp_path / "set", None, tmp_path / "c.csv", options=options).run()["pairs"] == 20


def test_where_every_row_is_bad_the_reasons_are_said(tmp_path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"input": 1, "target": "a"}\n' * 5)
    with pytest.raises(BadRowError, match=r"all 5 rows are bad, the first ones: .*:1: input is 1.*:2: .*:3: "):
        pairs_of(path, skip_bad=True)


def test_behind_an_open_quote_no_row_is_lost(tmp_path) -> None:
    path = tmp_path / "p.csv"
    rows = [f"thing {row},word{row}" for row in range(1000)]
    rows[10], rows[500] = '"thing 10,word10', 'thing 500,"word500'
    path.write_text("input,target\n" + "\n".join(rows))
    reader = PairRows(path, "input", "target", skip_bad=True)
    assert [row.line for row in reader] == [row + 2 for row in range(1000) if row not in (10, 500)]
    assert [line.split(": ")[0].rsplit(":")[-1] for line in reader.skipped] == ["12", "502"]


def test_the_end_of_a_broken_row_is_no_row(tmp_path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('input,target\n"a\nb"x,c\nd,e\n')
    reader = PairRows(path, "input", "target", skip_bad=True)
    assert [(row.line, row.given) for row in reader] == [(4, "d")]
    assert "p.csv:3: may be the end of a row before it" in reader.skipped[1]


def test_a_carriage_return_within_a_cell_ends_no_line(tmp_path) -> None:
    (tmp_path / "p.tsv").write_bytes(b"input\ttarget\na\rb\tc\nd\te\n")
    assert pairs_of(tmp_path / "p.tsv") == [("a\rb", "c"), ("d", "e")]
    (tmp_path / "p.csv").write_bytes(b'input,target\n"a\rb",c\nd\re,f\ng,h\n')
    reader = PairRows(tmp_path / "p.csv", "input", "target", skip_bad=True)
    assert [(row.given, row.wanted) for row in reader] == [("a\rb", "c"), ("g", "h")]
    assert "p.csv:3: a cell without quotes holds a carriage return" in reader.skipped[0]
    (tmp_path / "mac.csv").write_bytes(b'input,target\r"a\nb",c\rd,e\r')
    assert pairs_of(tmp_path / "mac.csv") == [("a\nb", "c"), ("d", "e")]


def test_tab_separated_values_have_no_quotes(tmp_path) -> None:
    path = tmp_path / "p.tsv"
    rows = [(f'"It opens here {row}, said the guide' if row % 3 else f'closed" {row}', f"t{row}") for row in range(40)]
    path.write_text("input\ttarget\n" + "".join(f"{a}\t{b}\n" for a, b in rows))
    assert pairs_of(path) == rows


def test_what_may_be_meant_otherwise_is_counted(tmp_path) -> None:
    (tmp_path / "p.tsv").write_text(table_of([('he said "no", and left', "a"), ("b", "c")], delimiter="\t"), newline="")
    rows = PairRows(tmp_path / "p.tsv", "input", "target")
    assert len(list(rows)) == 2
    assert rows.notes() == ["1 rows hold a text in quotes; where these are not meant, --quoting minimal"]
    (tmp_path / "p.csv").write_text(table_of([("one\ntwo", "a"), ("b", "c")]), newline="")
    rows = PairRows(tmp_path / "p.csv", "input", "target")
    assert len(list(rows)) == 2
    assert rows.notes() == ["1 rows hold line ends; where quotes are letters, give --quoting none"]


def test_cells_of_any_size_are_read_and_cut_in_messages(tmp_path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(table_of([("long " * 40_000, "a"), ("b", "c")]), newline="")
    assert [len(given) for given, _ in pairs_of(path)] == [200_000, 1]
    path.write_text(table_of([("[" + "1.5, " * 400 + "1]", "a")] * 3 + [("word " * 40_000, "b")]), newline="")
    with pytest.raises(BadRowError, match=r"input is a text \('word .*\.\.\.\)") as caught:
        pairs_of(path)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_folder_of_files_is_read_in_the_order_of_its_numbers(tmp_path) -> None:
    for number in (2, 10, 1):
        (tmp_path / f"part-{number}.csv").write_text(f"input,target\na{number},b\n")
    (tmp_path / "README.md").write_text("what it is")
    (tmp_path / ".part-3.csv").write_text("hidden")
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


@pytest.mark.parametrize("pattern", ["{}-0.csv", "{}.csv", "{}/0.csv"])
def test_names_of_files_or_folders_may_say_their_splits(tmp_path, pattern: str) -> None:
    for name in ("train", "dev", "test"):
        path = tmp_path / pattern.format(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"input,target\n{name},b\n")
    found = {row.given: row.split for row in PairRows(tmp_path, "input", "target")}
    assert found == {"train": 0, "dev": 1, "test": 2}
    (tmp_path / "unknown.csv").write_text(A_B)
    with pytest.raises(ValueError, match=r"named as a split, and unknown.csv is none of train, validation and test"):
        pairs_of(tmp_path)


def test_candidates_come_from_any_table_with_their_groups_and_vectors(tmp_path) -> None:
    files = {
        "c.csv": 'text,groups,vector\na,g;h,"[1, 2]"\nb,,"[3, 4]"\n',
        "c.tsv": "text\tgroups\tvector\na\t['g', 'h']\t[1 2]\nb\t[]\t{3,4}\n",
        "c.jsonl": '{"text": "a", "groups": ["g", "h"], "vector": [1, 2]}\n'
        '{"text": "b", "groups": [], "vector": [3, 4]}\n',
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8-sig")
        found = list(read_candidates(tmp_path / name))
        assert [(one.text, one.groups) for one in found] == [("a", ["g", "h"]), ("b", [])]
        assert [one.vector.tolist() for one in found if one.vector is not None] == [[1, 2], [3, 4]]
    (tmp_path / "C.TXT").write_bytes("a\nb\n".encode("utf-8-sig"))
    assert list(read_candidates(tmp_path / "C.TXT")) == [("a", None, None), ("b", None, None)]
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"a\nb\n"))
    assert [one.text for one in read_candidates(tmp_path / "c.txt.gz")] == ["a", "b"]
    (tmp_path / "bad.jsonl").write_text('{"text": "a\\ud800"}\n')
    with pytest.raises(BadRowError, match=r"bad.jsonl:1: text holds half a surrogate pair"):
        list(read_candidates(tmp_path / "bad.jsonl"))
    (tmp_path / "bad.jsonl").write_text('{"text": "a", "groups": 3}\n')
    with pytest.raises(BadRowError, match=r"bad.jsonl:1: groups is 3; give a list of texts"):
        list(read_candidates(tmp_path / "bad.jsonl"))
    (tmp_path / "bad.csv").write_text("word\na\n")
    with pytest.raises(ValueError, match=r"bad.csv: no column 'text' in the header"):
        list(read_candidates(tmp_path / "bad.csv"))


def test_words_and_queries_come_with_a_mark_and_in_any_table(tmp_path) -> None:
    (tmp_path / "w.txt").write_bytes("able\r\nun\u2028able\r\n".encode("utf-8-sig"))
    assert read_words(tmp_path / "w.txt") == ["able", "un\u2028able"]
    (tmp_path / "w.txt").write_bytes("able\n".encode("utf-8-sig") + "thing\n".encode("utf-8-sig"))  # put together
    assert read_words(tmp_path / "w.txt") == ["able", "thing"]
    (tmp_path / "w.csv").write_text("rank,word\n1,able\n")
    assert read_words(tmp_path / "w.csv") == ["able"]
    (tmp_path / "w.txt").write_bytes('[{"word": "able"}]'.encode("utf-8-sig"))
    assert read_words(tmp_path / "w.txt") == ["able"]
    (tmp_path / "w.txt").write_text("able\n", encoding="utf-16")
    with pytest.raises(ValueError, match=r"w.txt: is encoded in UTF-16"):
        read_words(tmp_path / "w.txt")
    (tmp_path / "q.csv").write_text("word,definitions\nAble,that can\n", encoding="utf-8-sig")
    assert read_queries(tmp_path / "q.csv", lower=False) == [("Able", "that can")]


def test_words_of_a_list_with_a_mark_are_excluded(tmp_path) -> None:
    (tmp_path / "exclude.txt").write_bytes("able\n".encode("utf-8-sig"))
    words = read_words(tmp_path / "exclude.txt")
    card = build_wordnet(write_wordnet(tmp_path / "wn"), tmp_path / "set", words)
    assert (card["pairs"], card["excluded_pairs"]) == (3, 1)


def test_a_source_of_own_vectors_may_have_texts_beside_them(tmp_path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"input": [1, 2], "target": [3, 4], "title": "t", "doc": 7}\n')
    rows = PairRows(path, "input", "target", target_text_column="title", group_column="doc", input_text_column="title")
    (row,) = rows
    assert (row.given_text, row.wanted_text, row.group) == ("t", "t", "7")
    np.testing.assert_array_equal(row.wanted, np.array([3, 4], dtype=np.float32))
    path.write_text('{"input": [1, 2], "target": [3, 4], "title": null}\n')
    with pytest.raises(BadRowError, match=r":1: title is None; give a text"):
        list(PairRows(path, "input", "target", target_text_column="title"))
    path.write_text('{"input": "a", "target": [3, 4], "title": "t"}\n')
    with pytest.raises(BadRowError, match=r":1: input holds texts already, so title cannot be its text"):
        list(PairRows(path, "input", "target", input_text_column="title"))


def test_what_was_asked_of_the_reader_is_kept_as_plain_values() -> None:
    assert ReadOptions().said() == {}
    options = ReadOptions(delimiter="tab", column_names=("a", "b"), streaming=True)
    assert options.said() == {"delimiter": "tab", "column_names": ["a", "b"]}


def test_a_set_that_was_read_otherwise_is_another_set(tmp_path) -> None:
    path = tmp_path / "p.tsv"
    path.write_text(table_of(TEXTS, delimiter="\t"), newline="")
    job(path, tmp_path / "set").run()
    assert job(path, tmp_path / "set").run()["pairs"] == 20
    with pytest.raises(
        ValueError, match=r"set holds another set: its reading is None, this one's {'quoting': 'minimal'}"
    ):
        job(path, tmp_path / "set", options=ReadOptions(quoting="minimal")).run()


def test_a_name_of_the_hub_is_no_file(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("someone/pairs", "someone/pairs-v1.0", "pairs"):
        with pytest.raises(ImportError, match="is no file, so it is read with the library datasets"):
            list(PairRows(Path(name), "input", "target"))
    for name in ("someone/pairs.csv", "pairs.csv.gz", "someone/pairs.xlsx", "../no/where.pairs"):
        with pytest.raises(ValueError, match="no such file"):
            list(PairRows(Path(name), "input", "target"))
