from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from energy_flow.data import TASKS, PairSet, Task, TextBank, load_data, load_shipped, make_task
from energy_flow.data.shipped import build_shipped, choose_senses, dequantise, quantise, read_shipped, split_words
from energy_flow.data.sources import data_settings, load_matrices
from energy_flow.data.tasks import CLASSES, accuracy, build_task, sudoku_grids
from energy_flow.data.wordnet import Sense, definition_of, read_senses

SHIPPED = Path(str(files("energy_flow.data") / "shipped"))
NOUNS = """  1 This software and database is being provided to you
00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived; "an example"
00001930 03 n 03 physical_entity 0 Thing 1 object 0 001 @ 00001740 n 0000 | an entity that has physical existence
"""


@pytest.fixture(scope="module")
def shipped():
    return load_shipped()


def test_shipped_set_is_whole(shipped) -> None:
    sizes = [len(part) for part in (shipped.train, shipped.validation, shipped.test)]
    assert sum(sizes) == 20_000
    assert sizes[0] > 15_900
    assert min(sizes) > 1_900
    assert shipped.train.inputs.shape[1] == shipped.train.targets.shape[1] == 384
    for part in (shipped.train, shipped.test):
        torch.testing.assert_close(part.inputs.norm(dim=1), torch.ones(len(part)))
        assert len(part.input_texts) == len(part.target_texts) == len(part)


def test_no_test_word_and_no_test_definition_is_trained_on(shipped) -> None:
    seen_words = set(shipped.train.target_texts)
    seen_definitions = set(shipped.train.input_texts)
    for part in (shipped.validation, shipped.test):
        assert not seen_words & set(part.target_texts)
        assert not seen_definitions & set(part.input_texts)


def test_targets_are_the_banks_rows(shipped) -> None:
    assert len(set(shipped.bank.texts)) == len(shipped.bank.texts)
    index = {word: row for row, word in enumerate(shipped.bank.texts)}
    rows = torch.tensor([index[word] for word in shipped.test.target_texts])
    assert torch.equal(shipped.bank.embeddings[rows], shipped.test.targets)


def test_shipped_set_is_small_enough_and_carries_its_notice() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 16 * 2**20
    notice = (Path(__file__).parent.parent / "NOTICE").read_text(encoding="utf-8")
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in notice


def test_a_changed_file_is_noticed(tmp_path) -> None:
    copy = tmp_path / "shipped"
    shutil.copytree(SHIPPED, copy)
    (copy / "words.txt").write_text("other\n")
    with pytest.raises(ValueError, match=r"words.txt: the checksum differs"):
        read_shipped(copy)
    (copy / "words.txt").unlink()
    with pytest.raises(ValueError, match=r"words.txt: no such file"):
        read_shipped(copy)


def test_int8_rows_keep_their_direction() -> None:
    rows = torch.nn.functional.normalize(torch.randn(100, 384), dim=1)
    restored = dequantise(*quantise(rows))
    assert float(torch.cosine_similarity(restored, rows).min()) > 0.9995


def write_wordnet(folder: Path) -> Path:
    folder.mkdir()
    (folder / "data.noun").write_text(NOUNS)
    for name in ("verb", "adv"):
        (folder / f"data.{name}").write_text("")
    (folder / "data.adj").write_text("00003131 00 a 01 able(p) 0 000 | having the necessary means\n")
    return folder


def test_wordnet_files_are_read_as_documented(tmp_path) -> None:
    senses = list(read_senses(write_wordnet(tmp_path / "wn")))
    assert senses == [
        Sense("entity", "that which is perceived", "noun:00001740"),
        Sense("thing", "an entity that has physical existence", "noun:00001930"),
        Sense("object", "an entity that has physical existence", "noun:00001930"),
        Sense("able", "having the necessary means", "adj:00003131"),
    ]
    assert definition_of(' a thing; another; "say it" \n') == "a thing; another"


def test_wordnet_errors_name_file_and_line(tmp_path) -> None:
    folder = write_wordnet(tmp_path / "wn")
    (folder / "data.noun").write_text(NOUNS + "broken\n")
    with pytest.raises(ValueError, match=r"data.noun:4: not a synset line"):
        list(read_senses(folder))
    with pytest.raises(ValueError, match=r"data.noun: no such file"):
        list(read_senses(tmp_path))


def test_every_synset_and_definition_is_chosen_once() -> None:
    senses = [Sense(word, f"meaning {n % 7} x", f"noun:{n % 9}") for n, word in enumerate("abcdefghij")]
    chosen = choose_senses(senses, 5, seed=0)
    assert len({sense.synset for sense in chosen}) == len({sense.definition for sense in chosen}) == 5
    assert chosen == choose_senses(senses, 5, seed=0)
    with pytest.raises(ValueError, match="ask for fewer"):
        choose_senses(senses, 11, seed=0)


