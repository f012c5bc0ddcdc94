"""Rows in a file are the rows of a tensor: the same numbers, the same training, whatever is asked for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from energy_flow.config import create_config
from energy_flow.core import create_processor
from energy_flow.data import load_data
from energy_flow.data.checked_rows import check_embeddings
from energy_flow.data.pair_folder import load_pair_folder, read_manifest, write_pair_folder
from energy_flow.data.pairs import PairSet
from energy_flow.data.stored_rows import StoredRows, chunks, open_npy, open_safetensors, select_rows
from energy_flow.training import EnergyTrainer, measure


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "matrix.npy"
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(1))
    np.save(path, rows.numpy())
    return path, rows


def stored(path) -> StoredRows:
    rows = open_npy(path, in_memory=0)
    assert isinstance(rows, StoredRows)
    return rows


@given(index=st.lists(st.integers(0, 499), max_size=40), start=st.integers(0, 499), step=st.integers(1, 60))
def test_stored_rows_are_the_tensors_rows(matrix, index, start, step) -> None:
    path, rows = matrix
    chosen = torch.tensor(index, dtype=torch.long)
    assert torch.equal(stored(path).index_select(0, chosen), rows[chosen])
    assert torch.equal(stored(path)[start::step], rows[start::step])
    part = torch.arange(3, 500, 7)
    assert torch.equal(stored(path).subset(part)[start // 10 :], rows[part][start // 10 :])
    again = torch.tensor([5, 0, 5])
    assert torch.equal(stored(path).subset(part).index_select(0, again), rows[part][again])
    assert torch.equal(stored(path).subset(part).subset(again)[:], rows[part][again])


def test_small_matrices_are_tensors_and_large_ones_stay(matrix) -> None:
    path, rows = matrix
    assert torch.equal(open_npy(path), rows)
    assert torch.equal(open_npy(path, in_memory=500 * 6 * 4), rows)
    lazy = stored(path)
    assert (lazy.shape, len(lazy), lazy.dtype) == ((500, 6), 500, torch.float32)
    assert torch.equal(torch.cat(list(chunks(lazy))), rows)
    assert torch.equal(pickle.loads(pickle.dumps(lazy))[:5], rows[:5])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_safetensors_of_every_floating_type(tmp_path, dtype) -> None:
    rows = torch.randn(40, 3).to(dtype)
    save_file({"before": torch.ones(3), "rows": rows, "whole": torch.ones(2, 2).long()}, tmp_path / "m.safetensors")
    lazy = open_safetensors(tmp_path / "m.safetensors", "rows", in_memory=0)
    assert isinstance(lazy, StoredRows)
    assert torch.equal(lazy[:], rows.float())
    for name, words in (("nothing", "but not 'nothing'"), ("whole", "whole has shape .* and dtype I64")):
        with pytest.raises(ValueError, match=words):
            open_safetensors(tmp_path / "m.safetensors", name)


def test_files_that_are_no_matrix_are_named(tmp_path, matrix) -> None:
    np.save(tmp_path / "whole.npy", np.ones((3, 3), dtype=np.int64))
    with pytest.raises(ValueError, match=r"whole.npy: holds int64 of shape \(3, 3\)"):
        open_npy(tmp_path / "whole.npy")
    (tmp_path / "text.npy").write_text("no")
    with pytest.raises(ValueError, match=r"text.npy: not an .npy file"):
        open_npy(tmp_path / "text.npy")
    path = tmp_path / "cut.npy"
    path.write_bytes(matrix[0].read_bytes())
    lazy = stored(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="ends before row 500"):
        lazy[490:]


def test_a_row_that_is_not_finite_is_found_in_a_file(tmp_path) -> None:
    rows = np.ones((20_000, 2), dtype=np.float32)
    rows[17_123, 1] = np.nan
    np.save(tmp_path / "rows.npy", rows)
    with pytest.raises(ValueError, match=r"1 rows with NaN .* first row 17123"):
        check_embeddings("mine", stored(tmp_path / "rows.npy"))


def blocks(count: int):
    for split in ("train", "train", "validation", "test"):
        inputs = torch.randn(count, 12)
        yield split, inputs, inputs[:, :8]


def test_training_from_a_file_gives_the_same_bits_as_from_memory(tmp_path) -> None:
    write_pair_folder(tmp_path / "set", 160, blocks(40), {"name": "mine"})
    config = create_config(
        "tiny",
        input_embedding_dim=12,
        output_embedding_dim=8,
        carrier_hidden_size=8,
        carrier_num_layers=1,
        batch_size=16,
        epochs=2,
    )
    outputs = []
    for in_memory in (0, 2**20):
        data = load_pair_folder(tmp_path / "set", in_memory)
        assert isinstance(data.train.inputs, StoredRows) == (in_memory == 0)
        torch.manual_seed(0)
        trainer = EnergyTrainer(create_processor(config), config)
        trainer.fit(data)
        outputs.append((trainer.predict(data.test.inputs), trainer.evaluate(data.test)))
    assert torch.equal(outputs[0][0], outputs[1][0])
    assert outputs[0][1] == outputs[1][1]


def test_figures_of_a_file_are_those_of_memory(tmp_path, matrix) -> None:
    path, rows = matrix
    outputs = rows + 0.1
    assert measure(outputs, PairSet(rows, stored(path))) == measure(outputs, PairSet(rows, rows))
    assert torch.equal(select_rows(stored(path), torch.tensor([3, 1]))[:], rows[[3, 1]])


def test_a_written_set_loads_and_miscounted_ones_are_refused(tmp_path) -> None:
    manifest = write_pair_folder(tmp_path / "set", 160, blocks(40), {"name": "mine"})
    assert read_manifest(tmp_path / "set") == manifest
    data = load_data(str(tmp_path / "set"))
    assert [len(part) for part in (data.train, data.validation, data.test)] == [80, 40, 40]
    assert (data.name, data.bank, data.encoders) == ("mine", None, None)
    with pytest.raises(ValueError, match="holds files already"):
        write_pair_folder(tmp_path / "set", 160, blocks(40), {"name": "mine"})
    with pytest.raises(ValueError, match="161 rows were announced and 160 written"):
        write_pair_folder(tmp_path / "other", 161, blocks(40), {"name": "mine"})
    with pytest.raises(ValueError, match="the set is not finished"):
        load_data(str(tmp_path / "other"))
    (tmp_path / "set" / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="not a manifest of a pair set"):
        load_data(str(tmp_path / "set"))
