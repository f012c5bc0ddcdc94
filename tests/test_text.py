from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from energy_flow.text import NearestTexts, TextEncoder


def test_nearest_texts_equal_brute_force() -> None:
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(300, 16, generator=generator), torch.randn(2100, 16, generator=generator)
    texts = [f"text {row}" for row in range(300)]
    found = NearestTexts(texts, bank)(queries, count=7)
    directions = bank.numpy() / np.linalg.norm(bank.numpy(), axis=1, keepdims=True)
    for row in range(0, 2100, 97):
        query = queries[row].numpy()
        cosine = directions @ (query / np.linalg.norm(query))
        order = np.argsort(-cosine)[:7]
        assert [match.text for match in found[row]] == [texts[place] for place in order]
        np.testing.assert_allclose([match.score for match in found[row]], cosine[order], rtol=1e-5)
    assert len(found) == 2100


@pytest.mark.parametrize("count", [0, 4])
def test_count_must_fit_the_bank(count: int) -> None:
    with pytest.raises(ValueError, match=f"count = {count}; give 1 to 3"):
        NearestTexts(["a", "b", "c"], torch.eye(3))(torch.eye(3), count=count)


def test_encoder_says_how_to_install_what_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'energy-flow\[text\]'"):
        TextEncoder()


def test_a_bank_row_without_direction_is_named() -> None:
    with pytest.raises(ValueError, match="'b' has a zero embedding"):
        NearestTexts(["a", "b"], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
