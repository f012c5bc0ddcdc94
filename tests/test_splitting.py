"""What two rows share never stands on both sides of a split, and a source that grows keeps its splits."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from energy_flow.data.pair_folder import read_keys
from energy_flow.data.splitting import (
    LEFT_OUT,
    TEST,
    TRAIN,
    VALIDATION,
    KnownSplits,
    assign_splits,
    components,
    keys_of,
    leaks,
)
from energy_flow.data.text_rows import PairRow, PairRows

from .test_embedding import job


def rows_of(pairs) -> list[PairRow]:
    return [PairRow(line, str(line), given, wanted) for line, (given, wanted) in enumerate(pairs, start=1)]


def random_pairs(rows: int, inputs: int, targets: int, seed: int = 0) -> list[PairRow]:
    generator = np.random.default_rng(seed)
    return rows_of((f"gloss {generator.integers(inputs)}", f"word {generator.integers(targets)}") for _ in range(rows))


@pytest.mark.parametrize(("inputs", "targets"), [(10**6, 10**6), (4000, 6000), (20_000, 3000)])
@pytest.mark.parametrize("held_out", [0.05, 0.1, 0.2])
def test_splits_have_about_their_shares_and_share_nothing(inputs: int, targets: int, held_out: float) -> None:
    keys = keys_of(random_pairs(6000, inputs, targets))
    split = assign_splits(keys, held_out)
    assert leaks(keys, split) == 0
    counts = np.bincount(split, minlength=4)
    assert counts[LEFT_OUT] == 0
    for held in (VALIDATION, TEST):
        assert 0.6 * held_out < counts[held] / 6000 < 1.45 * held_out


def test_rows_hang_together_over_both_sides() -> None:
    labels = components([np.array([1, 1, 2, 3, 4], dtype=np.uint64), np.array([7, 8, 8, 9, 9], dtype=np.uint64)])
    assert labels.tolist() == [0, 0, 0, 3, 3]
    long = np.random.default_rng(0).permutation(100_000)  # one chain of rows, in any order
    begun = time.process_time()
    assert (components([(long // 2).astype(np.uint64), ((long + 1) // 2).astype(np.uint64)]) == 0).all()
    assert time.process_time() - begun < 3  # a tenth of a second; without shortcuts the steps are as many as the rows


def test_a_target_that_shares_nothing_keeps_the_split_of_its_checksum() -> None:
    """As in the sets of earlier versions."""
    pairs = [(f"thing {row}", f"word{row}") for row in range(300)]
    for (_, target), split in zip(pairs, assign_splits(keys_of(rows_of(pairs))), strict=True):
        share = int.from_bytes(hashlib.sha256(target.encode()).digest()[:8], "big") / 2**64
        assert split == (TEST if share < 0.1 else VALIDATION if share < 0.2 else TRAIN)


def test_texts_in_any_normal_form_and_equal_vectors_stay_together() -> None:
    pairs = [(f"thing {row}", f"word{row}") for row in range(200)]
    for row in range(0, 200, 2):
        pairs[row : row + 2] = [(f"one {row}", f"caf\u00e9 {row}"), (f"two {row}", f" cafe\u0301 {row}\n")]
    split = assign_splits(keys_of(rows_of(pairs)))
    assert (split[::2] == split[1::2]).all()
    assert len(set(split)) == 3
    vectors = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    vectors[:, 0] = 0.0
    rows = rows_of([(vector * sign, f"word{row}{sign}") for row, vector in enumerate(vectors) for sign in (1, 1)])
    split = assign_splits(keys_of(rows))
    assert (split[::2] == split[1::2]).all()
    negative = np.array([-0.0, 1.0], dtype=np.float32)
    assert len(set(keys_of(rows_of([(negative, "a"), (negative + 0.0, "b")])).columns["input"])) == 1


def test_rows_of_a_group_and_texts_beside_vectors_stay_together() -> None:
    pairs = [(f"passage {row}", f"question {row}") for row in range(300)]
    rows = [row._replace(group=f"document {number // 10}") for number, row in enumerate(rows_of(pairs))]
    split = assign_splits(keys_of(rows)).reshape(30, 10)
    assert (split == split[:, :1]).all()
    vectors = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    rows = [
        row._replace(wanted=vector, wanted_text=f"text {number // 3}")
        for number, (row, vector) in enumerate(zip(rows_of(pairs), vectors, strict=True))
    ]
    split = assign_splits(keys_of(rows)).reshape(100, 3)
    assert (split == split[:, :1]).all()


def test_a_large_set_of_rows_is_trained_on_and_others_are_held_out_for_it() -> None:
    pairs = [("one gloss", f"word{row}") for row in range(1000)] + [(f"g{row}", f"w{row}") for row in range(1000)]
    split = assign_splits(keys_of(rows_of(pairs)))
    assert (split[:1000] == TRAIN).all()
    assert 150 < (split == TEST).sum() < 250
    assert 150 < (split == VALIDATION).sum() < 250


@pytest.mark.parametrize("groups", [3, 4, 7])
def test_a_few_large_sets_still_give_three_splits(groups: int) -> None:
    pairs = [(f"thing {row % groups}", f"word{row}") for row in range(70)]
    split = assign_splits(keys_of(rows_of(pairs)))
    assert set(split) == {TRAIN, VALIDATION, TEST}
    with pytest.raises(ValueError, match=r"in 2 sets that cannot be divided.*more different inputs"):
        assign_splits(keys_of(rows_of([(f"thing {row % 2}", f"word{row}") for row in range(70)])))
    with pytest.raises(ValueError, match=r"in 1 set that cannot be divided"):
        assign_splits(keys_of(rows_of([("thing", f"word{row}") for row in range(70)])))


def test_appended_rows_move_no_earlier_row_but_those_that_they_tie_together() -> None:
    rows = random_pairs(5000, 8000, 8000)
    before = assign_splits(keys_of(rows[:3000]))
    after = assign_splits(keys_of(rows))
    moved = np.flatnonzero(after[:3000] != before)
    keys = keys_of(rows)
    early = components([column[:3000] for column in keys.arrays()])
    late = components(keys.arrays())[:3000]
    tied = {row for row in range(3000) if len(set(early[late == late[row]])) > 1}
    assert set(moved.tolist()) <= tied
    assert (after[:3000] == before).mean() > 0.8


def test_what_was_tested_is_never_trained_on_where_the_earlier_splits_are_given() -> None:
    rows = random_pairs(5000, 4000, 4000)
    keys = keys_of(rows[:3000])
    before = assign_splits(keys)
    after = assign_splits(keys_of(rows), known=KnownSplits.of(keys, before))
    assert (after[:3000] == before).all()
    assert leaks(keys_of(rows), after) == 0
    new = np.bincount(after[3000:], minlength=4)
    assert new[TRAIN] > 500
    assert new[TEST] > 0
    assert 0 < new[LEFT_OUT] < 1500
    shuffled = np.random.default_rng(1).permutation(5000)
    again = assign_splits(keys_of([rows[row] for row in shuffled]), known=KnownSplits.of(keys, before))
    assert (again[np.argsort(shuffled)][:3000] == before).all()


def test_a_new_row_goes_where_what_it_shares_lies_and_is_left_out_between_two_splits() -> None:
    rows = rows_of([("a", "A"), ("b", "B"), ("c", "C")])
    known = KnownSplits.of(keys_of(rows), np.array([TRAIN, TEST, VALIDATION], dtype=np.uint8))
    more = rows_of([("b", "new"), ("newer", "new"), ("a", "B"), ("a", "x"), ("b", "x"), ("c", "C"), ("y", "C")])
    split = assign_splits(keys_of(rows + more), known=known)
    assert split.tolist() == [0, 2, 1, TEST, TEST, LEFT_OUT, LEFT_OUT, LEFT_OUT, VALIDATION, VALIDATION]


def test_a_row_that_was_left_out_says_nothing_about_what_it_shares() -> None:
    rows = rows_of([("a", "B"), ("a", "A"), ("b", "B"), ("c", "C")])
    known = KnownSplits.of(keys_of(rows), np.array([LEFT_OUT, TRAIN, TEST, VALIDATION], dtype=np.uint8))
    more = rows_of([("a", "new"), ("newer", "B")])
    assert assign_splits(keys_of(rows + more), known=known).tolist() == [LEFT_OUT, TRAIN, TEST, VALIDATION, TRAIN, TEST]


def test_splits_of_the_source_are_kept_and_what_is_missing_comes_out_of_its_training() -> None:
    pairs = [(f"thing {row}", f"word{row}") for row in range(200)]
    rows = [row._replace(split=TEST if row.line % 5 == 0 else TRAIN) for row in rows_of(pairs)]
    keys = keys_of(rows)
    split = assign_splits(keys)
    given = np.array([row.split for row in rows])
    assert (split[given == TEST] == TEST).all()
    assert set(split[given == TRAIN]) == {TRAIN, VALIDATION}
    few = [row._replace(split=TRAIN) for row in rows_of([("a", "A"), ("b", "B")])]
    few.append(rows_of([("c", "C")])[0]._replace(split=TEST))
    assert sorted(assign_splits(keys_of(few)).tolist()) == [0, 1, 2]
    tied = [row._replace(given="one") for row in few]
    with pytest.raises(ValueError, match=r"has its own splits, but no validation, and no rows .* give all three"):
        assign_splits(keys_of(tied))


def write_pairs(path: Path, rows: list[PairRow]) -> Path:
    lines = (json.dumps({"input": row.given, "target": row.wanted}) for row in rows)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_set_on_disk_gives_its_splits_to_one_that_holds_more(tmp_path) -> None:
    rows = random_pairs(600, 500, 500)
    source = write_pairs(tmp_path / "pairs.jsonl", rows[:400])
    job(source, tmp_path / "first").run()
    before = np.load(tmp_path / "first" / "split.npy")
    assert (before == assign_splits(read_keys(tmp_path / "first")[0])).all()
    more = write_pairs(tmp_path / "more.jsonl", rows)
    replace(job(more, tmp_path / "second"), splits_from=tmp_path / "first").run()
    after = np.load(tmp_path / "second" / "split.npy")
    assert (after[:400] == before).all()
    assert leaks(keys_of(PairRows(more, "input", "target")), after) == 0
