"""A generative decoder on language models that are built here: tiny, random, of both kinds."""

from __future__ import annotations

import json

import pytest
import torch

from energy_flow.cli import main
from energy_flow.text import GeneratorSettings, TextGenerator

transformers = pytest.importorskip("transformers")

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["apple", "bridge", "cloud", "dune", "eagle", "flame", "grove", "house"]
SIZES = {
    "gpt2": {"n_layer": 1, "n_embd": 32, "n_head": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "t5": {
        "num_layers": 1,
        "d_model": 32,
        "num_heads": 2,
        "d_ff": 32,
        "d_kv": 16,
        "decoder_start_token_id": 0,
        "dropout_rate": 0.0,
    },
}


def build_language_model(folder, kind: str):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: place for place, token in enumerate(["<pad>", "</s>", "<unk>", *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    ids = {"vocab_size": len(vocabulary), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    torch.manual_seed(0)
    if kind == "gpt2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**ids, **SIZES[kind]))
    else:
        model = transformers.T5ForConditionalGeneration(transformers.T5Config(**ids, **SIZES[kind]))
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["gpt2", pytest.param("t5", marks=pytest.mark.slow)])
def language_model(request, tmp_path_factory):
    return build_language_model(tmp_path_factory.mktemp("lm") / request.param, request.param)


def pairs():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(3)), WORDS


def test_words_are_learned_by_heart_and_come_back_from_disk(language_model, tmp_path) -> None:
    settings = GeneratorSettings(tune_language_model=True, epochs=250, batch_size=8, learning_rate=4e-3, max_tokens=8)
    generator = TextGenerator(language_model, 6, settings)
    losses = generator.fit(pairs(), pairs())
    assert generator.generate(pairs()[0]) == WORDS
    assert losses[-1].validation < 0.2 < losses[0].validation
    generator.save(tmp_path / "decoder")
    assert TextGenerator.load(tmp_path / "decoder").generate(pairs()[0] * 2) == WORDS  # the direction alone counts


def test_the_prefix_alone_learns_and_the_language_model_stays(language_model, tmp_path) -> None:
    generator = TextGenerator(language_model, 6, GeneratorSettings(epochs=60, batch_size=8, learning_rate=1e-2))
    before = {name: weight.clone() for name, weight in generator.model.state_dict().items()}
    losses = generator.fit(pairs(), pairs())
    assert min(one.validation for one in losses) < 0.985 * losses[0].validation  # of a random, frozen model
    for name, weight in generator.model.state_dict().items():
        assert torch.equal(weight, before[name]), name
    generator.save(tmp_path / "decoder")
    assert {path.name for path in (tmp_path / "decoder").iterdir()} == {"prefix.safetensors", "generator.json"}
    assert TextGenerator.load(tmp_path / "decoder").generate(pairs()[0]) == generator.generate(pairs()[0])


def test_batches_of_texts_of_many_lengths_do_not_mix(language_model) -> None:
    """Padding does not leak: the loss of a batch is the mean over its tokens, each as if its text stood alone."""
    generator = TextGenerator(language_model, 6).eval()
    embeddings, texts = pairs()[0], ["a", "bridge", "cl", "dunes", "e", "f", "grove", "housekeeper"]
    lengths = torch.tensor([len(text) + 1.0 for text in texts])
    with torch.no_grad():
        alone = torch.stack([generator(embeddings[row : row + 1], texts[row : row + 1]) for row in range(8)])
        together = generator(embeddings, texts)
    torch.testing.assert_close(together, (alone * lengths).sum() / lengths.sum())


def test_the_best_epoch_is_kept(language_model) -> None:
    """Validation words that training forgets: the weights are those of the epoch that knew them best."""
    generator = TextGenerator(language_model, 6, GeneratorSettings(epochs=12, batch_size=4, learning_rate=0.3))
    embeddings, texts = pairs()
    losses = generator.fit((embeddings[:4], texts[:4]), (embeddings[4:], texts[4:]))
    with torch.no_grad():
        kept = float(generator.eval()(embeddings[4:], texts[4:]))
    assert kept == pytest.approx(min(one.validation for one in losses), rel=1e-4)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda lm, tmp: TextGenerator(tmp, 6), "config.json: no such file; give the folder of a language model"),
        (lambda lm, tmp: TextGenerator.load(tmp), "prefix.safetensors: no such file; give a folder that"),
        (lambda lm, tmp: GeneratorSettings(epochs=0), "epochs = 0; give at least 1"),
        (lambda lm, tmp: GeneratorSettings(learning_rate=0), "learning_rate = 0; give a number above 0"),
        (lambda lm, tmp: TextGenerator(lm, 5).fit(pairs(), pairs()), r"8 texts and embeddings of shape \(8, 6\)"),
    ],
)
def test_what_does_not_fit_is_named(language_model, tmp_path, build, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(language_model, tmp_path)


def test_a_folder_without_a_model_is_named(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match="no language model that transformers can load"):
        TextGenerator(tmp_path, 6)


def test_missing_transformers_says_how_to_install_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'energy-flow\[text\]'"):
        TextGenerator(tmp_path, 6)


def test_command_trains_a_decoder_that_predict_uses(tmp_path, toy_set, toy_model, capsys) -> None:
    language_model = build_language_model(tmp_path / "lm", "gpt2")
    decoder = tmp_path / "decoder"
    main(
        ["train-decoder", str(language_model), str(decoder), "--data", str(toy_set), "--epochs", "1", "--device", "cpu"]
    )
    printed = capsys.readouterr().out
    assert "epoch 1  loss" in printed
    assert printed.count(" -> ") == 10
    main(["predict", str(toy_model), "--data", str(toy_set), "--decoder", str(decoder), "--examples", "4"])
    assert capsys.readouterr().out.count("definition number") == 4
    with pytest.raises(SystemExit):
        main(["train-decoder", str(language_model), str(decoder), "--data", str(toy_set)])
    assert "holds files already" in capsys.readouterr().err
