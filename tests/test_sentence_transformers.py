"""The module of a sentence-transformers pipeline: encoded, trained by either trainer, saved, and loaded elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from energy_flow import EnergyTrainer, create_config, create_processor

pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from energy_flow.integrations.sentence_transformers import EnergyFlow

WORDS = ["a", "the", "cat", "dog", "sits", "runs", "on", "under", "mat", "tree"]
TEXTS = ["the cat sits on a mat", "a dog runs under the tree", "cat dog", "the tree"]
CONFIG = create_config(
    "tiny", input_embedding_dim=32, output_embedding_dim=24, carrier_hidden_size=8, carrier_num_layers=1, seed=3
)


def pipeline() -> SentenceTransformer:
    torch.manual_seed(0)
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(["?", *WORDS])}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    encoder = StaticEmbedding(tokenizer, embedding_dim=32)
    return SentenceTransformer(modules=[encoder, EnergyFlow(create_processor(CONFIG))], device="cpu")


def test_encode_gives_what_the_lattice_makes_of_the_embeddings() -> None:
    whole = pipeline()
    lattice = whole[1].processor.eval()
    embeddings = SentenceTransformer(modules=[whole[0]], device="cpu").encode(TEXTS, convert_to_tensor=True)
    with torch.no_grad():
        np.testing.assert_allclose(whole.encode(TEXTS), lattice(embeddings).numpy(), atol=1e-6)
    assert whole.encode(TEXTS).shape == (4, 24)
    assert whole.get_embedding_dimension() == 24


@pytest.mark.slow
def test_it_is_loaded_in_a_fresh_process_to_the_same_numbers(tmp_path: Path) -> None:
    whole = pipeline()
    whole.save(str(tmp_path / "pipeline"))
    names = {path.name for path in (tmp_path / "pipeline" / "1_EnergyFlow").iterdir()}
    assert names == {"model.safetensors", "config.json"}
    code = (
        "import sys, numpy as np\nfrom sentence_transformers import SentenceTransformer\n"
        "try:\n    SentenceTransformer(sys.argv[1], device='cpu')\n"
        "except ValueError as error:\n    assert 'trust_remote_code' in str(error)\nelse:\n    sys.exit('trusted')\n"
        "found = SentenceTransformer(sys.argv[1], device='cpu', trust_remote_code=True)\n"
        "np.save(sys.argv[2], found.encode(eval(sys.argv[3])))\n"
    )
    given = [str(tmp_path / "pipeline"), str(tmp_path / "found.npy"), repr(TEXTS)]
    ran = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), whole.encode(TEXTS), atol=1e-6)


def test_our_trainer_trains_it_on_what_the_encoder_gives() -> None:
    whole = pipeline()
    encoder = SentenceTransformer(modules=[whole[0]], device="cpu")
    inputs = encoder.encode(TEXTS * 8, convert_to_tensor=True)
    targets = torch.randn(4, 24).repeat(8, 1)
    trainer = EnergyTrainer(whole[1].processor, CONFIG.replace(batch_size=8, learning_rate=1e-2))

    def distance() -> float:
        return float(1 - torch.cosine_similarity(whole.encode(TEXTS, convert_to_tensor=True), targets[:4]).mean())

    before = distance()
    trainer.train(inputs, targets, epochs=5)
    assert distance() < before - 0.2


@pytest.mark.filterwarnings("ignore")  # of the other trainer
def test_their_trainer_trains_it_within_the_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    datasets = pytest.importorskip("datasets")
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.losses import MSELoss

    whole = pipeline()
    whole[0].requires_grad_(False)
    before = {name: value.clone() for name, value in whole.named_parameters()}
    rows = datasets.Dataset.from_dict({"sentence": TEXTS, "label": torch.randn(4, 24).tolist()})
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=4, report_to="none", save_strategy="no",
        learning_rate=1e-2, use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    SentenceTransformerTrainer(model=whole, args=arguments, train_dataset=rows, loss=MSELoss(whole)).train()
    moved = {name for name, value in whole.named_parameters() if not torch.equal(value, before[name])}
    assert any("carrier" in name for name in moved)
    assert not any(name.startswith("0.") for name in moved)


def test_an_encoder_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="embeddings of width 8, the model takes 32; give the encoder"):
        EnergyFlow(create_processor(CONFIG))({"sentence_embedding": torch.randn(2, 8)})
