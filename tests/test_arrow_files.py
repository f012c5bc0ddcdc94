"""Parquet files and sets of the library datasets: right values, asked columns alone, splits kept."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from energy_flow.data.files import BadRowError, ReadOptions
from energy_flow.data.text_rows import PairRows, read_candidates

from .files import pairs_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
NUMBERS = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
ROWS = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
VECTOR_COLUMNS = {
    "float16": lambda: pa.FixedSizeListArray.from_arrays(pa.array(NUMBERS.astype(np.float16).ravel()), 4),
    "float32": lambda: pa.array(ROWS, pa.list_(pa.float32())),
    "float64": lambda: pa.array(ROWS, pa.large_list(pa.float64())),
    "fixed size": lambda: pa.array(ROWS, pa.list_(pa.float32(), 4)),
    "int8": lambda: pa.array([[1, 2, 3, 4], [5, 6, 7, 8]], pa.list_(pa.int8())),
    "decimal": lambda: pa.array([[Decimal(int(one)) for one in row] for row in ROWS], pa.list_(pa.decimal128(9, 2))),
    "text": lambda: pa.array([str(row) for row in ROWS]),
    "tensor": lambda: pa.FixedShapeTensorArray.from_numpy_ndarray(NUMBERS),
}
TEXT_COLUMNS = {
    "string": lambda: pa.array(["a", "b"]),
    "large string": lambda: pa.array(["a", "b"], pa.large_string()),
    "string view": lambda: pa.array(["a", "b"], pa.string_view()),
    "dictionary": lambda: pa.array(["a", "b"]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", VECTOR_COLUMNS)
def test_vectors_of_every_type_are_read(tmp_path, kind: str) -> None:
    pq.write_table(pa.table({"input": VECTOR_COLUMNS[kind](), "target": ["a", "b"]}), tmp_path / "p.parquet")
    assert [list(given) for given, _ in pairs_of(tmp_path / "p.parquet")] == ROWS


@pytest.mark.parametrize("kind", TEXT_COLUMNS)
def test_texts_of_every_type_are_read(tmp_path, kind: str) -> None:
    pq.write_table(pa.table({"input": TEXT_COLUMNS[kind](), "target": ["c", "d"]}), tmp_path / "p.parquet")
    assert pairs_of(tmp_path / "p.parquet") == [("a", "c"), ("b", "d")]


@pytest.mark.parametrize("width", [None, 2])
def test_nulls_and_slices_move_no_vector_to_another_row(tmp_path, width: int | None) -> None:
    kind = pa.list_(pa.float32()) if width is None else pa.list_(pa.float32(), width)
    values = [None if row % 3 == 1 else [row + 1.0, row + 2.0] for row in range(3000)]
    table = pa.table({"input": pa.array(values, kind), "target": [str(row) for row in range(3000)]}).slice(5)
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=700)
    rows = PairRows(tmp_path / "p.parquet", "input", "target", skip_bad=True)
    found = [(list(row.given), int(str(row.wanted))) for row in rows]
    assert found == [(values[row], row) for row in range(5, 3000) if row % 3 != 1]
    assert rows.skipped[0].endswith("p.parquet:3: input has no value (null); give a text or a vector")


def test_what_is_wrong_in_a_parquet_file_is_named(tmp_path) -> None:
    path = tmp_path / "p.parquet"
    columns = {"input": ["a", "b"], "target": ["c", "d"], "broken": pa.array([b"\xff", None]), "number": [1, 2]}
    pq.write_table(pa.table(columns), path)
    for name, words in (
        ("other", r"p.parquet: no column 'other'; the columns are input, target, broken, number"),
        ("broken", r"p.parquet:1: broken is b'.xff'; give a text"),
        ("number", r"p.parquet:1: number is 1; give a text or a vector"),
    ):
        with pytest.raises(ValueError, match=words):
            list(PairRows(path, name, "target"))
    pq.write_table(pa.table([["a"], ["b"], ["c"]], names=["input", "target", "input"]), path)
    with pytest.raises(ValueError, match=r"p.parquet: has the column 'input' twice"):
        pairs_of(path)
    wrong = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"\xff"]).buffers())
    pq.write_table(pa.table({"input": wrong, "target": ["a", "b"]}), path)
    with pytest.raises(BadRowError, match=r"p.parquet:2: input is not UTF-8, or .* at letter 1"):
        pairs_of(path)
    pq.write_table(pa.table({"input": pa.array([[1.0, None], None]), "target": ["a", "b"]}), path)
    with pytest.raises(BadRowError, match="all 2 rows are bad, the first ones: .*not of finite numbers.*no value"):
        pairs_of(path, skip_bad=True)
    for content in (path.read_bytes()[:-20], b"", b"no"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="p.parquet: not a Parquet file"):
            pairs_of(path)


def test_columns_that_nobody_asked_for_are_not_read(tmp_path, monkeypatch) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"input": ["a"], "target": ["b"], "other": ["c"]}), path)
    asked = []
    iter_batches = pq.ParquetFile.iter_batches

    def spy(self, **options):
        asked.extend(options["columns"])
        return iter_batches(self, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    assert pairs_of(path) == [("a", "b")]
    assert asked == ["input", "target"]


def test_a_row_group_is_not_held_in_memory_as_a_whole(tmp_path) -> None:
    numbers = np.random.default_rng(0).normal(size=(20_000, 256)).astype(np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), 256)
    pq.write_table(pa.table({"input": vectors, "target": [str(row) for row in range(20_000)]}), tmp_path / "p.parquet")
    del vectors
    before, most = pa.total_allocated_bytes(), 0
    for row in PairRows(tmp_path / "p.parquet", "input", "target"):
        most = max(most, pa.total_allocated_bytes() - before) if row.line % 500 == 0 else most
    assert most < numbers.nbytes / 2


def test_candidates_of_parquet_files_keep_groups_and_vectors(tmp_path) -> None:
    table = pa.table({"text": ["a", "b"], "groups": [["g"], ["h", "i"]], "vector": ROWS, "other": [1, 2]})
    pq.write_table(table, tmp_path / "c.parquet")
    (tmp_path / "shards").mkdir()
    pq.write_table(table.slice(0, 1), tmp_path / "shards" / "0.parquet")
    pq.write_table(table.slice(1), tmp_path / "shards" / "1.parquet")
    for path in (tmp_path / "c.parquet", tmp_path / "shards"):
        found = list(read_candidates(path))
        assert [one.groups for one in found] == [["g"], ["h", "i"]]
        assert [one.vector.tolist() for one in found if one.vector is not None] == ROWS


@pytest.mark.parametrize("kind", [None, "torch", "numpy", "pandas"])
def test_sets_of_datasets_are_read_whatever_their_format(tmp_path, kind: str | None) -> None:
    datasets = pytest.importorskip("datasets")
    vectors = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    features = datasets.Features(
        {
            "input": datasets.Sequence(datasets.Value("float32"), length=8),
            "target": datasets.ClassLabel(names=["no", "yes"]),
            "more": datasets.Value("bool"),
        }
    )
    columns = {"input": vectors.tolist(), "target": [row % 2 for row in range(30)], "more": [True] * 30}
    table = datasets.Dataset.from_dict(columns, features=features)
    table.with_format(kind).save_to_disk(str(tmp_path / "set"))
    found = pairs_of(tmp_path / "set")
    np.testing.assert_array_equal(np.array([given for given, _ in found], dtype=np.float32), vectors)
    assert [wanted for _, wanted in found] == ["no", "yes"] * 15


def test_rows_that_were_chosen_and_shuffled_are_read_as_they_are(tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {"input": [f"i{row}" for row in range(50)], "target": [f"t{row}" for row in range(50)]}
    table = datasets.Dataset.from_dict(columns).shuffle(seed=1).select(range(7, 20))
    table.save_to_disk(str(tmp_path / "set"))
    assert pairs_of(tmp_path / "set") == list(zip(table["input"], table["target"], strict=True))


def test_splits_that_a_set_has_are_kept_and_what_is_not_read_is_said(tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"input": ["a", "b"], "target": ["c", "d"]})
    datasets.DatasetDict({"train": table, "dev": table, "extra": table}).save_to_disk(str(tmp_path / "set"))
    rows = PairRows(tmp_path / "set", "input", "target")
    assert [(row.split, row.row_id) for row in rows] == [(0, "train:1"), (0, "train:2"), (1, "dev:1"), (1, "dev:2")]
    assert rows.notes()[0].endswith("its split extra is none of train, validation and test, so its rows are not read")
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "one"))
    assert [row.split for row in PairRows(tmp_path / "one", "input", "target")] == [None, None]
    datasets.DatasetDict({"test": table}).save_to_disk(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="has the splits test, but no train"):
        pairs_of(tmp_path / "none")


@pytest.mark.parametrize("streaming", [False, True])
def test_names_on_the_hub_are_loaded_with_revision_subset_and_as_a_stream(monkeypatch, streaming: bool) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"input": [[1.0, 2.0], [3.0, 4.0]], "target": ["a", "b"], "more": [0, 1]})
    seen = []

    def load_dataset(*names, **options):
        seen.append((names, options))
        loaded = datasets.DatasetDict({"train": table, "test": table})
        return (
            datasets.IterableDatasetDict({k: v.to_iterable_dataset() for k, v in loaded.items()})
            if streaming
            else loaded
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    options = ReadOptions(subset="small", revision="v2", streaming=streaming)
    rows = PairRows(Path("someone/pairs-v1.0"), "input", "target", options=options)
    assert [row.split for row in rows] == [0, 0, 2, 2]
    assert seen[0] == (("someone/pairs-v1.0", "small"), {"revision": "v2", "streaming": streaming})
    assert rows.fingerprint()