def test_split_of_words_has_its_shares() -> None:
    split = split_words([f"w{n}" for n in range(1000)], seed=0)
    assert [list(split.values()).count(part) for part in range(3)] == [800, 100, 100]


def test_building_gives_the_same_files_again(tmp_path) -> None:
    wordnet = write_wordnet(tmp_path / "wn")

    def encode(texts):
        return torch.stack(
            [torch.nn.functional.normalize(torch.arange(1.0, 9) * len(text) % 5 + 1, dim=0) for text in texts]
        )

    cards = [build_shipped(wordnet, tmp_path / name, encode, "toy", count=3) for name in ("one", "two")]
    assert cards[0] == cards[1] == json.loads((tmp_path / "one" / "card.json").read_text())
    with pytest.raises(ValueError, match="holds files already"):
        build_shipped(wordnet, tmp_path / "one", encode, "toy", count=3)


def test_sudoku_grids_are_all_of_them() -> None:
    grids = sudoku_grids()
    assert grids.shape == (288, 16)
    assert len(grids.unique(dim=0)) == 288
    boxes = grids.view(-1, 2, 2, 2, 2).transpose(2, 3).reshape(-1, 4, 4)
    for groups in (grids.view(-1, 4, 4), grids.view(-1, 4, 4).transpose(1, 2), boxes):
        assert torch.equal(groups.sort(-1).values, torch.arange(1, 5).expand_as(groups))


def test_sudoku_puzzles_have_one_solution_and_held_out_grids() -> None:
    data = make_task("sudoku-4", 500, test_rows=300)
    digits = [part.inputs.view(-1, 16, 5).argmax(-1) for part in (data.train, data.test)]
    solutions = [part.targets.view(-1, 16, 4).argmax(-1) + 1 for part in (data.train, data.test)]
    for shown, solution in zip(digits, solutions, strict=True):
        clues = (shown > 0).sum(1)
        assert int(clues.min()) >= 4
        assert int(clues.max()) <= 8
        for row, answer in zip(shown[:50], solution[:50], strict=True):
            agree = ((sudoku_grids() == row) | (row == 0)).all(1)
            assert int(agree.sum()) == 1
            assert torch.equal(sudoku_grids()[agree][0], answer)
    train_grids, test_grids = ({tuple(grid) for grid in solution.tolist()} for solution in solutions)
    assert not train_grids & test_grids


def test_conditional_permutation_moves_blocks_as_the_first_one_says() -> None:
    data = make_task("conditional-permutation", 400)
    inputs, targets = (rows.view(-1, 16, 4) for rows in (data.train.inputs, data.train.targets))
    choice = inputs[:, 0].argmax(1)
    for selector in range(4):
        rows = (choice == selector).nonzero().flatten()
        order = [int((inputs[rows[0]] == block).all(1).nonzero()) for block in targets[rows[0]]]
        assert sorted(order) == list(range(16))
        assert order[0] == 0
        assert torch.equal(inputs[rows][:, order], targets[rows])


def test_deep_teacher_is_three_quarters_linear() -> None:
    data = make_task("deep-teacher", 8000)
    weights = torch.linalg.lstsq(data.train.inputs[:], data.train.targets[:]).solution
    assert TASKS["deep-teacher"].metric(data.test.inputs[:] @ weights, data.test.targets[:]) == pytest.approx(
        0.75, abs=0.02
    )


def test_digits_are_patches_of_the_images_in_three_splits() -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    images, classes = sklearn_datasets.load_digits(return_X_y=True)
    data = make_task("digits", 5000)
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [1437, 180, 180]
    everything = torch.cat([torch.cat((part.inputs[:], part.targets[:]), dim=1) for part in parts])
    known = {tuple(image / 8 - 1): label for image, label in zip(images, classes, strict=True)}
    for row in everything[::50]:
        image = row[:64].view(4, 4, 2, 2).transpose(1, 2).reshape(64)
        assert known[tuple(image.double().tolist())] == int(row[64:].argmax())
    assert TASKS["digits"].metric(data.test.targets[:] * 2 - 1, data.test.targets[:]) == 1.0


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_built_as_a_set_with_a_card(tmp_path, name: str) -> None:
    if name == "digits":
        pytest.importorskip("sklearn")
    manifest = build_task(name, tmp_path / "set", 40, 30, seed=1)
    data, same = load_data(str(tmp_path / "set")), make_task(name, 40, 30, seed=1)
    for split in ("train", "validation", "test"):
        assert torch.equal(getattr(data, split).inputs[:], getattr(same, split).inputs[:])
        assert torch.equal(getattr(data, split).targets[:], getattr(same, split).targets[:])
    assert data_settings(data) == data_settings(same)
    assert {"what", "metric", "licence", "made_by", "pairs_per_split"} <= set(manifest)


