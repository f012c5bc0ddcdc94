"""Text files to pair sets on disk: bad rows by name, resuming, and the same bits however often it was interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from energy_flow.data import load_data
from energy_flow.data.embedding import EmbedJob
from energy_flow.data.files import ReadOptions
from energy_flow.data.pair_folder import read_manifest
from energy_flow.data.text_rows import BadRowError, PairRows, read_candidates
from energy_flow.data.wordnet import build_wordnet, read_queries, read_words
from energy_flow.training import Judge
from energy_flow.utils.files import unfinished_name

from .test_data import write_wordnet

PAIRS = [(f"definition number {row}", f"word{row % 700}") for row in range(2500)]


class ToyEncoder:
    """Eight numbers from the letters; can die after some rows, as a killed process would."""

    name = "toy"

    def __init__(self, dies_after: int | None = None) -> None:
        self.seen = 0
        self.dies_after = dies_after

    def __call__(self, texts):
        if self.dies_after is not None and self.seen + len(texts) > self.dies_after:
            raise KeyboardInterrupt
        self.seen += len(texts)
        rows = torch.tensor([[float(ord(text[-1 - place])) - 90 for place in range(5)] for text in texts])
        return torch.nn.functional.normalize(rows, dim=1)


def write_jsonl(path: Path, pairs=PAIRS) -> Path:
    path.write_text("".join(json.dumps({"input": given, "target": wanted}) + "\n" for given, wanted in pairs))
    return path


def job(source: Path, folder: Path, encoder=None, candidates=None, held_out=0.1, **options) -> EmbedJob:
    encoder = encoder or ToyEncoder()
    return EmbedJob(
        PairRows(source, "input", "target", **options), folder, encoder, encoder, candidates, held_out=held_out
    )


def checksums(folder: Path) -> dict[str, str]:
    return read_manifest(folder)["sha256"]


def test_a_set_is_embedded_and_loads(tmp_path) -> None:
    job(write_jsonl(tmp_path / "pairs.jsonl"), tmp_path / "set").run()
    data = load_data(str(tmp_path / "set"))
    assert sum(len(part) for part in (data.train, data.validation, data.test)) == 2500
    assert data.bank is not None
    assert len(data.bank.texts) == 700
    torch.testing.assert_close(data.test.inputs, ToyEncoder()(data.test.input_texts))
    torch.testing.assert_close(data.train.targets, ToyEncoder()(data.train.target_texts))
    assert not set(data.train.target_texts) & set(data.test.target_texts)


@pytest.mark.parametrize("dies_after", [0, 1024, 2500, 3199])
def test_an_interrupted_job_goes_on_and_ends_with_the_same_bits(tmp_path, dies_after: int) -> None:
    source = write_jsonl(tmp_path / "pairs.jsonl")
    job(source, tmp_path / "whole" / "set").run()
    with pytest.raises(KeyboardInterrupt):
        job(source, tmp_path / "cut" / "set", ToyEncoder(dies_after)).run()
    with pytest.raises(ValueError, match="the set is not finished"):
        load_data(str(tmp_path / "cut" / "set"))
    again = ToyEncoder()
    job(source, tmp_path / "cut" / "set", again).run()
    assert checksums(tmp_path / "cut" / "set") == checksums(tmp_path / "whole" / "set")
    assert again.seen == 3200 - dies_after // 1024 * 1024  # of 5 000 texts 3 200 differ
    assert {path.name for path in (tmp_path / "cut" / "set").iterdir()} == {
        *checksums(tmp_path / "cut" / "set"),
        "manifest.json",
    }


def test_a_killed_process_goes_on(tmp_path) -> None:
    """SIGKILL where there is one: nothing is cleaned up, and the files must be right all the same."""
    source = write_jsonl(tmp_path / "pairs.jsonl")
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.test_embedding import ToyEncoder, job\n"
        "def die(done, total):\n"
        "    if done >= 3000: os.kill(os.getpid(), getattr(__import__('signal'), 'SIGKILL', 9))\n"
        f"one = job(Path({str(source)!r}), Path({str(tmp_path / 'cut')!r}))\n"
        "import dataclasses\n"
        "dataclasses.replace(one, progress=die).run()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=False, capture_output=True
    )
    assert ran.returncode != 0
    job(source, tmp_path / "cut").run()
    job(source, tmp_path / "whole").run()
    assert checksums(tmp_path / "cut") == checksums(tmp_path / "whole")


def test_a_finished_set_is_not_embedded_twice_and_another_one_is_refused(tmp_path) -> None:
    source = write_jsonl(tmp_path / "pairs.jsonl")
    job(source, tmp_path / "set").run()
    again = ToyEncoder()
    job(source, tmp_path / "set", again).run()
    assert again.seen == 0
    write_jsonl(source, PAIRS[:10])
    with pytest.raises(ValueError, match=r"holds another set: its source has changed since: .*remove this one"):
        job(source, tmp_path / "set").run()


@pytest.mark.parametrize("name", ["notes.txt", "inputs.npy", "unfinished/texts", ".own.tmp"])
def test_a_folder_of_something_else_is_refused_and_kept(tmp_path, name: str) -> None:
    (tmp_path / "mine" / name).parent.mkdir(parents=True)
    (tmp_path / "mine" / name).write_text("keep")
    with pytest.raises(ValueError, match=f"holds files that are no pair set, such as {Path(name).parts[0]};"):
        job(write_jsonl(tmp_path / "pairs.jsonl"), tmp_path / "mine").run()
    assert (tmp_path / "mine" / name).read_text() == "keep"


def test_a_set_is_not_written_over_its_own_source(tmp_path) -> None:
    (tmp_path / "set").mkdir()
    source, words = write_jsonl(tmp_path / "set" / "rows.jsonl"), tmp_path / "set" / "candidates.jsonl"
    before = source.read_bytes()
    for given, candidates in ((source, None), (tmp_path / "set", None), (write_jsonl(tmp_path / "p.jsonl"), words)):
        words.write_text('{"text": "word0"}\n') if candidates else None
        with pytest.raises(ValueError, match=r"set/(rows|candidates).jsonl lies in .*set, where .* file of this name"):
            job(given, tmp_path / "set", candidates=candidates).run()
    assert source.read_bytes() == before


def test_candidates_that_are_no_file_and_a_folder_that_is_one_are_named(tmp_path) -> None:
    source = write_jsonl(tmp_path / "pairs.jsonl")
    for name, words in (("nope.txt", "no such file"), ("", "is a folder")):
        with pytest.raises(ValueError, match=f"candidates .*: {words}; give a file"):
            job(source, tmp_path / "set", candidates=tmp_path / name).run()
    with pytest.raises(ValueError, match=r"folder of the set .*pairs.jsonl is a file; give a folder"):
        job(source, source).run()


@pytest.mark.parametrize("name", ["manifest.json", "job.json"])
@pytest.mark.parametrize("text", ["[]", "null", "{", "", "{}"])
def test_broken_notes_of_a_set_are_named(tmp_path, name: str, text: str) -> None:
    source, folder = write_jsonl(tmp_path / "pairs.jsonl"), tmp_path / "set"
    folder.mkdir()
    (folder / name).write_text(text)
    words = (
        rf"{name}: (not (a|the) |was written by)" if text != "{}" or name == "job.json" else "data embed did not make"
    )
    with pytest.raises(ValueError, match=words):
        job(source, folder).run()
    if name == "manifest.json":
        with pytest.raises(ValueError, match=r"manifest.json: not a manifest of a pair set"):
            load_data(str(folder))


BREAKS = {
    "a bad row": lambda source, candidates: source.write_text(source.read_text() + '{"input": "a"}\n'),
    "a target that is missing": lambda source, candidates: candidates.write_text("word0\n"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_job_that_has_embedded_nothing_is_begun_anew(tmp_path, name: str) -> None:
    source, candidates = write_jsonl(tmp_path / "pairs.jsonl", PAIRS[:100]), tmp_path / "candidates.txt"
    whole = "".join(f"word{row}\n" for row in range(100))
    candidates.write_text(whole)
    BREAKS[name](source, candidates)
    with pytest.raises(ValueError, match="no column 'target'|not among the candidates"):
        job(source, tmp_path / "set", candidates=candidates).run()
    write_jsonl(source, PAIRS[:100])
    candidates.write_text(whole)
    assert job(source, tmp_path / "set", candidates=candidates).run()["pairs"] == 100


def test_a_job_that_has_embedded_some_says_what_has_changed(tmp_path) -> None:
    source = write_jsonl(tmp_path / "pairs.jsonl")
    with pytest.raises(KeyboardInterrupt):
        job(source, tmp_path / "set", ToyEncoder(1024)).run()
    write_jsonl(source, PAIRS[:10])
    with pytest.raises(ValueError, match="its source has changed since: .*give another folder") as caught:
        job(source, tmp_path / "set").run()
    assert "encoder" not in str(caught.value)


def test_inputs_and_targets_have_encoders_of_their_own(tmp_path) -> None:
    """As for a translation between two encoders; the candidates belong to the targets."""

    class Other(ToyEncoder):
        name = "other"

        def __call__(self, texts):
            return super().__call__(texts)[:, :3].flip(1)

    source, candidates = write_jsonl(tmp_path / "pairs.jsonl", PAIRS[:200]), tmp_path / "candidates.txt"
    candidates.write_text("".join(f"word{row}\n" for row in range(200)))
    rows = PairRows(source, "input", "target")
    manifest = EmbedJob(rows, tmp_path / "set", ToyEncoder(), Other(), candidates).run()
    data = load_data(str(tmp_path / "set"))
    assert (data.encoders, manifest["widths"]["inputs.npy"]) == (("toy", "other"), 5)
    torch.testing.assert_close(data.train.inputs[:], ToyEncoder()(data.train.input_texts))
    torch.testing.assert_close(data.train.targets[:], Other()(data.train.target_texts))
    assert data.bank is not None
    torch.testing.assert_close(data.bank.embeddings[:], Other()(data.bank.texts))


def test_candidates_are_the_bank_with_their_groups(toy_set) -> None:
    data = load_data(str(toy_set))
    assert data.bank is not None
    assert (len(data.bank.texts), data.bank.groups[3], data.encoders) == (720, {"group1"}, ("toy", "toy"))
    torch.testing.assert_close(data.bank.embeddings[:], ToyEncoder()(data.bank.texts))
    judge = Judge(data.bank)
    places = {text: place for place, text in enumerate(data.bank.texts)}
    twins = torch.tensor([places[text] ^ 1 for text in data.test.target_texts])  # the other one of the group
    metrics = judge.measure(data.bank.embeddings.index_select(0, twins), data.test)
    assert metrics.synonym_acc_1 is not None
    assert metrics.acc_1 is not None
    assert metrics.acc_1 < 0.2  # some toy words share an embedding with others
    assert metrics.synonym_acc_1 > 0.8


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.txt", "word0\nword1\n", r"pairs.jsonl:3: the target 'word2' is not among the candidates of .*c.txt"),
        ("c.txt", "word0\nword0\n", r"c.txt:2: the text 'word0' stood in an earlier line"),
        (
            "c.jsonl",
            '{"text": "a", "groups": ["g"]}\n{"text": "b"}\n',
            r"c.jsonl:2: groups is None and .*; give a list",
        ),
        ("c.jsonl", '{"text": " "}\n', r"c.jsonl:1: text is empty; give a text"),
        ("c.jsonl", "{\n", r"c.jsonl:1: not JSON"),
        ("c.txt", "\n", r"c.txt: holds no candidate; give at least one"),
        (
            "c.jsonl",
            '{"text": "word0", "vector": [1, 2, 3]}\n',
            r"c.jsonl: vectors of width 3, and the encoder toy gives the targets 5",
        ),
        ("c.csv", "a\n", r"c.csv: no column 'text' in the header"),
        ("c.doc", "a\n", r"c.doc: the suffix is '.doc'"),
    ],
)
def test_candidates_that_do_not_fit_are_named(tmp_path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words):
        job(write_jsonl(tmp_path / "pairs.jsonl"), tmp_path / "set", candidates=tmp_path / name).run()


def test_an_interrupted_job_goes_on_in_its_candidates_too(tmp_path, toy_set) -> None:
    source, candidates = toy_set.parent / "pairs.jsonl", toy_set.parent / "candidates.jsonl"
    with pytest.raises(KeyboardInterrupt):
        job(source, tmp_path / "set", ToyEncoder(3100), candidates=candidates).run()
    again = ToyEncoder()
    job(source, tmp_path / "set", again, candidates=candidates).run()
    assert again.seen == 3220 - 3072  # the 20 candidates that are no target come on top
    assert checksums(tmp_path / "set") == checksums(toy_set)
    candidates_again = tmp_path / "other.txt"
    candidates_again.write_text("word0\n")
    with pytest.raises(ValueError, match="holds another set: its candidates"):
        job(source, tmp_path / "set", candidates=candidates_again).run()


def test_the_share_that_is_held_out_can_be_chosen(tmp_path) -> None:
    job(write_jsonl(tmp_path / "pairs.jsonl"), tmp_path / "set", held_out=0.02).run()
    data = load_data(str(tmp_path / "set"))
    assert 0 < len(data.validation) < 100
    with pytest.raises(ValueError, match=r"held_out = 0.5; give a share"):
        job(tmp_path / "pairs.jsonl", tmp_path / "other", held_out=0.5)


def test_tables_of_datasets_are_read(tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"input": ["a", "b", "c"], "target": ["one", "two", " "]})
    table.save_to_disk(str(tmp_path / "table"))
    with pytest.raises(BadRowError, match="table:3: target is empty"):
        list(PairRows(tmp_path / "table", "input", "target"))
    rows = PairRows(tmp_path / "table", "input", "target", skip_bad=True)
    assert [row.wanted for row in rows] == ["one", "two"]
    assert rows.fingerprint() == PairRows(tmp_path / "table", "input", "target").fingerprint()
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "splits"))
    assert len(list(PairRows(tmp_path / "splits", "input", "target", skip_bad=True))) == 2
    datasets.DatasetDict({"other": table}).save_to_disk(str(tmp_path / "others"))
    with pytest.raises(ValueError, match="has the splits other, but no train"):
        list(PairRows(tmp_path / "others", "input", "target"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="datasets could not load it"):
        list(PairRows(tmp_path / "empty", "input", "target"))


def test_a_source_that_is_no_file_says_how_to_install_datasets(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'energy-flow\[hub\]'"):
        list(PairRows(Path("someone/pairs"), "input", "target"))


def test_vectors_are_taken_as_they_are(tmp_path) -> None:
    source = tmp_path / "pairs.jsonl"
    vectors = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    lines = [{"id": f"r{row}", "input": vector.tolist(), "target": f"word{row}"} for row, vector in enumerate(vectors)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    encoder = ToyEncoder()
    manifest = job(source, tmp_path / "set", encoder, id_column="id").run()
    assert (manifest["widths"], manifest["input_texts"], encoder.seen) == (
        {"inputs.npy": 4, "targets.npy": 5},
        False,
        60,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "set" / "inputs.npy"), vectors)
    assert load_data(str(tmp_path / "set")).train.input_texts == ()


@pytest.mark.parametrize(("suffix", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_delimited_files_are_read_with_their_quotes(tmp_path, suffix: str, delimiter: str) -> None:
    path = tmp_path / f"pairs.{suffix}"
    rows = [["input", "target"], ['"a ""b"" c\nd"', "one"], ["e", "two"]]
    path.write_text("".join(delimiter.join(row) + "\n" for row in rows))
    quoted = ReadOptions(quoting="minimal")
    assert [(row.line, row.given, row.wanted) for row in PairRows(path, "input", "target", options=quoted)] == [
        (2, 'a "b" c\nd', "one"),
        (4, "e", "two"),
    ]


GOOD = '{"id": 1, "input": "a", "target": "b"}\n'
BAD_ROWS = {
    "missing column": ("jsonl", GOOD + '{"id": 2, "input": "a"}\n', r":2: no column 'target'; the columns are id, input"),
    "empty text": ("jsonl", '{"id": 2, "input": "  ", "target": "b"}\n', r":1: input is empty"),
    "a number": ("jsonl", '{"id": 2, "input": 3, "target": "b"}\n', r":1: input is 3; give a text or a vector"),
    "broken JSON": ("jsonl", GOOD + GOOD[:9] + "\n", r":2: not JSON: .* at column \d+"),
    "not an object": ("jsonl", "[1]\n", r":1: holds a list; one object a line"),
    "wrong encoding": ("jsonl", GOOD.encode() + b'{"id": 2, "input": "caf\xe9", "target": "b"}\n', r":2: input is not UTF-8"),
    "duplicate id": ("jsonl", GOOD + "\n" + GOOD, r":3: the id '1' stood in an earlier line"),
    "another width": ("jsonl", '{"id":1,"input":[1,2],"target":"b"}\n{"id":2,"input":[1],"target":"b"}\n', r":2: input has a vector of width 1, .* 2"),
    "NaN in a vector": ("jsonl", '{"id": 1, "input": [1, NaN], "target": "b"}\n', r":1: input is a list, but not of finite"),
    "broken quoting": ("csv", 'id,input,target\n1,a,b\n2,"a" c,b\n', r":3: broken quoting"),
    "a cell too many": ("csv", "id,input,target\n1,a,b\n2,a,b,c\n", r":3: has 4 cells, the header 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_named_by_file_and_line_or_skipped_and_listed(tmp_path, name: str) -> None:
    suffix, text, words = BAD_ROWS[name]
    path = tmp_path / f"pairs.{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadRowError, match=f"pairs.{suffix}{words}"):
        list(PairRows(path, "input", "target", "id"))
    rows = PairRows(path, "input", "target", "id", skip_bad=True)
    if path.read_bytes().startswith((b'{"id": 1, "input": "a"', b"id,", b'{"id":1')):
        assert len(list(rows)) == 1
    else:
        with pytest.raises(BadRowError, match=f"all 1 rows are bad, the first ones: .*pairs.{suffix}{words}"):
            list(rows)
    assert len(rows.skipped) == 1


def test_files_that_are_not_there_or_something_else_are_named(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"nothing.jsonl: no such file"):
        list(PairRows(tmp_path / "nothing.jsonl", "input", "target"))
    (tmp_path / "pairs.doc").write_text("")
    with pytest.raises(ValueError, match=r"suffix is '.doc'; give a .jsonl, .ndjson"):
        list(PairRows(tmp_path / "pairs.doc", "input", "target"))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match="no usable row"):
        job(tmp_path / "empty.jsonl", tmp_path / "set").run()


def test_parquet_files_are_read(tmp_path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"input": ["a", "b"], "target": [[1.0, 2.0], [3.0, 4.0]]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    assert [list(row.wanted) for row in PairRows(tmp_path / "pairs.parquet", "input", "target")] == [[1, 2], [3, 4]]
    (tmp_path / "pairs.parquet").write_text("no")
    with pytest.raises(ValueError, match="not a Parquet file"):
        list(PairRows(tmp_path / "pairs.parquet", "input", "target"))


def test_wordnet_pairs_leave_out_words_and_their_synsets(tmp_path) -> None:
    wordnet = write_wordnet(tmp_path / "wn")
    card = build_wordnet(wordnet, tmp_path / "all")
    assert (card["pairs"], card["words"], card["excluded_pairs"]) == (4, 4, 0)
    words = [row.wanted for row in PairRows(tmp_path / "all" / "pairs.jsonl", "input", "target")]
    assert words == ["entity", "thing", "object", "able"]
    assert build_wordnet(wordnet, tmp_path / "some", ["Thing"])["pairs"] == 3
    assert build_wordnet(wordnet, tmp_path / "fewer", ["thing"], synsets_too=True)["pairs"] == 2
    with pytest.raises(ValueError, match="holds files already"):
        build_wordnet(wordnet, tmp_path / "all")
    for folder in ("all", "fewer"):
        candidates = list(read_candidates(tmp_path / folder / "candidates.jsonl"))
        assert [one.text for one in candidates] == words
        assert candidates[1].groups == candidates[2].groups == ["noun:00001930"]


def test_excluded_words_come_from_lines_or_from_the_published_format(tmp_path) -> None:
    (tmp_path / "words.txt").write_text("one\n\n two \n")
    assert read_words(tmp_path / "words.txt") == ["one", "two"]
    (tmp_path / "words.json").write_text('[{"word": "three", "definitions": "3"}]')
    assert read_words(tmp_path / "words.json") == ["three"]
    (tmp_path / "words.json").write_text('[{"wort": "three"}]')
    with pytest.raises(ValueError, match=r"words.json:1: word is None; give a text; give texts as `word`"):
        read_words(tmp_path / "words.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "not JSON"),
        ("{}", "no list with entries"),
        ("[]", "no list with entries"),
        (
            '[{"word": "a", "definitions": "b"}, {"word": "a"}]',
            "queries.json:2: definitions is None; give a text; give texts as",
        ),
        ('[{"word": "a", "definitions": ["b"]}]', r"queries.json:1: definitions is \['b'\]"),
    ],
)
def test_queries_that_do_not_fit_are_named(tmp_path, text: str, words: str) -> None:
    path = tmp_path / "queries.json"
    with pytest.raises(ValueError, match=r"queries.json: no such file"):
        read_queries(path)
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_queries(path)
    path.write_text('[{"word": "Paris", "definitions": "a city", "lexnames": []}]')
    assert read_queries(path) == [("paris", "a city")]


def test_temporary_files_of_a_crash_do_not_stop_a_new_run(tmp_path) -> None:
    source, folder = write_jsonl(tmp_path / "pairs.jsonl", PAIRS[:50]), tmp_path / "set"
    folder.mkdir()
    (folder / unfinished_name("rows.jsonl")).write_text("half")
    assert job(source, folder).run()["pairs"] == 50
    assert not list(folder.glob(".*"))


def test_every_different_text_is_embedded_once_and_the_longest_come_first(tmp_path) -> None:
    pairs = [(f"{'long ' * (row % 7)}text {row % 50}", f"word{row % 60}") for row in range(400)]
    batches = []

    class Counting(ToyEncoder):
        def __call__(self, texts):
            batches.append(list(texts))
            return super().__call__(texts)

    candidates = tmp_path / "c.txt"
    candidates.write_text("".join(f"word{row}\n" for row in range(80)))
    source = write_jsonl(tmp_path / "pairs.jsonl", pairs)
    manifest = job(source, tmp_path / "set", Counting(), candidates=candidates).run()
    texts = [text for batch in batches for text in batch]
    assert len(texts) == len(set(texts)) == manifest["texts_embedded"] == 350 + 80
    assert [len(text) for text in texts] == sorted((len(text) for text in texts), reverse=True)
    data = load_data(str(tmp_path / "set"))
    torch.testing.assert_close(data.train.inputs[:], ToyEncoder()(data.train.input_texts))


@pytest.mark.parametrize("store", ["float16", "int8"])
def test_numbers_can_take_less_room(tmp_path, store: str) -> None:
    source = write_jsonl(tmp_path / "pairs.jsonl")
    rows = PairRows(source, "input", "target")
    EmbedJob(rows, tmp_path / "small", ToyEncoder(), ToyEncoder(), store=store).run()
    job(source, tmp_path / "whole").run()
    small, whole = (np.load(tmp_path / name / "inputs.npy", mmap_mode="r") for name in ("small", "whole"))
    assert (small.dtype, small.nbytes * {"float16": 2, "int8": 4}[store]) == (np.dtype(store), whole.nbytes)
    found, expected = (load_data(str(tmp_path / name)) for name in ("small", "whole"))
    torch.testing.assert_close(found.train.inputs[:], expected.train.inputs[:], atol=0.005, rtol=0)
    assert found.train.inputs.dtype == torch.float32


@pytest.mark.parametrize(("store", "small"), [("float16", 1e-9), ("float16", 1e-7), ("int8", 1e-4)])
def test_rows_that_a_type_would_lose_are_refused_and_what_is_embedded_is_kept(tmp_path, store: str, small) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 4))
    vectors[7] *= small
    source = tmp_path / "pairs.jsonl"
    lines = [{"input": f"definition {row}", "target": vector.tolist()} for row, vector in enumerate(vectors)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows, encoder = PairRows(source, "input", "target"), ToyEncoder()
    with pytest.raises(ValueError, match=rf"targets.npy: row 7 \(from 0\) loses its direction as {store}, .*float32"):
        EmbedJob(rows, tmp_path / "set", encoder, encoder, store=store).run()
    again = ToyEncoder()
    EmbedJob(rows, tmp_path / "set", again, again).run()
    assert again.seen == 0
    np.testing.assert_array_equal(np.load(tmp_path / "set" / "targets.npy"), vectors.astype(np.float32))
    job(source, tmp_path / "whole" / "set").run()
    assert checksums(tmp_path / "set") == checksums(tmp_path / "whole" / "set")
    names = {path.name for path in (tmp_path / "set").iterdir()}
    assert names == {*checksums(tmp_path / "set"), "manifest.json"}


def test_a_full_disk_is_said_in_words_and_the_job_goes_on(tmp_path, monkeypatch) -> None:
    import errno

    from energy_flow.data import text_store

    source = write_jsonl(tmp_path / "pairs.jsonl")
    write, calls = text_store._write_at, []

    def full(path, offset, values):
        calls.append(path)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, offset, values)

    monkeypatch.setattr(text_store, "_write_at", full)
    with pytest.raises(ValueError, match="disk full: .*set .*make room and run the same command again"):
        job(source, tmp_path / "set").run()
    monkeypatch.setattr(text_store, "_write_at", write)
    job(source, tmp_path / "set").run()
    job(source, tmp_path / "whole" / "set").run()
    assert checksums(tmp_path / "set") == checksums(tmp_path / "whole" / "set")


def test_a_job_that_was_cut_while_reading_takes_any_encoder_and_later_its_own(tmp_path, monkeypatch) -> None:
    from energy_flow.data import first_pass

    class Other(ToyEncoder):
        name = "other"

    source = write_jsonl(tmp_path / "pairs.jsonl")
    monkeypatch.setattr(first_pass, "assign_splits", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        job(source, tmp_path / "set").run()
    monkeypatch.undo()
    with pytest.raises(KeyboardInterrupt):
        job(source, tmp_path / "set", Other(1024)).run()
    with pytest.raises(ValueError, match="holds another set: its input_encoder is 'other', this one's 'toy'"):
        job(source, tmp_path / "set").run()
    assert job(source, tmp_path / "set", Other()).run()["input_encoder"] == "other"


def test_vectors_may_have_texts_beside_them(tmp_path) -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 4)).round(4)
    lines = [{"old": v.tolist(), "new": v[::-1].tolist(), "text": f"document {row}"} for row, v in enumerate(vectors)]
    source = tmp_path / "store.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    candidates = tmp_path / "c.jsonl"
    bank = [{"text": line["text"], "vector": line["new"]} for line in lines] + [
        {"text": "more", "vector": [1, 2, 3, 4]}
    ]
    candidates.write_text("".join(json.dumps(one) + "\n" for one in bank))
    rows = PairRows(source, "old", "new", target_text_column="text")
    EmbedJob(rows, tmp_path / "set", ToyEncoder(), ToyEncoder(), candidates).run()
    data = load_data(str(tmp_path / "set"))
    assert data.bank is not None
    assert (len(data.bank.texts), data.encoders, data.train.input_texts) == (61, None, ())
    place = data.bank.texts.index(data.test.target_texts[0])
    torch.testing.assert_close(data.bank.embeddings[place], data.test.targets[0])
    with pytest.raises(ValueError, match=r"pairs.jsonl:1: input holds texts already, so target cannot be its text"):
        list(PairRows(write_jsonl(tmp_path / "pairs.jsonl"), "input", "target", input_text_column="target"))
    (tmp_path / "bare.txt").write_text("document 0\n")
    with pytest.raises(ValueError, match="candidates are texts without vectors"):
        EmbedJob(rows, tmp_path / "other", ToyEncoder(), ToyEncoder(), tmp_path / "bare.txt").run()


def test_splits_of_a_source_are_kept_and_what_they_leak_is_counted(tmp_path) -> None:
    given = {"train": range(20), "dev": range(18, 24), "test": range(30, 36)}  # dev has two rows of the training
    for name, numbers in given.items():
        pairs = [(f"definition number {row}", f"word{row}") for row in numbers]
        (tmp_path / "pairs").mkdir(exist_ok=True)
        write_jsonl(tmp_path / "pairs" / f"{name}.jsonl", pairs)
    manifest = EmbedJob(
        PairRows(tmp_path / "pairs", "input", "target"), tmp_path / "set", ToyEncoder(), ToyEncoder()
    ).run()
    assert np.bincount(np.load(tmp_path / "set" / "split.npy")).tolist() == [20, 6, 6]
    assert manifest["leaked"] == 2


def test_a_set_that_grows_keeps_its_splits(tmp_path) -> None:
    source = write_jsonl(tmp_path / "pairs.jsonl", [(f"definition number {row}", f"word{row}") for row in range(300)])
    job(source, tmp_path / "old").run()
    old = np.load(tmp_path / "old" / "split.npy")
    train, test = int((old == 0).argmax()), int((old == 2).argmax())
    with source.open("a") as file:
        for row in range(300, 600):
            file.write(json.dumps({"input": f"definition number {row}", "target": f"word{row}"}) + "\n")
        for given, wanted in ((train, test), (test, test), (train, 700)):  # the first joins what is apart
            file.write(json.dumps({"input": f"definition number {given}", "target": f"word{wanted}"}) + "\n")
    rows = PairRows(source, "input", "target")
    EmbedJob(rows, tmp_path / "new", ToyEncoder(), ToyEncoder(), splits_from=tmp_path / "old").run()
    new = np.load(tmp_path / "new" / "split.npy")
    assert (new[:300] == old).all()
    assert new[600:].tolist() == [3, 2, 0]
    job(source, tmp_path / "free").run()
    assert (np.load(tmp_path / "free" / "split.npy")[:300] == old).mean() > 0.95
