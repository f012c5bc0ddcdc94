"""Cells that are vectors: lists of numbers, and texts in which a program wrote one."""

from __future__ import annotations

import contextlib
import json
import time

import numpy as np
import pytest

from energy_flow.data.files import BadRowError, Column
from energy_flow.data.files.spelled import list_in

from .files import pairs_of, table_of

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
    "tensors in a list": "[tensor(0.5), tensor(-1.25), tensor(3e-05), tensor(2.)]",
    "a tensor with a gradient": "tensor([0.5, -1.25, 3e-05, 2.], grad_fn=<MulBackward0>)",
    "an array with its shape": "array([0.5, -1.25, 3e-05, 2.], shape=(4,), dtype=float32)",
    "JAX": "Array([0.5, -1.25, 3e-05, 2.], dtype=float32)",
    "a matrix of one row": "[[0.5, -1.25, 3e-05, 2.0]]",
    "a tensor of one row": "tensor([[0.5, -1.25, 3e-05, 2.]], grad_fn=<AddmmBackward0>)",
    "an array of one row": repr(np.array([VECTOR])),
    "numbers in quotes": "['0.5', '-1.25', '3e-05', '2']",
    "decimals": "[Decimal('0.5'), Decimal('-1.25'), decimal.Decimal('0.00003'), Decimal('2')]",
    "in quotes": '"[0.5, -1.25, 3e-05, 2]"',
    "minus signs of a word processor": "[0.5, \u22121.25, 3e\u221205, 2]",
    "decimal commas": "[0,5; -1,25; 3,0e-05; 2,0]",
    "semicolons": "[0.5; -1.25; 3e-05; 2]",
    "a comma at the end": "[0.5, -1.25, 3e-05, 2,]",
    "a tuple": str(tuple(VECTOR)),
    "pgvector": "[0.5,-1.25,3e-05,2]",
    "an array of Postgres": "{0.5,-1.25,3e-05,2}",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_cell_that_is_a_list_is_a_vector(tmp_path, name: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(table_of([(SPELLINGS[name], "a"), (SPELLINGS["pandas"], "b")]), newline="")
    found = pairs_of(path)
    assert [wanted for _, wanted in found] == ["a", "b"]
    for vector, _ in found:
        assert vector == pytest.approx(VECTOR)
    assert pairs_of(path, list_cells="texts")[0][0] == SPELLINGS[name]


EIGHT = [0.5, -1.25, 3e-05, 2.0, 0.125, 7.0, -0.5, 1.5]
UNREAD = {
    "a gap": ("[0.5,,-1.25]", "a list with a gap among its 2 numbers"),
    "a gap at the beginning": ("[, 0.5, -1.25]", "a list with a gap among its 2 numbers"),
    "a gap at the end": ("[0.5, -1.25,,]", "a list with a gap among its 2 numbers"),
    "some decimal commas": ("[0,5; 1; -1,25]", "a list with ',' as well as other signs"),
    "decimal commas and spaces": ("[0,5 -1,25]", "a list with ',' as well as other signs"),
    "rows": ("[[0.5, -1.25, 3, 4], [5, 6, 7, 8]]", "several lists of numbers in one"),
    "an array of rows": (repr(np.array([EIGHT, EIGHT])), "several lists of numbers in one"),
    "bars": (str(EIGHT).replace(", ", "|"), r"a list of numbers that .*behind 4 letters comes '\|-1.25"),
    "an object": (json.dumps({"id": 1, "embedding": EIGHT}), "a list of numbers within something else"),
    "a quote that is open": ("'" + str(EIGHT), "a list of numbers within something else"),
}


@pytest.mark.parametrize("name", UNREAD)
def test_lists_that_cannot_be_read_are_no_texts(tmp_path, name: str) -> None:
    text, words = UNREAD[name]
    path = tmp_path / "p.csv"
    path.write_text(table_of([(text, "a"), (text, "b")]), newline="")
    with pytest.raises(BadRowError, match=rf"p.csv:2: input is {words}.*--list-cells texts"):
        pairs_of(path)
    assert pairs_of(path, list_cells="texts")[1][0] == text


def test_short_lists_that_cannot_be_read_stay_texts_among_texts(tmp_path) -> None:
    path = tmp_path / "p.csv"
    rows = [("one", "a"), ("two", "b"), ("[1,,2]", "c"), ("[1, 2; 3]", "d")]
    path.write_text(table_of(rows), newline="")
    assert pairs_of(path) == rows


@pytest.mark.parametrize("cell", [[[0.5, -1.25]], ["0.5", "-1.25"], "[[0.5, -1.25]]", "['0.5', '-1.25']"])
def test_lists_of_json_are_read_as_those_in_texts(tmp_path, cell) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"input": cell, "target": "a"}))
    assert pairs_of(path) == [((0.5, -1.25), "a")]


def test_decimal_commas_without_brackets_are_a_vector_where_they_are_many() -> None:
    found = list_in("; ".join(["0,5"] * 8))
    assert found is not None and found.tolist() == [0.5] * 8
    assert list_in("0,5; 1,5") is None


def test_numbers_without_brackets_are_a_vector_where_they_are_many() -> None:
    assert list_in("0.1 -0.2 3 4 5 6 7 8e-3") is not None
    assert list_in("0.1 -0.2 3") is None
    assert list_in("1 2 3 4 5 6 7 8 9") is None  # no decimal point anywhere


