"""Stores of real engines: read, brought into another space in place, and whole whenever that is killed."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from energy_flow.stores import Translation, open_store, translate_store, translation
from energy_flow.training.linear_map import LinearMap

from .test_cli_runs import refused, run

ROOT = Path(__file__).parent.parent
ROWS, BEFORE, AFTER = 300, 8, 6
FAISS = ["Flat,IP", "IDMap,Flat", "IDMap2,Flat", "HNSW8,Flat", "IDMap,HNSW8,Flat", "SQfp16", "SQ8", "IVF4,Flat"]
FAISS += ["IVF4,SQ8", "IDMap,IVF4,Flat"]
USEARCH = ("f32", "f16", "bf16", "f64")
SQLITE = ("rowid", "text key", "wal")
KINDS = [("faiss", kind) for kind in FAISS] + [("usearch", kind) for kind in USEARCH] + [("sqlite", k) for k in SQLITE]
NEEDS = {"faiss": "faiss", "usearch": "usearch", "sqlite": "apsw"}
DECLARED = {
    "rowid": "create virtual table docs using vec0(embedding float[8])",
    "wal": "create virtual table docs using vec0(embedding float[8] distance_metric=cosine)",
    "text key": (
        "create virtual table docs using vec0(id text primary key, year integer, lang text partition key, "
        "embedding float[8] distance_metric=cosine, +body text)"
    ),
}


def vectors() -> torch.Tensor:
    return F.normalize(torch.randn(ROWS, BEFORE, generator=torch.Generator().manual_seed(0)), dim=1)


def ids() -> np.ndarray:
    return np.random.default_rng(0).permutation(10 * ROWS)[:ROWS].astype(np.int64)


def database(path: Path):
    import apsw
    import sqlite_vec

    found = apsw.Connection(str(path))
    found.enable_load_extension(True)
    found.load_extension(sqlite_vec.loadable_path())
    return found


def build(engine: str, kind: str, path: Path) -> None:
    rows = vectors().numpy()
    if engine == "faiss":
        import faiss

        metric = faiss.METRIC_INNER_PRODUCT if kind.endswith(",IP") else faiss.METRIC_L2
        index = faiss.index_factory(BEFORE, kind.removesuffix(",IP"), metric)
        index.train(rows)
        index.add_with_ids(rows, ids()) if "ID" in kind or "IVF" in kind else index.add(rows)
        faiss.write_index(index, str(path))
    elif engine == "usearch":
        from usearch.index import Index

        index = Index(ndim=BEFORE, metric="cos", dtype=kind, connectivity=12)
        index.add(ids().astype(np.uint64), rows)
        index.save(str(path))
    else:
        found = database(path)
        found.execute(f"pragma journal_mode = {'wal' if kind == 'wal' else 'delete'}")
        found.execute("create table notes (note text)")
        found.execute("insert into notes values ('kept')")
        found.execute(DECLARED[kind])
        found.execute("begin")
        for key, row in zip(ids().tolist(), rows, strict=True):
            if kind == "text key":
                values = (f"doc {key}", key % 7, "de" if key % 2 else "en", row.tobytes(), f"body {key}")
                found.execute("insert into docs (id, year, lang, embedding, body) values (?, ?, ?, ?, ?)", values)
            else:
                found.execute("insert into docs (rowid, embedding) values (?, ?)", (key, row.tobytes()))
        found.execute("commit")
        found.close()


@pytest.fixture(params=KINDS, ids=[f"{engine}-{kind}" for engine, kind in KINDS])
def store(request, tmp_path) -> tuple[Path, str, str]:
    engine, kind = request.param
    if importlib.util.find_spec(NEEDS[engine]) is None:
        pytest.skip(f"{engine} is not installed")
    build(engine, kind, tmp_path / "store")
    return tmp_path / "store", engine, kind


def a_map() -> Translation:
    weight = torch.randn(BEFORE, AFTER, generator=torch.Generator().manual_seed(1))
    return Translation(LinearMap(weight, torch.zeros(AFTER)), (BEFORE, AFTER), {"map": "a"}, block=64)


def content(path: Path) -> dict:
    """What a store holds: a vector for each id."""
    found = open_store(path)
    rows = torch.cat(list(found.blocks(50)))
    held = dict(zip(found.keys().tolist(), rows, strict=True))
    found.close()
    return held


def require_translated(path: Path, before: dict) -> None:
    after, apply = content(path), a_map().apply
    assert after.keys() == before.keys()
    wanted = F.normalize(apply(torch.stack([before[key] for key in after])), dim=1)
    assert F.cosine_similarity(torch.stack(list(after.values())), wanted, dim=1).min() > 0.995


def test_a_store_is_read_in_blocks(store) -> None:
    path, engine, kind = store
    found = open_store(path)
    assert (found.rows, found.width, len(found.keys())) == (ROWS, BEFORE, ROWS)
    whole, parts = torch.cat(list(found.blocks(ROWS))), torch.cat(list(found.blocks(64)))
    assert torch.equal(whole, parts)
    assert torch.equal(whole[128:], torch.cat(list(found.blocks(64, 128))))
    keys = [f"doc {key}" for key in ids().tolist()] if kind == "text key" else ids().tolist()
    if engine != "faiss" or "ID" in kind or "IVF" in kind:
        place = {key: number for number, key in enumerate(keys)}
        order = [place[key] for key in found.keys().tolist()]
    else:
        order = list(range(ROWS))
    assert F.cosine_similarity(whole, vectors()[order], dim=1).min() > 0.999
    found.close()


def test_a_store_is_translated_in_its_place_once(store) -> None:
    path, engine, kind = store
    before, bytes_before, said = content(path), path.read_bytes(), []
    assert translate_store(path, a_map(), progress=lambda done, rows: said.append((done, rows)))
    require_translated(path, before)
    assert said[0] == (0, ROWS) and said[-1] == (ROWS, ROWS)
    names = {one.name for one in path.parent.iterdir() if not one.name.endswith(("-shm", "-wal"))}
    assert names == {"store", "store.old", "store.translated.json"}
    if kind != "wal":  # of which the journal was brought in
        assert (path.parent / "store.old").read_bytes() == bytes_before
    once = path.read_bytes()
    assert not translate_store(path, a_map())
    assert path.read_bytes() == once
    assert not translate_store(path, a_map(), drop_old=True)
    assert not (path.parent / "store.old").exists()
    if engine == "sqlite":
        require_kept_columns(path, kind)


def require_kept_columns(path: Path, kind: str) -> None:
    found = database(path)
    assert found.execute("select note from notes").fetchall() == [("kept",)]
    assert found.execute("pragma journal_mode").fetchall() == [("wal" if kind == "wal" else "delete",)]
    if kind == "text key":
        for key, year, lang, body in found.execute("select id, year, lang, body from docs"):
            number = int(key.removeprefix("doc "))
            assert (year, lang, body) == (number % 7, "de" if number % 2 else "en", f"body {number}")
        query = content(path)["doc " + str(ids()[0])].numpy().tobytes()
        nearest = "select id from docs where embedding match ? and k = 1 and lang = ?"
        lang = "de" if ids()[0] % 2 else "en"
        assert found.execute(nearest, (query, lang)).fetchall() == [(f"doc {ids()[0]}",)]
    found.close()


def test_a_new_store_leaves_the_old_one_alone(store) -> None:
    path, _, _ = store
    before, kept = content(path), path.read_bytes()
    target = path.with_name("new")
    assert translate_store(path, a_map(), output=target)
    require_translated(target, before)
    assert path.read_bytes() == kept
    assert not path.with_name("store.old").exists()
    assert not translate_store(path, a_map(), output=target)


class Cut(BaseException):
    pass


STEPS = ("append", "write_json", "sync_file", "_keep", "replace")


@pytest.mark.parametrize("engine", ["faiss", "usearch", "sqlite"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_a_translation_that_was_cut_goes_on_and_loses_nothing(
    tmp_path, monkeypatch, engine: str, step: str, after: bool
) -> None:
    pytest.importorskip(NEEDS[engine])
    build(engine, {"faiss": "IDMap,Flat", "usearch": "f32", "sqlite": "text key"}[engine], tmp_path / "store")
    path, before = tmp_path / "store", content(tmp_path / "store")
    place = {"append": translation.UnfinishedRows, "replace": translation.os}.get(step, translation)
    once, calls = getattr(place, step), []

    def cut(*arguments):
        calls.append(0)
        mine = step != "replace" or Path(arguments[1]).name == "store"  # other files are replaced on the way
        if mine and not after and (step != "append" or len(calls) > 2):
            raise Cut
        once(*arguments)
        if mine and after:
            raise Cut

    monkeypatch.setattr(place, step, cut)
    with pytest.raises(Cut):
        translate_store(path, a_map())
    monkeypatch.undo()
    held = content(path)  # the old store or the new one, whole
    if step == "replace" and after:
        require_translated(path, before)
    else:
        assert held.keys() == before.keys() and all(torch.equal(held[key], before[key]) for key in held)
    translate_store(path, a_map())
    require_translated(path, before)
    old = content(tmp_path / "store.old")
    assert all(torch.equal(old[key], before[key]) for key in before)
    assert {one.name for one in tmp_path.iterdir()} == {"store", "store.old", "store.translated.json"}


def test_what_was_done_is_not_done_again(tmp_path, monkeypatch) -> None:
    pytest.importorskip("faiss")
    build("faiss", "Flat", tmp_path / "store")
    once, seen = translation.UnfinishedRows.append, []

    def append(self, block):
        seen.append(len(block))
        if len(seen) == 4:
            raise Cut
        once(self, block)

    monkeypatch.setattr(translation.UnfinishedRows, "append", append)
    with pytest.raises(Cut):
        translate_store(tmp_path / "store", a_map())
    translate_store(tmp_path / "store", a_map())
    assert seen == [64] * 4 + [64, 44]


def test_a_store_that_changes_meanwhile_is_left_alone(tmp_path, monkeypatch) -> None:
    pytest.importorskip("faiss")
    build("faiss", "Flat", tmp_path / "store")
    once = translation._write_and_compare

    def write(*arguments):
        once(*arguments)
        with (tmp_path / "store").open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(translation, "_write_and_compare", write)
    with pytest.raises(ValueError, match="store was written while it was translated"):
        translate_store(tmp_path / "store", a_map())
    assert (tmp_path / "store").read_bytes().endswith(b"more")


def test_an_engine_that_gives_other_vectors_back_is_noticed(tmp_path, monkeypatch) -> None:
    faiss_store = pytest.importorskip("faiss") and __import__("energy_flow.stores.faiss_store", fromlist=["FaissStore"])
    build("faiss", "Flat", tmp_path / "store")
    once, kept = faiss_store.FaissStore.write, (tmp_path / "store").read_bytes()

    def wrong(self, path, rows):
        once(self, path, torch.flip(rows[:], [0]))

    monkeypatch.setattr(faiss_store.FaissStore, "write", wrong)
    with pytest.raises(ValueError, match="gives other vectors back"):
        translate_store(tmp_path / "store", a_map())
    assert (tmp_path / "store").read_bytes() == kept


def test_an_open_database_is_refused(tmp_path) -> None:
    pytest.importorskip("apsw")
    build("sqlite", "wal", tmp_path / "store")
    other = database(tmp_path / "store")
    other.execute("begin immediate")
    other.execute("insert into notes values ('more')")
    with pytest.raises(ValueError, match=r"store: cannot be read \(.*locked.*close what has it open"):
        translate_store(tmp_path / "store", a_map())
    other.execute("commit")
    other.close()


def test_what_another_program_writes_meanwhile_is_not_lost(tmp_path, monkeypatch) -> None:
    """It lies in the journal alone, so that the file looks as it was."""
    pytest.importorskip("apsw")
    build("sqlite", "wal", tmp_path / "store")
    once, other = translation._write_and_compare, []

    def write(*arguments):
        once(*arguments)
        other.append(database(tmp_path / "store"))
        other[0].execute("insert into notes values ('more')")

    monkeypatch.setattr(translation, "_write_and_compare", write)
    with pytest.raises(ValueError, match="was written while it was translated|close it"):
        translate_store(tmp_path / "store", a_map())
    assert other[0].execute("select count(*) from notes").fetchall() == [(2,)]
    other[0].close()
    assert content(tmp_path / "store").keys() == set(ids().tolist())


def test_a_journal_is_brought_in(tmp_path) -> None:
    """What another program committed lies in the journal alone while it has the database open."""
    pytest.importorskip("apsw")
    build("sqlite", "wal", tmp_path / "store")
    other = database(tmp_path / "store")
    other.execute("insert into docs (rowid, embedding) values (99999, ?)", (np.ones(8, "f4").tobytes(),))
    assert (tmp_path / "store-wal").stat().st_size
    assert 99999 in content(tmp_path / "store")
    other.close()


# The command


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    pytest.importorskip("faiss")
    monkeypatch.chdir(tmp_path)
    build("faiss", "IDMap,Flat", tmp_path / "store")
    LinearMap(torch.randn(BEFORE, AFTER), torch.zeros(AFTER)).save(tmp_path / "m.safetensors")
    return tmp_path


def test_the_command_translates_a_store(place, capsys) -> None:
    run("translate store m.safetensors")
    assert "store: the vectors of width 8 are now of 6; the old one is store.old" in capsys.readouterr().out
    assert json.loads((place / "store.translated.json").read_text("utf-8"))["rows"] == ROWS
    run("translate store m.safetensors")
    assert "store: was translated by this map before; nothing to do" in capsys.readouterr().out
    LinearMap(torch.eye(AFTER), torch.zeros(AFTER)).save(place / "n.safetensors")
    assert "store.old holds another store, which would be lost" in refused("translate store n.safetensors", capsys)
    (place / "store.old").unlink()
    run("translate store n.safetensors --drop-old --normalise no")
    assert not (place / "store.old").exists()


BAD = [
    ("translate nowhere m.safetensors", "nowhere: no such file"),
    ("translate store nowhere", "nowhere/model.safetensors: no such file"),
    ("translate store wide.safetensors", "the vectors have width 8, the map takes 9"),
    (
        "translate m.safetensors m.safetensors",
        "m.safetensors: not a usearch index, or cut (Not a dense USearch index!); give a store of faiss,",
    ),
    ("translate store store", "store: not a whole safetensors file"),
    ("translate cut m.safetensors", "cut: not a whole faiss index"),
    ("translate codes m.safetensors", "codes: an IndexLSH does not give its vectors back"),
    ("translate twice m.safetensors", "twice: 1 ids stand for several vectors"),
    ("translate none m.safetensors", "none: the store holds no vectors"),
    ("translate zero m.safetensors", "zero: id 7: the stored vector is zero or not finite"),
    ("translate store m.safetensors --table docs", "a store of faiss has no tables"),
    ("translate store m.safetensors --output m.safetensors", "m.safetensors exists; give the path of a new store"),
    ("translate plain.db m.safetensors", "plain.db: holds no vec0 table"),
    ("translate two.db m.safetensors", r"two.db: holds 2 vec0 tables (a, b): say which with --table"),
    ("translate two.db m.safetensors --table c", "two.db: no vec0 table 'c'; there are a, b"),
    ("translate bits.db m.safetensors", "bits.db: a has 0 columns of floating vectors"),
    ("translate junk.db m.safetensors", "junk.db: cannot be read"),
]


@pytest.mark.parametrize(("command", "words"), BAD, ids=[command for command, _ in BAD])
def test_bad_stores_are_one_line(place, capsys, command: str, words: str) -> None:
    import faiss

    pytest.importorskip("apsw")
    pytest.importorskip("usearch")
    rows = vectors().numpy()
    LinearMap(torch.randn(9, 3), torch.zeros(3)).save(place / "wide.safetensors")
    Path("cut").write_bytes(Path("store").read_bytes()[:100])
    codes = faiss.IndexLSH(BEFORE, 16)
    codes.add(rows)
    twice = faiss.index_factory(BEFORE, "IDMap,Flat")
    twice.add_with_ids(rows[:2], np.array([5, 5]))
    zero = faiss.index_factory(BEFORE, "IDMap,Flat")
    zero.add_with_ids(rows[:3] * [[1], [0], [1]], np.array([5, 7, 9]))
    none = faiss.index_factory(BEFORE, "Flat")
    for name, index in (("codes", codes), ("twice", twice), ("zero", zero), ("none", none)):
        faiss.write_index(index, name)
    for name, declared in (("plain.db", {}), ("two.db", {"a": "float", "b": "float"}), ("bits.db", {"a": "bit"})):
        found = database(place / name)
        found.execute("create table notes (note text)")
        for table, kind in declared.items():
            found.execute(f"create virtual table {table} using vec0(embedding {kind}[8])")
        found.close()
    Path("junk.db").write_bytes(b"SQLite format 3\0" + b"junk" * 500)
    assert words in refused(command, capsys).replace("\\", "/")
    assert not list(place.glob("*.old"))


@pytest.mark.parametrize(("engine", "extra"), [("faiss", "faiss"), ("usearch", "usearch"), ("sqlite", "sqlite")])
def test_a_missing_engine_is_named_with_its_install_command(tmp_path, monkeypatch, engine: str, extra: str) -> None:
    (tmp_path / "store").write_bytes(
        b"SQLite format 3\0" if engine == "sqlite" else b"IxFI" if engine == "faiss" else b"1"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=rf"pip install 'energy-flow\[{extra}\]'"):
        translate_store(tmp_path / "store", a_map())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["faiss", "usearch", "sqlite"])
def test_killed_at_any_moment_a_store_is_whole(tmp_path, engine: str) -> None:
    pytest.importorskip(NEEDS[engine])
    build(engine, {"faiss": "HNSW8,Flat", "usearch": "f32", "sqlite": "text key"}[engine], tmp_path / "first")
    before = content(tmp_path / "first")
    LinearMap(a_map().apply.weight, torch.zeros(AFTER)).save(tmp_path / "m.safetensors")  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "energy_flow", "translate", "store", "m.safetensors"]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}}
    draw = random.Random(0)
    for _ in range(6):
        for leftover in tmp_path.glob("*store*"):
            leftover.unlink()
        (tmp_path / "store").write_bytes((tmp_path / "first").read_bytes())
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        while not (tmp_path / ".store.partial").exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.15))
        process.kill()
        process.communicate()
        assert content(tmp_path / "store").keys() == before.keys()
        subprocess.run(command, check=True, capture_output=True, **options)
        require_translated(tmp_path / "store", before)
        assert content(tmp_path / "store.old").keys() == before.keys()


@pytest.mark.parametrize("factory", ["IVF30,Flat", "IVF30,SQ8"])
def test_lists_that_hold_fewer_vectors_than_there_are_lists_are_kept(tmp_path, factory: str) -> None:
    faiss = pytest.importorskip("faiss")
    rows = np.random.default_rng(0).normal(size=(600, BEFORE)).astype("f4")
    index = faiss.index_factory(BEFORE, factory)
    index.train(rows)
    index.add(rows[:10])
    faiss.write_index(index, str(tmp_path / "store"))
    translate_store(tmp_path / "store", a_map())
    found = faiss.read_index(str(tmp_path / "store"))
    assert (found.ntotal, found.nlist, found.d) == (10, 30, AFTER)
