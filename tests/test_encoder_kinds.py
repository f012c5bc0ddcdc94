"""Encoders of every kind: their windows, their weights, and what is said of a text that cannot be embedded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from energy_flow.data import load_data
from energy_flow.data.embedding import EmbedJob
from energy_flow.data.pair_folder import read_manifest
from energy_flow.data.text_rows import PairRows
from energy_flow.text import ENCODER_KINDS, EncoderKind, EncoderSettings, NearestTexts, TextEncoder, encoder_of
from energy_flow.text.encoders.fingerprint import folder_fingerprint, hub_commit

from .test_encoders import embed, pairs, refused, save_static, static

__all__ = ["pairs", "static"]  # fixtures


def letters_of(texts) -> np.ndarray:
    """Eight numbers from the letters; a text of x alone has no direction, and one with 7 cannot be embedded."""
    if any("7" in text for text in texts):
        raise RuntimeError("index 7 is out of bounds")
    return np.array(
        [[(ord(text[-1 - place]) - 90) * (set(text) != {"x"}) for place in range(3)] for text in texts], "f4"
    )


def write(path: Path, rows: list[tuple[str, str]]) -> PairRows:
    path.write_text("".join(json.dumps({"input": given, "target": wanted}) + "\n" for given, wanted in rows))
    return PairRows(path, "input", "target")


def test_any_callable_is_an_encoder(tmp_path) -> None:
    rows = write(tmp_path / "pairs.jsonl", [(f"thing {row % 6}", f"word{row % 6}") for row in range(60)])
    manifest = EmbedJob(rows, tmp_path / "set", letters_of, letters_of).run()
    assert (manifest["input_encoder"], manifest["texts_embedded"], manifest["cut"]["inputs.npy"]) == (
        "letters_of",
        12,
        None,
    )
    np.testing.assert_array_equal(np.load(tmp_path / "set" / "inputs.npy")[3], letters_of(["thing 3"])[0])
    unit = TextEncoder(letters_of)(["thing 3"]).numpy()
    np.testing.assert_allclose(unit[0], letters_of(["thing 3"])[0] / np.linalg.norm(letters_of(["thing 3"])), rtol=1e-6)


@pytest.mark.parametrize("encoder", [letters_of, TextEncoder(letters_of)])
def test_a_text_that_cannot_be_embedded_is_named_with_its_line(tmp_path, encoder) -> None:
    rows = write(tmp_path / "pairs.jsonl", [(f"thing {row}", f"word{row % 6}") for row in range(20)])
    with pytest.raises(ValueError, match=r"pairs.jsonl:(8|18): 'thing 1?7' cannot be embedded: .*index 7 is out of b"):
        EmbedJob(rows, tmp_path / "set", encoder, encoder).run()


def test_texts_without_direction_are_in_no_bank(tmp_path) -> None:
    """A row of zeros in the bank would be near everything, and is refused by the search."""
    pairs = [(f"thing {row % 6}", f"word{row % 6}") for row in range(60)] + [("thing 1", "xxx"), ("xxxx", "word1")]
    EmbedJob(write(tmp_path / "pairs.jsonl", pairs), tmp_path / "set", letters_of, letters_of).run()
    data = load_data(str(tmp_path / "set"))
    assert data.bank is not None and "xxx" not in data.bank.texts and len(data.bank.texts) == 6
    NearestTexts(data.bank.texts, data.bank.embeddings[:])
    (tmp_path / "c.txt").write_text("".join(f"word{row}\n" for row in range(6)) + "xxxxx\nxxx\nend\n")
    rows = PairRows(tmp_path / "pairs.jsonl", "input", "target")
    EmbedJob(rows, tmp_path / "other", letters_of, letters_of, tmp_path / "c.txt").run()
    bank = load_data(str(tmp_path / "other")).bank
    assert bank is not None and list(bank.texts) == [*(f"word{row}" for row in range(6)), "end"]
    np.testing.assert_array_equal(bank.embeddings[6].numpy(), letters_of(["end"])[0])


def test_a_set_goes_on_with_a_moved_encoder_but_not_with_other_settings(static, pairs, tmp_path, capsys) -> None:
    embed(pairs, tmp_path / "set", static / "a")
    (static / "a").rename(static / "moved")
    try:
        embed(pairs, tmp_path / "set", static / "moved")
        for option, words in (
            (("--encoder-batch", "8"), "batch_size is 1024, this one's 8"),
            (("--input-prompt", "as: "), "prompt is None, this one's 'as: '"),
            (("--truncate-dim", "3"), "truncate_dim is None, this one's 3"),
            (("--no-normalise",), "normalise is True, this one's False"),
            (("--store", "float16"), "store is 'float32', this one's 'float16'"),
        ):
            assert words in refused(capsys, pairs, tmp_path / "set", static / "moved", *option)
        with pytest.raises(ValueError, match=r"a: no such folder"):
            encoder_of(load_data(str(tmp_path / "set")), "input")
        found = encoder_of(load_data(str(tmp_path / "set")), "input", model=str(static / "moved"))
        assert found is not None and found.batch_size == 1024
    finally:
        (static / "moved").rename(static / "a")


def test_a_set_of_texts_and_vectors_keeps_the_encoder_of_its_texts(static, tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    lines = [{"input": f"thing {row}", "target": [row + 1.0, 2.0, row % 7]} for row in range(60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    embed(path, tmp_path / "set", static / "b")
    data = load_data(str(tmp_path / "set"))
    encoder = encoder_of(data, "input")
    assert encoder is not None and encoder.name == str(static / "b")
    assert (data.encoders, encoder_of(data, "target")) == (None, None)


def test_prompts_that_are_there_and_not_used_are_said(static, pairs, tmp_path, capsys) -> None:
    embed(pairs, tmp_path / "set", static / "prompts", "--target-prompt", "document")
    printed = " ".join(capsys.readouterr().out.split())
    assert "the encoder has the prompts query, document; inputs have none: --input-prompt NAME" in printed
    assert "targets have none" not in printed


@pytest.mark.parametrize(
    "prompts",
    [
        {"query": "ask: ", "document": ""},
        {"passage": "read: "},
        {"query": "ask: ", "corpus": "read: "},
        {"other": "o: "},
    ],
)
def test_prompts_are_chosen_as_the_library_does(tmp_path, prompts) -> None:
    """`document` may be empty, or have another name."""
    from sentence_transformers import SentenceTransformer

    folder = save_static(tmp_path / "model", 1, prompts=prompts, default_prompt_name=next(iter(prompts)))
    model = SentenceTransformer(str(folder), device="cpu")
    for name, encode in (("query", model.encode_query), ("document", model.encode_document), (None, model.encode)):
        encoder = TextEncoder(EncoderSettings(str(folder), prompt=name))
        expected = encode(["thing"], normalize_embeddings=True)
        np.testing.assert_array_equal(encoder(["thing"]).numpy(), expected)
        text = TextEncoder(EncoderSettings(str(folder), prompt=""))([encoder.card["prompt_text"] + "thing"])
        np.testing.assert_allclose(text.numpy(), expected, atol=1e-6)


def test_a_table_of_tokens_can_have_a_window(static) -> None:
    texts = ["abcdef", "abc", "fedcba"]
    short = TextEncoder(EncoderSettings(str(static / "a"), max_tokens=3))
    assert short.is_cut(texts) == [True, False, True]
    torch.testing.assert_close(short(texts), TextEncoder(str(static / "a"))(["abc", "abc", "fed"]))
    assert TextEncoder(str(static / "a")).is_cut(texts) == [False] * 3


def test_letters_of_several_bytes_are_counted_as_their_tokens(tmp_path) -> None:
    """Six letters may be more than eight tokens, so only plain letters can be counted without the tokenizer."""
    tokenizers = pytest.importorskip("tokenizers")
    from energy_flow.text.encoders.tokens import TokenCounter

    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE({letter: row for row, letter in enumerate(sorted(alphabet))}, [])
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    counter = TokenCounter(tokenizer, 8)
    assert counter.longer(["abcdef", "äöüäöü", "abcdefgh", "abcdefghi"]) == [False, True, False, True]


def test_half_precision_becomes_float32_before_anything_is_computed() -> None:
    rows = np.array([[300.0, 400.0], [6e-8, 0.0]], dtype=np.float16)  # squares leave the range of float16
    encoder = TextEncoder(lambda texts: rows[: len(texts)])
    torch.testing.assert_close(encoder(["b" * 9, "a"]), torch.tensor([[0.6, 0.8], [1.0, 0.0]]))


def test_the_fingerprint_is_of_what_can_change_a_vector(static, tmp_path) -> None:
    folder = save_static(tmp_path / "model", 1)
    before = folder_fingerprint(folder)
    (folder / "README.md").write_text("other words")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.json").write_text("{}")
    assert folder_fingerprint(folder) == before == folder_fingerprint(static / "a") != folder_fingerprint(static / "b")
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"a"', '"A"'))
    assert folder_fingerprint(folder) != before


def test_a_model_of_the_hub_is_known_by_its_commit(tmp_path, monkeypatch) -> None:
    """A copy as huggingface_hub keeps it, without the network."""
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    copy, commit = tmp_path / "models--some--tables", "a" * 40
    save_static(copy / "snapshots" / commit, 1)
    (copy / "refs").mkdir()
    (copy / "refs" / "main").write_text(commit)
    files = ("modules.json",)
    assert hub_commit("some/tables", None, files, str(tmp_path)) == commit
    assert hub_commit("some/others", None, files, str(tmp_path)) is None
    monkeypatch.setenv("SENTENCE_TRANSFORMERS_HOME", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    encoder = TextEncoder("some/tables")
    assert (encoder.name, encoder.card["fingerprint"]) == (f"some/tables@{commit}", f"commit {commit}")
    assert torch.equal(TextEncoder(encoder.name)(["thing"]), encoder(["thing"]))


def test_models_of_fastembed_can_be_folders(pairs, tmp_path) -> None:
    pytest.importorskip("fastembed")
    onnx, tokenizers = pytest.importorskip("onnx"), pytest.importorskip("tokenizers")
    folder = tmp_path / "model"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "thing", *map(str, range(60))]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: row for row, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 4, "pad_token": "[PAD]"}')
    (folder / "config.json").write_text('{"hidden_size": 5, "pad_token_id": 0}')
    table = np.random.default_rng(0).normal(size=(len(words), 5)).astype(np.float32)
    helper = onnx.helper
    inputs = [helper.make_tensor_value_info(n, 7, ["n", "t"]) for n in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("last_hidden_state", 1, ["n", "t", 5])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "table", inputs, [output], [onnx.numpy_helper.from_array(table, "table")],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    encoder = TextEncoder(EncoderSettings(f"fastembed:{folder}", normalise=False))
    means = [table[[2, 5]].mean(axis=0), table[[2, 5, 6, 7]].mean(axis=0)]
    np.testing.assert_allclose(encoder(["thing 2", "thing 2 3 4 5"]).numpy(), means, rtol=1e-5)
    assert encoder.is_cut(["thing 2", "thing 2 3 4 5"]) == [False, True]
    embed(pairs, tmp_path / "set", f"fastembed:{folder}", "--max-tokens", "2")
    card = read_manifest(tmp_path / "set")["input_encoder_card"]
    assert (card["model"], card["fingerprint"]) == (f"fastembed:{folder}", folder_fingerprint(folder))


def test_models_of_model2vec_have_their_windows(tmp_path) -> None:
    model2vec, tokenizers = pytest.importorskip("model2vec"), pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[UNK]": 0, "thing": 1, "word1": 2}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    table = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    model = model2vec.StaticModel(table, tokenizer, max_length=3)
    model.save_pretrained(tmp_path / "static")
    texts = ["thing", "thing word1 word1 word1", "thing word1"]
    encoder = TextEncoder(EncoderSettings(f"model2vec:{tmp_path / 'static'}", normalise=False))
    np.testing.assert_allclose(encoder(texts).numpy(), model.encode(texts), rtol=1e-6)
    assert encoder.is_cut(texts) == [False, True, False]
    longer = TextEncoder(EncoderSettings(f"model2vec:{tmp_path / 'static'}", max_tokens=4, prompt="word1 "))
    assert longer.is_cut(texts) == [False, True, False]


def test_a_kind_of_encoder_can_be_added(monkeypatch) -> None:
    from energy_flow.text.encoders.function import FunctionModel

    monkeypatch.setattr(ENCODER_KINDS, "_entries", dict(ENCODER_KINDS._entries))
    ENCODER_KINDS.add("mine", EncoderKind(lambda place, settings, device: FunctionModel(letters_of, f"mine:{place}")))
    encoder = TextEncoder("mine:letters")
    assert (encoder.name, encoder(["word"]).shape) == ("mine:letters", (1, 3))


def test_a_file_that_may_not_grow_is_a_full_disk(static, tmp_path, capsys) -> None:
    """Vectors and texts beyond the limit: exit 2 in words, and afterwards the bits of a run that was not cut."""
    resource = pytest.importorskip("resource")
    texts, vectors = tmp_path / "texts.jsonl", tmp_path / "vectors.jsonl"
    with texts.open("w") as file, vectors.open("w") as numbers:
        for row in range(1500):
            file.write(json.dumps({"input": f"thing {row}", "target": f"word{row % 50}"}) + "\n")
            numbers.write(json.dumps({"input": [row + 1.0] * 16, "target": [1.0, row]}) + "\n")
    sets = [(texts, tmp_path / "set"), (vectors, tmp_path / "vectors")]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, before[1]))
        for source, folder in sets:
            assert "disk full: " in refused(capsys, source, folder, static / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    for source, folder in sets:
        embed(source, folder, static / "a")
    for source, folder in ((texts, "set"), (vectors, "vectors")):
        embed(source, tmp_path / "whole" / folder, static / "a")
        whole = read_manifest(tmp_path / "whole" / folder)
        assert read_manifest(tmp_path / folder)["sha256"] == whole["sha256"]


def place_of_job(folder: Path) -> str:
    """Where a job is: reading, embedding with the number of texts that are done, or writing matrices."""
    if (folder / "inputs.npy").exists():
        return "writing"
    state = json.loads((folder / "job.json").read_text()) if (folder / "job.json").exists() else {}
    done = sum(store["done"] for store in state.get("stores", {}).values())
    return f"embedding {done // 20_000}" if done else "reading" if (folder / "unfinished").exists() else "nowhere"


@pytest.mark.slow
def test_a_job_that_is_killed_anywhere_ends_with_the_same_bits(static, tmp_path) -> None:
    source, folder = tmp_path / "pairs.jsonl", tmp_path / "cut"
    rows = ({"input": f"thing {row % 90_000}", "target": f"word{row % 3000}"} for row in range(100_000))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["data", "embed", str(source), str(folder), "--encoder", str(static / "a"), "--device", "cpu"]
    code = f"from energy_flow.cli import main; main({command!r})"
    for place in ("reading", "embedding 0", "embedding 1", "embedding 3", "writing"):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while place_of_job(folder) != place:
            assert process.poll() is None, (place, process.stderr and process.stderr.read())
            time.sleep(0.002)
        process.kill()
        process.communicate()
    assert not (folder / "manifest.json").exists()
    embed(source, folder, static / "a")
    embed(source, tmp_path / "whole", static / "a")
    assert read_manifest(folder)["sha256"] == read_manifest(tmp_path / "whole")["sha256"]