TEXTS_LIKE_LISTS = (
    "[1]", "[sic]", "(see page 3, 4)", "[1, 2", "null", "nan", "NA", "007", "1e5", "[]", "tensor", "a,b", "(2019)",
    "[1, two]", "3.14", "['a', 'b']", '["one"]', "'quoted'", "[1] [2] [3] [4] [5] [6] [7] [8] say so", "{a: 1}",
    "(1) one, (2) two", "\u22125 degrees", "Decimal('1')", "[[see 1, 2]]", "[a|b]",
    "-", "{}", "and", "1, 2", "array(1)", "[[1, 2], [3, 4]]",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS_LIKE_LISTS)
def test_texts_that_look_like_something_else_stay_texts(tmp_path, text: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(table_of([("a", text), ("b", text)]), newline="")
    assert pairs_of(path) == [("a", text), ("b", text)]


def test_most_rows_decide_what_a_column_holds(tmp_path) -> None:
    path = tmp_path / "p.csv"
    texts = [(f"word {row}", "a") for row in range(5)]
    vectors = [(f"[{row}, 1, 2, 3, 4, 5, 6, 7]", "a") for row in range(5)]
    path.write_text(table_of([("[1, 2]", "a"), ("(0, 0)", "b"), *texts]), newline="")
    assert [given for given, _ in pairs_of(path)][:3] == ["[1, 2]", "(0, 0)", "word 0"]
    path.write_text(table_of([texts[0], *vectors]), newline="")
    with pytest.raises(BadRowError, match=r":2: input is a text \('word 0'\) and most rows hold vectors.*texts"):
        pairs_of(path)
    assert len(pairs_of(path, skip_bad=True)) == 5
    path.write_text(table_of([vectors[0], *texts]), newline="")
    with pytest.raises(
        BadRowError, match=r":2: input is a vector \('\[0, 1, .*most rows hold texts.*--list-cells texts"
    ):
        pairs_of(path)
    assert len(pairs_of(path, skip_bad=True)) == 5
    path.write_text(table_of([("[1, 2, 3]", "a"), *vectors]), newline="")
    with pytest.raises(BadRowError, match=r":2: input has a vector of width 3, most have 8"):
        pairs_of(path)
    assert len(pairs_of(path, skip_bad=True)) == 5


BAD_VECTORS = {
    "an endless number": (f"[1{'0' * 400}, 1]", r"input is a list, but not of finite numbers"),
    "infinity": ("[Infinity, 1]", r"input is a list, but not of finite numbers \(number 0 is inf\)"),
    "NaN": ("[1, NaN]", r"input is a list, but not of finite numbers \(number 1 is nan\)"),
    "null": ("[1, null]", r"input is a list, but not of finite numbers"),
    "true": ("[true, 1]", r"input is a list, but not of finite numbers"),
    "texts": ('["1", "two"]', r"input is a list, but not of finite numbers"),
    "beyond float32": ("[1e39, 1]", r"input holds 1e\+39, too large for float32"),
    "zeros": ("[0, 0.0]", r"input is a vector of zeros"),
    "too small": ("[1e-60, 0.0]", r"input is a vector of zeros"),
    "a matrix": ("[[1, 2], [3, 4]]", r"input is a list of shape \(2, 2\)"),
    "nothing": ("[]", r"input is a list of shape \(0,\)"),
}


@pytest.mark.parametrize("name", BAD_VECTORS)
def test_vectors_that_cannot_be_used_are_named(tmp_path, name: str) -> None:
    value, words = BAD_VECTORS[name]
    path = tmp_path / "p.jsonl"
    path.write_text(f'{{"input": [1, 2], "target": "b"}}\n{{"input": {value}, "target": "b"}}\n')
    with pytest.raises(BadRowError, match=rf"p.jsonl:2: {words}"):
        pairs_of(path)


def test_a_vector_that_was_shortened_or_cut_is_no_text(tmp_path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(table_of([(str(np.arange(2000.0)), "a")]), newline="")
    with pytest.raises(BadRowError, match=r"p.csv:2: input is a vector of which NumPy wrote the beginning and the end"):
        pairs_of(path)
    path.write_text(table_of([(str(VECTOR * 10)[:-9], "a")]), newline="")
    with pytest.raises(BadRowError, match=r"p.csv:2: input is a list of numbers that does not end .*32 767 letters"):
        pairs_of(path)
    path.write_text(table_of([(str([*VECTOR, None] * 10), "a"), (str([*VECTOR * 3, None]), "a")]), newline="")
    assert len(pairs_of(path, list_cells="texts")) == 2
    with pytest.raises(BadRowError, match=r"p.csv:3: .*letters comes ', None\]'.*--list-cells texts"):
        list(pairs_of(path))


def test_arrays_of_any_type_are_vectors() -> None:
    for kind in ("float16", "float32", "float64", "int8", "uint8", "int64", ">f4"):
        found = Column("input").cell(np.array([1, 2, 3]).astype(kind))
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.tolist()) == (np.dtype("float32"), [1, 2, 3])


LONG = ("[" + "1234 " * 20_000 + "x", "[" + "1" * 99_999 + "x", "array([" + "1, " * 50_000, "[" + " " * 99_999)
LONG += (
    "[[" + "1, " * 50_000,
    "'" * 99_999,
    "{" + "a" * 99_999,
    "[" + "'1'," * 30_000 + "x",
    "[0,1" + "; 2,3" * 30_000,
)
LONG += ("array(" * 20_000, "[" + "tensor(1, a=b" * 9_000, "[" + "1;;" * 30_000 + "x", "[" + "[1]," * 20_000 + "x")


@pytest.mark.parametrize("text", LONG)
def test_long_texts_take_no_long_time(text: str) -> None:
    begun = time.process_time()
    with contextlib.suppress(ValueError):
        assert list_in(text) is None
    assert time.process_time() - begun < 1
