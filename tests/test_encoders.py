"""Encoders: prompts, windows, weights that are known again, and libraries other than sentence-transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from energy_flow.cli import main
from energy_flow.data import load_data
from energy_flow.data.pair_folder import read_manifest
from energy_flow.text import EncoderSettings, TextEncoder, encoders_of, open_encoder

LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789:")


def save_static(folder: Path, seed: int, **options) -> Path:
    """A table of a vector for each letter, as a model of sentence-transformers."""
    tokenizers = pytest.importorskip("tokenizers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({letter: row for row, letter in enumerate(LETTERS)}, []))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    weights = torch.randn(len(LETTERS), 16, generator=torch.Generator().manual_seed(seed)).numpy()
    table = StaticEmbedding(tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[table], device="cpu", **options).save(str(folder))
    return folder


@pytest.fixture(scope="module")
def static(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    save_static(folder / "a", 1)
    save_static(folder / "b", 2)
    save_static(folder / "prompts", 1, prompts={"query": "query: ", "document": "passage: "})
    return folder


@pytest.fixture
def pairs(tmp_path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [{"input": f"thing {row}", "target": f"word{row % 40}"} for row in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def embed(source: Path, folder: Path, encoder: str | Path, *options: str) -> None:
    main(["data", "embed", str(source), str(folder), "--encoder", str(encoder), "--device", "cpu", *options])


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        embed(*arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_prompts_are_those_of_the_model_on_each_side(static, pairs, tmp_path) -> None:
    from sentence_transformers import SentenceTransformer

    embed(pairs, tmp_path / "set", static / "prompts", "--input-prompt", "query", "--target-prompt", "document")
    model = SentenceTransformer(str(static / "prompts"), device="cpu")
    inputs, targets = np.load(tmp_path / "set" / "inputs.npy"), np.load(tmp_path / "set" / "targets.npy")
    texts = [json.loads(line) for line in pairs.read_text().splitlines()]
    given = model.encode_query([row["input"] for row in texts], normalize_embeddings=True)
    wanted = model.encode_document([row["target"] for row in texts], normalize_embeddings=True)
    np.testing.assert_allclose(inputs, given, atol=1e-6)
    np.testing.assert_allclose(targets, wanted, atol=1e-6)
    encoders = encoders_of(load_data(str(tmp_path / "set")))
    assert encoders is not None
    np.testing.assert_allclose(encoders[0]([texts[0]["input"]]).numpy(), inputs[:1], atol=1e-6)
    words = TextEncoder(EncoderSettings(str(static / "a"), prompt="query: "))(["thing 0"])
    np.testing.assert_allclose(words.numpy(), inputs[:1], atol=1e-6)


def test_a_prompt_that_the_model_has_not_is_named(static, pairs, tmp_path, capsys) -> None:
    line = refused(capsys, pairs, tmp_path / "set", static / "prompts", "--input-prompt", "qeury")
    assert "has no prompt 'qeury', but query, document; give one of these names" in line
    assert not (tmp_path / "set").exists()


def test_weights_that_were_swapped_are_refused(static, pairs, tmp_path, capsys) -> None:
    shutil.copytree(static / "a", tmp_path / "model")
    embed(pairs, tmp_path / "set", tmp_path / "model")
    done = json.loads((tmp_path / "set" / "manifest.json").read_text())
    (tmp_path / "set" / "manifest.json").rename(tmp_path / "manifest.json")  # as if it had not ended
    (tmp_path / "set" / "job.json").write_text(json.dumps(done | {"stores": {"texts-input": {"done": 100}}}))
    shutil.rmtree(tmp_path / "model")
    shutil.copytree(static / "b", tmp_path / "model")
    line = refused(capsys, pairs, tmp_path / "set", tmp_path / "model")
    assert "holds another set: its input encoder's fingerprint is 'files" in line
    (tmp_path / "manifest.json").rename(tmp_path / "set" / "manifest.json")
    with pytest.raises(ValueError, match="its weights differ from those that embedded the set"):
        encoders_of(load_data(str(tmp_path / "set")))
    card = read_manifest(tmp_path / "set")["input_encoder_card"]
    assert open_encoder(card, model=str(static / "a"))(["thing"]).shape == (1, 16)


def test_a_missing_encoder_is_one_line_before_anything_is_written(static, pairs, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    for name, words in (
        ("./models/none", "no such folder"),
        (tmp_path / "none", "no such folder"),
        ("json:nothing", "json has no function 'nothing'"),
        ("no_such_module:encode", "No module named 'no_such_module'"),
        ("model2vec:./none", "no such folder"),
    ):
        assert words in refused(capsys, pairs, tmp_path / "set", name)
        assert not (tmp_path / "set").exists()
    embed(pairs, tmp_path / "set", static / "a")
    assert read_manifest(tmp_path / "set")["pairs"] == 60


def test_the_path_of_an_encoder_is_whole_where_it_is_stored(static, pairs, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(static)
    embed(pairs, tmp_path / "set", "./a")
    monkeypatch.chdir(tmp_path)
    assert read_manifest(tmp_path / "set")["input_encoder"] == str(static / "a")
    assert encoders_of(load_data(str(tmp_path / "set"))) is not None


def test_texts_that_are_cut_are_counted_on_each_side(tmp_path, capsys) -> None:
    rows = [
        {"input": f"thing {row} " + "and more " * (200 if row % 5 == 0 else 1), "target": f"word{row}"}
        for row in range(10)
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    main(["data", "embed", str(tmp_path / "pairs.jsonl"), str(tmp_path / "set"), "--device", "cpu"])
    assert "2 texts of inputs.npy are longer than what the encoder reads" in " ".join(capsys.readouterr().out.split())
    assert read_manifest(tmp_path / "set")["cut"] == {"inputs.npy": 2, "targets.npy": 0}
    options = ["--device", "cpu", "--max-tokens", "5"]
    main(["data", "embed", str(tmp_path / "pairs.jsonl"), str(tmp_path / "short"), *options])
    assert read_manifest(tmp_path / "short")["cut"]["inputs.npy"] >= 9


def test_a_model_that_names_no_limit_is_cut_at_its_places(tmp_path) -> None:
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = ["<s>", "<pad>", "</s>", "<unk>"] + [f"word{row}" for row in range(50)]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    fast.save_pretrained(tmp_path / "encoder")
    config = transformers.RobertaConfig(
        vocab_size=54, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=34, pad_token_id=1,
    )  # fmt: skip
    transformers.RobertaModel(config).save_pretrained(tmp_path / "encoder")
    encoder = TextEncoder(str(tmp_path / "encoder"))
    texts = [" ".join(["word1"] * length) for length in (5, 32, 33, 200)]
    assert encoder(texts).shape == (4, 8)
    assert encoder.is_cut(texts) == [False, False, True, True]


def test_vectors_can_be_shorter_and_of_any_length(static) -> None:
    whole = TextEncoder(EncoderSettings(str(static / "a"), normalise=False))(["thing"])
    assert whole.norm() != pytest.approx(1, abs=1e-3)
    short = TextEncoder(EncoderSettings(str(static / "a"), truncate_dim=4))(["thing"])
    torch.testing.assert_close(short, torch.nn.functional.normalize(whole[:, :4], dim=1))
    with pytest.raises(ValueError, match="truncate_dim = 40: .* gives 16; give at most that"):
        TextEncoder(EncoderSettings(str(static / "a"), truncate_dim=40)).prepare()
    with pytest.raises(ValueError, match="truncate_dim = 0; give at least 1"):
        EncoderSettings(truncate_dim=0)


def test_texts_that_an_encoder_knows_nothing_of_are_left_out_and_named(static, pairs, tmp_path, capsys) -> None:
    with pairs.open("a") as file:
        file.write('{"input": "ÜÖ!", "target": "word1"}\n')
    embed(pairs, tmp_path / "set", static / "a")
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 rows are left out of all splits, as the encoder knows nothing of their texts" in printed
    assert "pairs.jsonl:61: 'ÜÖ!'" in printed
    data = load_data(str(tmp_path / "set"))
    assert sum(map(len, (data.train, data.validation, data.test))) == 60


def test_models_of_model2vec_and_functions_of_ones_own(pairs, tmp_path, monkeypatch) -> None:
    model2vec, tokenizers = pytest.importorskip("model2vec"), pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[UNK]": 0, "thing": 1, "word1": 2}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    model2vec.StaticModel(table, tokenizer).save_pretrained(tmp_path / "static")
    rows = TextEncoder(f"model2vec:{tmp_path / 'static'}")(["thing"])
    np.testing.assert_allclose(rows.numpy(), table[1:2] / np.linalg.norm(table[1]), atol=1e-6)
    (tmp_path / "my_encoder.py").write_text(
        "import numpy as np\n"
        "def encode(texts):\n"
        "    return np.array([[len(text), ord(text[-1])] for text in texts], dtype=np.float16)\n"
        "def broken(texts):\n"
        "    return np.zeros(3)\n"
    )
    monkeypatch.chdir(tmp_path)
    embed(pairs, tmp_path / "set", "my_encoder:encode", "--no-normalise")
    assert np.load(tmp_path / "set" / "inputs.npy")[3].tolist() == [7, ord("3")]
    with pytest.raises(ValueError, match=r"my_encoder:broken gave .* shape \(3,\) for 1 texts"):
        TextEncoder("my_encoder:broken").prepare()
    with pytest.raises(ValueError, match="my_encoder:encode: has no prompts by name, and 'query' is one"):
        TextEncoder(EncoderSettings("my_encoder:encode", prompt="query")).prepare()
    words = EncoderSettings("my_encoder:encode", prompt="query: ", normalise=False)
    assert TextEncoder(words)(["thing"]).tolist() == [[12, ord("g")]]


def test_a_library_that_is_missing_is_named_with_its_command(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, extra in (("model2vec:x", "model2vec"), ("fastembed:x", "fastembed"), ("someone/x", "text")):
        with pytest.raises(ImportError, match=rf"pip install 'energy-flow\[{extra}\]'"):
            TextEncoder(name).prepare()


def test_what_is_no_list_of_texts_is_refused() -> None:
    encoder = TextEncoder.__new__(TextEncoder)
    for given, words in (("cat", "texts = 'cat'; give a list of texts"), (["a", None], "texts has None; give texts")):
        with pytest.raises(ValueError, match=words):
            encoder(given)
