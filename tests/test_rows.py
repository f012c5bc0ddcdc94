"""Rows are converted once, where they enter, or refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from energy_flow.core import create_processor
from energy_flow.data import PairSet, TextBank
from energy_flow.text import NearestTexts
from energy_flow.training import EnergyTrainer, Judge

from .test_training import SMALL, pairs

KINDS = {
    "float64": lambda rows: rows.double(),
    "float16": lambda rows: rows.half(),
    "bfloat16": lambda rows: rows.bfloat16(),
    "numpy": lambda rows: rows.numpy(),
    "numpy that is read only": lambda rows: np.broadcast_to(rows.double().numpy(), rows.shape),
    "with a gradient": lambda rows: rows.clone().requires_grad_(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_kind_train_and_are_judged_as_float32_is(kind: str) -> None:
    rows, convert = pairs(9), KINDS[kind]
    as_float = [torch.as_tensor(np.array(convert(each).tolist()), dtype=torch.float32) for each in pairs_of(rows)]
    results = []
    for inputs, targets in (map(convert, pairs_of(rows)), as_float):
        trainer = EnergyTrainer(create_processor(SMALL), SMALL)
        trainer.train(inputs, targets, epochs=1)
        texts = [f"w{row}" for row in range(9)]
        named = PairSet(inputs, targets, texts, texts)
        figures = trainer.evaluate(named, TextBank(texts, targets))
        nearest = NearestTexts(texts, targets)(targets, 2)
        results.append((trainer.predict(inputs).tolist(), figures, nearest, Judge().measure(targets, named)))
    assert results[0] == results[1]


def pairs_of(rows: PairSet) -> tuple:
    return rows.inputs, rows.targets


def test_rows_that_fit_are_not_copied() -> None:
    inputs, targets = pairs_of(pairs(4))
    held = PairSet(inputs, targets.numpy())
    assert held.inputs is inputs
    assert held.targets[:].data_ptr() == targets.data_ptr()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (torch.full((3, 4), 2.0, dtype=torch.float64).index_fill(0, torch.tensor(1), 1e300), "first row 1.*3.4e38"),
        (np.array([[1.0, 2.0], [1e300, 1.0]]), "first row 1.*3.4e38"),
        (np.ones((2, 2), dtype=np.int32), r"dtype int32; embeddings are floating: convert with .astype\('float32'\)"),
        (torch.ones(2, 2, dtype=torch.int32), "dtype torch.int32; embeddings are floating"),
        ([[1.0, 2.0]], "inputs is a list; give a torch tensor or a NumPy array"),
    ],
)
def test_what_cannot_be_float32_is_refused_in_one_line(rows, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        PairSet(rows, rows)
    assert "\n" not in str(refused.value)