def test_rotation_keeps_lengths_and_splits_differ() -> None:
    data = make_task("rotation", 100)
    torch.testing.assert_close(data.train.inputs.norm(dim=1), data.train.targets.norm(dim=1))
    assert not torch.equal(data.train.inputs[:50], data.test.inputs[:50])
    assert torch.equal(make_task("rotation", 100).train.targets, data.train.targets)
    assert TASKS["rotation"].metric(data.test.targets, data.test.targets) == 1.0


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: make_task("riddle", 10), "data = 'riddle'; no such task is registered: give one of identity"),
        (lambda: load_data("nowhere.safetensors"), "neither a file, nor a folder, nor one of shipped, identity"),
        (lambda: PairSet(torch.ones(2, 2), torch.ones(2, 2), input_texts=["a"]), "input_texts has 1 texts for 2 rows"),
        (lambda: TextBank(["a"], torch.ones(2, 2)), "1 texts and 2 embeddings"),
    ],
)
def test_what_does_not_fit_is_named(build, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()


def parity(rows, split, fixed, random):
    """Signs; whether an even number of them is negative, one-hot."""
    signs = torch.randint(2, (rows, 8), generator=random) * 2.0 - 1
    return signs, torch.eye(2)[(signs.prod(1) > 0).long()]


def parity_task(sample=parity, **changes) -> Task:
    return Task("signs; their parity", sample, "accuracy", accuracy, CLASSES | {"target_classes": 2}, **changes)


def test_a_task_of_ones_own_is_data_as_any_other(tasks, tmp_path) -> None:
    tasks.add("parity", parity_task())
    data, drawn = load_data("parity", seed=3), make_task("parity", 40, 30, seed=3)
    assert (data.task, len(data.train), len(data.test)) == ("parity", 50_000, 2000)
    assert tasks["parity"].metric(data.test.targets, data.test.targets) == 1.0
    assert data_settings(drawn) == CLASSES | {
        "target_classes": 2,
        "input_embedding_dim": 8,
        "output_embedding_dim": 2,
    }
    assert build_task("parity", tmp_path / "set", 40, 30, seed=3)["licence"] == "not stated"
    stored = load_data(str(tmp_path / "set"))
    assert torch.equal(stored.train.inputs[:], drawn.train.inputs[:])
    del tasks._entries["parity"]
    for use in (
        lambda: data_settings(stored),
        lambda: make_task("parity", 4),
        lambda: build_task("parity", tmp_path, 4),
    ):
        with pytest.raises(ValueError, match="'parity'; no such task is registered: .* or import the module"):
            use()


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        (lambda rows: (torch.ones(rows + 1, 3), torch.ones(rows + 1, 2)), "asked for 40 rows for train and gives 41"),
        (lambda rows: (torch.ones(rows - 1, 3), torch.ones(rows - 1, 2)), "gives 39; give as many as asked .*finite=T"),
        (lambda rows: (torch.ones(rows, 3), torch.ones(1, 2)), "for train: inputs has 40 rows and targets 1; give one"),
        (lambda rows: (torch.ones(rows), torch.ones(rows, 2)), r"train: inputs has shape \(40,\); give a matrix"),
        (lambda rows: (torch.ones(rows, 3), torch.ones(rows, 2).long()), "for train: targets has dtype torch.int64"),
        (lambda rows: torch.ones(2, rows, 3), r"its sampler gives a Tensor; give a pair \(inputs, targets\)"),
        (lambda rows: (torch.ones(rows, rows), torch.ones(rows, 2)), "inputs of width 40 for train and 30 for valid"),
    ],
)
def test_rows_that_a_task_draws_wrongly_are_named(tasks, drawn, words: str) -> None:
    tasks.add("broken", parity_task(lambda rows, split, fixed, random: drawn(rows)))
    with pytest.raises(ValueError, match=f"task 'broken': .*{words}"):
        make_task("broken", 40, 30)


def test_a_finite_task_may_give_fewer_rows_but_not_more(tasks) -> None:
    tasks.add("few", parity_task(lambda rows, *rest: parity(min(rows, 20), *rest), finite=True))
    assert [len(make_task("few", rows, 10).train) for rows in (5, 20, 90)] == [5, 20, 20]
    tasks.add("all", parity_task(lambda rows, *rest: parity(20, *rest), finite=True))
    with pytest.raises(ValueError, match="task 'all': its sampler was asked for 10 rows for validation and gives 20"):
        make_task("all", 20, 10)


def test_files_of_the_users(tmp_path) -> None:
    path = tmp_path / "mine.safetensors"
    inputs = torch.arange(400.0).view(100, 4)
    save_file({"inputs": inputs, "targets": inputs[:, :2].half()}, path)
    data = load_data(str(path))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [80, 10, 10]
    together = torch.cat([part.inputs[:, 0] for part in (data.train, data.validation, data.test)])
    assert torch.equal(together.sort().values, inputs[:, 0])
    assert data.train.targets.dtype == torch.float32
    save_file({"inputs": inputs}, path)
    with pytest.raises(ValueError, match=r"holds inputs, but not 'targets'"):
        load_data(str(path))
    path.write_text("not safetensors")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_matrices(path, ("inputs",))
