"""`predict`: vectors and texts of files in, files out, in every format, whole or not at all, with the same bits."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from energy_flow.cli import main
from energy_flow.cli import predict as predict_module
from energy_flow.config import Box
from energy_flow.data.vector_files import open_vectors
from energy_flow.training.linear_map import LinearMap

from .test_cli_runs import refused, run
from .test_embedding import ToyEncoder

ROOT = Path(__file__).parent.parent
ROWS = 23


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a linear map of width 6 to 4, entered; a block has 8 rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("energy_flow.cli.row_map.StoredLinearMap.block", 8)
    generator = torch.Generator().manual_seed(0)
    LinearMap(torch.randn(6, 4, generator=generator), torch.randn(4, generator=generator)).save(Path("m.safetensors"))
    return tmp_path


def vectors(dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, 6)).astype(dtype)


def expected(rows: np.ndarray) -> np.ndarray:
    return LinearMap.load(Path("m.safetensors"))(torch.from_numpy(rows.astype(np.float32))).numpy()


def write(name: str, rows: np.ndarray) -> None:
    path = Path(name)
    if path.suffix == ".npy":
        np.save(path, rows)
    elif path.suffix == ".safetensors":
        save_file({"embeddings": torch.from_numpy(rows)}, path)
    elif path.suffix == ".parquet":
        table = {"id": [f"d{row}" for row in range(len(rows))], "vector": rows.tolist(), "year": list(range(len(rows)))}
        pq.write_table(pa.table(table), path, row_group_size=5)
    elif path.suffix == ".csv":
        path.write_text("id,vector\n" + "".join(f'{row},"{vector}"\n' for row, vector in enumerate(rows.tolist())))
    else:
        lines = [{"id": f"d{row}", "vector": vector, "ü": None} for row, vector in enumerate(rows.tolist())]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode("utf-8-sig"))


def read(name: str) -> np.ndarray:
    path = Path(name)
    if path.suffix.lower() == ".npy":
        return np.load(path)
    if path.suffix.lower() == ".safetensors":
        return load_file(path)["outputs"].numpy()
    if path.suffix.lower() == ".parquet":
        return np.array(pq.read_table(path)["output"].to_pylist(), dtype=np.float32)
    return np.array([json.loads(line)["output"] for line in path.read_text("utf-8").splitlines()], dtype=np.float32)


@pytest.mark.parametrize("given", ["i.npy", "i.safetensors", "i.jsonl", "I.JSONL.gz", "i.parquet", "i.csv"])
@pytest.mark.parametrize("wanted", ["o.npy", "o.safetensors", "o.jsonl", "O.Parquet"])
def test_vectors_of_every_file_go_to_every_file(place, given: str, wanted: str) -> None:
    write(given, vectors())
    run(f"predict m.safetensors --inputs {given} --output new/{wanted}")
    np.testing.assert_array_equal(read(f"new/{wanted}"), expected(vectors()))
    assert [path.name for path in Path("new").iterdir()] == [wanted]


@pytest.mark.parametrize("given", ["i.jsonl", "i.parquet"])
@pytest.mark.parametrize("wanted", ["o.jsonl", "o.parquet"])
def test_what_stands_beside_the_vectors_is_kept(place, given: str, wanted: str) -> None:
    write(given, vectors())
    run(f"predict m.safetensors --inputs {given} --output {wanted} --output-column new")
    path = Path(wanted)
    rows = pq.read_table(path).to_pylist() if wanted.endswith("parquet") else None
    rows = rows or [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == [f"d{row}" for row in range(ROWS)]
    assert set(rows[0]) == {"id", "new"} | ({"ü"} if given == "i.jsonl" else {"year"})


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
def test_any_precision_and_byte_order_is_taken(place, dtype: str) -> None:
    for rows in (vectors().astype(dtype), np.asfortranarray(vectors().astype(dtype))):
        np.save("i.npy", rows)
        run("predict m.safetensors --inputs i.npy --output o.npy")
        np.testing.assert_array_equal(np.load("o.npy"), expected(rows))


def test_half_precision_of_safetensors_and_the_choice_of_a_matrix(place, capsys) -> None:
    rows = torch.from_numpy(vectors())
    save_file({"a": rows.bfloat16(), "b": rows.half()}, "i.safetensors")
    assert "i.safetensors: holds a, b; say which matrix to take with --key" in refused(
        "predict m.safetensors --inputs i.safetensors --output o.npy", capsys
    )
    assert "holds a, b, but not 'c'" in refused(
        "predict m.safetensors --inputs i.safetensors --key c --output o.npy", capsys
    )
    run("predict m.safetensors --inputs i.safetensors --key a --output o.npy")
    np.testing.assert_array_equal(np.load("o.npy"), expected(rows.bfloat16().float().numpy()))


def test_a_lattice_gives_the_bits_of_one_call(toy_model, tmp_path) -> None:
    from energy_flow.cli.report import load_trainer

    rows = torch.randn(300, 5)
    np.save(tmp_path / "i.npy", rows.numpy())
    main(f"predict {toy_model} --inputs {tmp_path / 'i.npy'} --output {tmp_path / 'o.npy'} --device cpu".split())
    np.testing.assert_array_equal(np.load(tmp_path / "o.npy"), load_trainer(toy_model, "cpu").predict(rows).numpy())


def test_a_box_runs_the_weights_in_another_lattice(tmp_path, monkeypatch, capsys) -> None:
    from energy_flow.cli.report import load_trainer
    from energy_flow.models import folder_of

    monkeypatch.chdir(tmp_path)
    rows = torch.randn(3, 2 * 3 * 6)
    np.save("i.npy", rows.numpy())
    main(["predict", "maze", "--inputs", "i.npy", "--output", "o.npy", "--box", "2x3x9", "--device", "cpu"])
    trainer = load_trainer(folder_of("maze"), "cpu")
    np.testing.assert_array_equal(np.load("o.npy"), trainer.predict(rows, Box(2, 3, 9)).numpy())
    assert "i.npy has width 36, the model takes 150" in refused("predict maze --inputs i.npy --output o.npy", capsys)
    main(["predict", "maze", "--box", "3x3x9", "--examples", "2", "--output", "examples.npy", "--device", "cpu"])
    assert np.load("examples.npy").shape == (2, 9 * 2)
    assert "┌" in capsys.readouterr().out
    assert "makes faces for 16 sites alone" in refused(
        "predict words --box 15x12x10 --inputs i.npy --output o.npy", capsys
    )


BAD = [
    ("wide.npy", np.ones((3, 7), "f4"), "wide.npy has width 7, the model takes 6"),
    ("flat.npy", np.ones(6, "f4"), r"flat.npy: has shape \(6,\)"),
    ("deep.npy", np.ones((2, 3, 6), "f4"), r"deep.npy: has shape \(2, 3, 6\)"),
    ("whole.npy", np.ones((3, 6), "i8"), "whole.npy: .*dtype int64"),
    ("none.npy", np.ones((0, 6), "f4"), "none.npy: has shape .* holds nothing"),
    ("nan.npy", np.where(np.arange(18).reshape(3, 6) == 7, np.nan, 1).astype("f4"), "nan.npy: 1 of 3 rows .*is row 1"),
    ("huge.npy", np.full((3, 6), 1e300), "huge.npy: 3 of 3 rows .*is row 0"),
    ("empty.npy", b"", "empty.npy: not an .npy file"),
    ("cut.safetensors", b"\x10\x00", "cut.safetensors: not a whole safetensors file"),
    ("text.parquet", b"PAR?", "text.parquet: not a Parquet file"),
    ("empty.jsonl", b"\n\n", "empty.jsonl: holds no rows"),
    (
        "a.jsonl",
        b'{"input": [1,2,3,4,5,6]}\n\n{"input": [1,2]}\n',
        "a.jsonl:3: input has a vector of width 2, most have 6",
    ),
    (
        "b.jsonl",
        b'{"input": [1, NaN, 3]}\n',
        r"b.jsonl:1: input is a list, but not of finite numbers \(number 1 is nan\)",
    ),
    ("c.jsonl", b'{"input": [1, 1e60, 3]}\n', r"c.jsonl:1: input holds 1e\+60, too large for float32"),
    ("d.jsonl", b'{"input": "a text"}\n', "d.jsonl:1: input is 'a text'; give a vector"),
    ("e.jsonl", b'{"input": null}\n', r"e.jsonl:1: input has no value \(null\)"),
    ("f.jsonl", b'{"input": [1, true]}\n', "f.jsonl:1: input is a list, but not of finite numbers"),
    ("g.jsonl", b'{"a": [1], "b": [2]}\n', "g.jsonl:1: the columns with vectors are a, b; say which .*--input-column"),
    ("h.jsonl", b'{"a": 1}\n', "h.jsonl:1: the columns with vectors are none .*of a;"),
    ("i.jsonl", b'{"input": [1,2,3,4,5,6]}\n{"other": [1]}\n', "i.jsonl:2: no column 'input'; the columns are other"),
    ("j.jsonl", b'{"input": [1,2,3,4,5,6]}\n{"input"', "j.jsonl:2: not JSON"),
    ("k.jsonl", b'{"input": [1]}\n[1]\n', "k.jsonl:2: holds a list; one object a line"),
    ("l.jsonl", '{"input": [1]}\n'.encode("utf-16"), "l.jsonl: is encoded in UTF-16, not in UTF-8"),
    ("m.jsonl", b'{"input": [1' + b"0" * 400 + b"]}\n", "m.jsonl:1: input is a list, but not of finite numbers"),
    ("n.csv", b"input\n1;2\n", "n.csv:2: input is '1;2'; give a vector"),
    ("zeros.npy", np.eye(6, dtype="f4")[[0, 1]] * [[1], [0]], "zeros.npy: row 1 is a vector of zeros"),
    ("q.csv", b'input,k,k\n"[1,2,3,4,5,6]",a,b\n', "q.csv: the header has the column 'k' twice"),
    ("r.csv", ",".join(f"d{n}" for n in range(400)).encode() + b"\n" + b"1," * 399 + b"1\n", r"d7 and 392 more;"),
    ("p.txt", b"1,2\n", r"p.txt: the suffix is '.txt'; give .npy, .safetensors, .jsonl"),
    ("o.npy.gz", b"", "o.npy.gz: the suffix is '.gz'"),
]


@pytest.mark.parametrize(("name", "content", "words"), BAD, ids=[name for name, *_ in BAD])
def test_bad_vectors_are_one_line_before_any_work(place, capsys, name: str, content, words: str) -> None:
    Path(name).write_bytes(content) if isinstance(content, bytes) else np.save(name, content)
    error = refused(f"predict m.safetensors --inputs {name} --output out/o.npy", capsys)
    assert re.search(words, error), error
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0] * 6, None], r"row 1: input has no value \(null\)"),
        ([[1.0] * 6, [0.0] * 6], "row 1: input is a vector of zeros"),
        ([[1.0] * 6, [1.0] * 5], "row 1: input has width 5, the rows before 6"),
        ([[1.0] * 6, [1.0] * 5 + [float("nan")]], "row 1: input holds NaN, null or infinity"),
        ([[1.0] * 6, [1.0] * 5 + [None]], "row 1: input holds NaN, null or infinity"),
        ([[1.0] * 6, [1.0] * 5 + [1e300]], "row 1: input holds NaN, null or infinity"),
        (["a text"], "the columns with vectors are none|input holds string"),
        ([], "holds no rows"),
    ],
)
def test_bad_parquet_rows_are_named(place, capsys, rows: list, words: str) -> None:
    pq.write_table(pa.table({"input": rows}), "i.parquet")
    error = refused("predict m.safetensors --inputs i.parquet --output o.npy", capsys)
    assert re.search(rf"i.parquet: ({words})", error), error


def test_an_archive_of_arrays_is_no_matrix(place, capsys) -> None:
    np.savez("a.npz", one=vectors(), two=vectors())
    Path("a.npz").rename("i.npy")
    error = refused("predict m.safetensors --inputs i.npy --output o.npy", capsys)
    assert "i.npy: an .npz archive with one, two; write one of them with numpy.save" in error


def test_two_columns_of_one_name_are_named(place, capsys) -> None:
    pq.write_table(pa.table([pa.array([[1.0] * 6]), [1], [2]], names=["input", "k", "k"]), "i.parquet")
    error = refused("predict m.safetensors --inputs i.parquet --output o.npy", capsys)
    assert "i.parquet: has the column 'k' twice; give each column its own name" in error


UNFIT = {
    "a large number": (["1", str(2**70)], "parquet", "i.jsonl:4: does not fit into Parquet"),
    "an empty object": (["{}"], "parquet", r"o.parquet: a column holds values .* Parquet does not have .*'n'.*\.jsonl"),
    "several kinds": (["1", '"a"'], "parquet", r"o.parquet: a column holds values of several kinds"),
    "a number that rounds": (["0.5"] * 8 + [str(2**62 + 1)] * 8, "parquet", "i.jsonl:18: does not fit into Parquet"),
    "half a pair": (["1", r'"\ud800"'], "jsonl", r"i.jsonl:4: a column beside the vectors holds half .*\(.\\ud800"),
    "half a pair within": ([r'[{"a": "\ud800"}]'], "parquet", "i.jsonl:2: a column beside the vectors holds half"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_columns_that_the_output_cannot_hold_are_named_before_any_work(place, capsys, monkeypatch, name: str) -> None:
    values, suffix, words = UNFIT[name]
    Path("i.jsonl").write_text("\n" + "\n\n".join(f'{{"input": [1,2,3,4,5,6], "n": {one}}}' for one in values))
    monkeypatch.setattr(LinearMap, "__call__", lambda *_: pytest.fail("computed"))
    error = refused(f"predict m.safetensors --inputs i.jsonl --output out/o.{suffix}", capsys)
    assert re.search(words, error), error
    assert not Path("out").exists()


def test_numbers_that_are_not_finite_are_null_in_json(place) -> None:
    Path("i.jsonl").write_text('{"input": [1,2,3,4,5,6], "n": NaN, "m": [1, {"k": Infinity}], "t": "NaN"}\n')
    pq.write_table(pa.table({"input": [[1.0] * 6], "n": [float("nan")]}), "i.parquet")
    for name, others in (("i.jsonl", {"m": [1, {"k": None}], "t": "NaN"}), ("i.parquet", {})):
        run(f"predict m.safetensors --inputs {name} --output o.jsonl")
        row = json.loads(Path("o.jsonl").read_text(), parse_constant=pytest.fail)
        assert {key: row[key] for key in row if key != "output"} == {"n": None, **others}


def test_a_home_folder_in_output_is_found(place, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(place / "home"))
    monkeypatch.setenv("USERPROFILE", str(place / "home"))
    np.save("i.npy", vectors())
    run("predict m.safetensors --inputs i.npy --output=~/o.npy")
    assert (place / "home" / "o.npy").is_file() and not Path("~").exists()


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text_is_refused_as_in_a_file(place, toy_encoder, capsys, text: str) -> None:
    with pytest.raises(SystemExit):
        main(["predict", "m.safetensors", "some text", text])
    assert "text 2 is empty; give a text" in capsys.readouterr().err


def test_vectors_of_every_type_of_list_are_read(place) -> None:
    rows = [[1, 2, 3], [4, 5, 6]]
    for kind in (pa.list_(pa.int32()), pa.large_list(pa.float16()), pa.list_(pa.float64(), 3)):
        values = [[np.float16(one) for one in row] for row in rows] if "halffloat" in str(kind) else rows
        pq.write_table(pa.table({"v": pa.array(values, kind)}), "i.parquet")
        assert next(open_vectors(Path("i.parquet")).blocks(10)).tolist() == rows
    decimals = pa.array([[Decimal(one) for one in row] for row in rows], pa.list_(pa.decimal128(9, 2)))
    for column in (decimals, pa.FixedShapeTensorArray.from_numpy_ndarray(np.array(rows, dtype=np.float32))):
        pq.write_table(pa.table({"v": column}), "i.parquet")
        source = open_vectors(Path("i.parquet"))
        assert [block.tolist() for block in source.blocks(1)] == [[row] for row in rows]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--inputs i.npy --output o.txt", r"--output o.txt: the suffix is '.txt'; give .npy, .safetensors, .jsonl"),
        ("--inputs i.npy --output o", "--output o: the suffix is ''"),
        ("--inputs nowhere.npy --output o.npy", "nowhere.npy: no such file"),
        ("--inputs i.npy --key a --output o.npy", "--key names a matrix of a .safetensors file"),
        ("--inputs i.npy --input-column a --output o.npy", "--input-column names a column of a table"),
        ("--input-column a text", "--input-column a is about a file of vectors"),
        ("--inputs i.npy a text", "texts and --inputs are both given"),
        ("--texts-file t.txt --inputs i.npy", "--texts-file and --inputs are both given"),
        ("--texts-file nowhere.txt", "nowhere.txt: no such file"),
        ("--texts-file empty.txt", "empty.txt: holds no text"),
        ("--texts-file gap.txt", "gap.txt:2: the line is empty; give a text"),
        ("--texts-file t.txt --encoding rot13", "encoding = 'rot13' is unknown"),
        ("--inputs i.npy --encoding cp1252", "--encoding cp1252 is about a file of texts; give it with --texts-file"),
        ("--texts-file t.txt --encoding klingon", "encoding = 'klingon' is unknown"),
        (
            "--texts-file latin.txt",
            "latin.txt:2: the line is not UTF-8, or not what --encoding says, at letter 1; convert the file, or",
        ),
        ("--examples 2", "wordnet-minilm: inputs has width 384, the model takes 6; give rows of its width"),
        ("--examples 2 --data identity", "identity: inputs has width 64, the model takes 6"),
        ("--inputs i.npy --csls --decoder d", "--decoder writes texts"),
        (
            "--inputs i.npy --box 2x2x4 --output o.npy",
            "m.safetensors is a linear map, which has no lattice; leave --box",
        ),
    ],
)
def test_bad_options_are_one_line(place, capsys, options: str, words: str) -> None:
    np.save("i.npy", vectors())
    Path("empty.txt").write_bytes(b"\xef\xbb\xbf\n \n")
    Path("gap.txt").write_text("a\n\nb\n")
    Path("latin.txt").write_bytes("a\nü\n".encode("latin-1"))
    Path("t.txt").write_text("a\n")
    assert words in refused(f"predict m.safetensors {options}", capsys)


def test_parquet_without_its_library_says_what_to_install(place, capsys, monkeypatch) -> None:
    np.save("i.npy", vectors())
    find = predict_module.check_output.__globals__["ParquetVectors"].require.__globals__["importlib"].util
    monkeypatch.setattr(find, "find_spec", lambda name: None)
    assert "Parquet needs pyarrow: pip install 'energy-flow[text]'" in refused(
        "predict m.safetensors --inputs i.npy --output o.parquet", capsys
    )


def test_a_taken_column_is_named(place, capsys) -> None:
    Path("i.jsonl").write_text('{"input": [1, 2, 3, 4, 5, 6], "output": "mine"}\n')
    line = refused("predict m.safetensors --inputs i.jsonl --output o.jsonl", capsys)
    assert "has a column 'output' already; name another for the outputs with --output-column" in line


@pytest.fixture
def toy_encoder(monkeypatch) -> None:
    monkeypatch.setattr(predict_module, "TextEncoder", lambda *name: ToyEncoder())
    monkeypatch.setattr(predict_module, "encoder_of", lambda data, side: ToyEncoder())


def test_texts_of_a_file_and_of_the_standard_input(place, toy_encoder, monkeypatch, capsys) -> None:
    LinearMap(torch.eye(5), torch.zeros(5)).save(Path("m.safetensors"))
    texts = [f"definition number {row}" for row in range(ROWS)]
    Path("t.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*texts, ""]).encode())
    run("predict m.safetensors --texts-file t.txt --output o.jsonl")
    rows = [json.loads(line) for line in Path("o.jsonl").read_text("utf-8").splitlines()]
    assert [row["text"] for row in rows] == texts
    np.testing.assert_allclose([row["output"] for row in rows], ToyEncoder()(texts).numpy(), rtol=1e-6)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("\n".join(texts).encode())))
    run("predict m.safetensors --texts-file - --output o.npy")
    np.testing.assert_allclose(np.load("o.npy"), ToyEncoder()(texts).numpy(), rtol=1e-6)
    LinearMap(torch.eye(6), torch.zeros(6)).save(Path("m.safetensors"))
    assert "the encoder toy has width 5, the model takes 6; give rows of its width" in refused(
        "predict m.safetensors --encoder toy --texts-file t.txt --output o.npy", capsys
    )


def test_outputs_are_decoded_where_that_is_asked_for(toy_set, toy_model, toy_encoder, tmp_path, capsys) -> None:
    given, written = tmp_path / "i.npy", tmp_path / "o.npy"
    np.save(given, torch.randn(4, 5).numpy())
    base = f"predict {toy_model} --inputs {given} --device cpu"
    main(f"{base} --output {written}".split())
    assert capsys.readouterr().out.strip() == f"wrote {written}"
    lines = []
    for options in (f"--data {toy_set} --top 2 --output {written}", f"--data {toy_set} --top 2"):
        main(f"{base} {options}".split())
        lines.append(re.findall(r"^row \d: .+\), .+\)$", capsys.readouterr().out, re.MULTILINE))
    assert len(lines[0]) == 4 and lines[0] == lines[1]
    main(f"{base} --data {toy_set} --top 2 --csls".split())
    assert "--top 9999; " in refused(f"{base} --data {toy_set} --top 9999 --output {tmp_path / 'never.npy'}", capsys)
    assert not (tmp_path / "never.npy").exists()
    assert re.findall(r"^row \d: .+$", capsys.readouterr().out, re.MULTILINE) != lines[0]


def test_outputs_that_are_not_finite_are_counted(place, capsys) -> None:
    weight = torch.zeros(6, 4)
    weight[0] = 3e38
    LinearMap(weight, torch.zeros(4)).save(Path("m.safetensors"))
    rows = np.ones((3, 6), "f4")
    rows[1, 0], rows[2, 0] = 9, 0
    np.save("i.npy", rows)
    for name in ("o.npy", "o.jsonl"):
        run(f"predict m.safetensors --inputs i.npy --output {name}")
        assert "2 of 3 outputs are zero or not finite" in " ".join(capsys.readouterr().out.split())
    assert [json.loads(line)["output"] is None for line in Path("o.jsonl").read_text().splitlines()] == [0, 1, 0]


class Cut(BaseException):
    pass


@pytest.mark.parametrize("wanted", ["o.npy", "o.safetensors", "o.jsonl", "o.parquet"])
@pytest.mark.parametrize("blocks", [0, 1, 2])
def test_a_job_that_was_cut_goes_on_to_the_same_bits(place, monkeypatch, capsys, wanted: str, blocks: int) -> None:
    write("i.parquet", vectors())
    run(f"predict m.safetensors --inputs i.parquet --output whole/{wanted}")
    calls, once = [], LinearMap.__call__

    def cut(self, rows):
        calls.append(len(rows))
        if len(calls) > blocks:
            raise Cut
        return once(self, rows)

    monkeypatch.setattr(LinearMap, "__call__", cut)
    with pytest.raises(Cut):
        run(f"predict m.safetensors --inputs i.parquet --output {wanted}")
    assert not Path(wanted).exists()
    monkeypatch.setattr(LinearMap, "__call__", lambda self, rows: calls.append(len(rows)) or once(self, rows))
    calls.clear()
    run(f"predict m.safetensors --inputs i.parquet --output {wanted}")
    assert sum(calls) == ROWS - 8 * blocks if blocks < 3 else not calls
    assert Path(wanted).read_bytes() == Path("whole", wanted).read_bytes()
    assert ("goes on at row" in capsys.readouterr().out) == bool(blocks)


def test_other_inputs_or_another_model_begin_anew(place, monkeypatch) -> None:
    np.save("i.npy", vectors())
    once = LinearMap.__call__

    def cut_after_one(self, rows, seen=[]):  # noqa: B006
        seen.append(0)
        if len(seen) % 2 == 0:
            raise Cut
        return once(self, rows)

    for change in ("inputs", "model"):
        monkeypatch.setattr(LinearMap, "__call__", cut_after_one)
        with pytest.raises(Cut):
            run("predict m.safetensors --inputs i.npy --output o.npy")
        monkeypatch.setattr(LinearMap, "__call__", once)
        if change == "inputs":
            np.save("i.npy", vectors() * 2)
        else:
            LinearMap(torch.ones(6, 4), torch.zeros(4)).save(Path("m.safetensors"))
        run("predict m.safetensors --inputs i.npy --output o.npy")
        np.testing.assert_array_equal(np.load("o.npy"), expected(np.load("i.npy")))


def test_two_processes_do_not_write_one_file(place, capsys) -> None:
    from filelock import FileLock

    np.save("i.npy", vectors())
    with FileLock(".o.npy.partial.lock"):
        assert "o.npy: another process writes it" in refused(
            "predict m.safetensors --inputs i.npy --output o.npy", capsys
        )


@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_ends_with_the_same_bits(tmp_path) -> None:
    LinearMap(torch.randn(64, 64), torch.zeros(64)).save(tmp_path / "m.safetensors")
    np.save(tmp_path / "i.npy", np.random.default_rng(0).normal(size=(120_000, 64)).astype("f4"))
    base = [sys.executable, "-m", "energy_flow", "predict", "m.safetensors", "--inputs", "i.npy", "--output"]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}}
    subprocess.run([*base, "whole.parquet"], check=True, capture_output=True, **options)
    for delay in (0.0, 0.05, 0.15, 0.3, 0.6):
        process = subprocess.Popen([*base, "o.parquet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        while not list(tmp_path.glob(".o.parquet.partial.json")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(delay)
        process.kill()
        process.communicate()
    subprocess.run([*base, "o.parquet"], check=True, capture_output=True, **options)
    assert (tmp_path / "o.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
