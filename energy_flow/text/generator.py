"""Embedding to text by a language model that reads the embedding as a short prefix.

After prefix tuning (Li and Liang 2021): a linear map turns the embedding into a few vectors that stand before the text
(causal models) or in place of the encoder's words (sequence-to-sequence models). The language model itself is frozen
unless it is tuned too.

Shapes: `N` embeddings, `E` their width, `P` vectors of the prefix, `D` width of the language model.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..data.stored_rows import host_rows, in_memory
from ..utils.files import replace_file
from ..utils.helpers import batch_slices, epoch_order

_INSTALL = "pip install 'energy-flow[text]'"
PREFIX, DESCRIPTION, LANGUAGE_MODEL = "prefix.safetensors", "generator.json", "language_model"
IGNORED = -100  # label of what the loss leaves out


@dataclass(frozen=True)
class GeneratorSettings:
    """How a prefix is trained."""

    prefix_length: int = 8
    """P, vectors that the language model reads before the text"""
    tune_language_model: bool = False
    """train the language model's own weights too, and keep them with the prefix"""
    epochs: int = 3
    """passes over the texts"""
    batch_size: int = 64
    """texts in one step"""
    learning_rate: float = 1e-3
    """of AdamW"""
    max_tokens: int = 32
    """longest text, in tokens; longer ones are cut in training"""
    seed: int = 0
    """of the prefix and of the order"""

    def __post_init__(self) -> None:
        for name in ("prefix_length", "epochs", "batch_size", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; give at least 1")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate = {self.learning_rate}; give a number above 0")


class EpochLosses(NamedTuple):
    """Mean loss per text of one pass, in nats per token."""

    epoch: int
    train: float
    validation: float


class TextGenerator(nn.Module):
    """Writes the text that an embedding stands for.

    Args:
        language_model: folder of a causal or sequence-to-sequence model with its tokenizer, as transformers saves it.
        width: E, of the embeddings.
        settings: length of the prefix and how it is trained.

    Raises:
        ImportError: transformers is not installed.
        ValueError: no such folder, or no language model in it.
    """

    def __init__(self, language_model: str | Path, width: int, settings: GeneratorSettings | None = None) -> None:
        super().__init__()
        self.settings, self.width = settings or GeneratorSettings(), width
        self.language_model_folder = Path(language_model)
        self.model, self.tokenizer = _load_language_model(self.language_model_folder)
        self.model.requires_grad_(self.settings.tune_language_model)
        tokens = self.model.get_input_embeddings().weight
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.settings.seed)  # torch.manual_seed would seed the cards' too
            self.prefix = nn.Linear(width, self.settings.prefix_length * tokens.shape[1])
        self.register_buffer("token_size", tokens.detach().float().std())

    def forward(self, embeddings: Tensor, texts: Sequence[str]) -> Tensor:
        """Mean loss of the texts given their embeddings (N, E), in nats per token."""
        tokens, mask = self._tokenise(texts)
        labels = tokens.masked_fill(~mask, IGNORED)
        prefix = self._prefix(embeddings)
        if self.model.config.is_encoder_decoder:
            return self.model(inputs_embeds=prefix, labels=labels).loss
        words = self.model.get_input_embeddings()(tokens)
        given = torch.ones(prefix.shape[:2], dtype=torch.bool, device=mask.device)
        unlabelled = labels.new_full(prefix.shape[:2], IGNORED)
        return self.model(
            inputs_embeds=torch.cat((prefix, words), dim=1),
            attention_mask=torch.cat((given, mask), dim=1).long(),
            labels=torch.cat((unlabelled, labels), dim=1),
        ).loss

    @torch.no_grad()
    def generate(self, embeddings: Tensor) -> list[str]:
        """(N, E) embeddings to N texts, the likeliest token at every place."""
        self.eval()
        found: list[str] = []
        for rows in in_memory(host_rows("embeddings", embeddings)).split(self.settings.batch_size):
            prefix = self._prefix(rows.to(self.prefix.weight.device))
            seen = torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device)
            tokens = self.model.generate(
                inputs_embeds=prefix,
                attention_mask=seen,
                max_new_tokens=self.settings.max_tokens,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.tokenizer.eos_token_id,
            )
            found += [text.strip() for text in self.tokenizer.batch_decode(tokens, skip_special_tokens=True)]
        return found

    def fit(
        self,
        train: tuple[Tensor, Sequence[str]],
        validation: tuple[Tensor, Sequence[str]],
        report: Callable[[EpochLosses], None] = lambda losses: None,
    ) -> list[EpochLosses]:
        """Train the prefix on embeddings (N, E) and their texts, and keep the best epoch by the validation loss.

        Raises:
            ValueError: no texts, or counts or widths that differ.
        """
        for name, (embeddings, texts) in (("train", train), ("validation", validation)):
            if not len(texts) or embeddings.shape != (len(texts), self.width):
                raise ValueError(
                    f"{name}: {len(texts)} texts and embeddings of shape {tuple(embeddings.shape)}; "
                    f"give one row of width {self.width} for each text"
                )
        train, validation = (
            (in_memory(host_rows(name, rows)), texts)
            for name, (rows, texts) in (("train", train), ("validation", validation))
        )
        settings = self.settings
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=settings.learning_rate)
        losses: list[EpochLosses] = []
        best: dict[str, Tensor] = {}
        for epoch in range(1, settings.epochs + 1):
            order, total = epoch_order(len(train[1]), settings.seed, epoch), torch.tensor(0.0)
            self.train(settings.tune_language_model)
            for rows in batch_slices(len(order), settings.batch_size):
                loss = self._batch_loss(train, order[rows])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                total = total + loss.detach().cpu() * len(order[rows])
            losses.append(EpochLosses(epoch, float(total) / len(order), self._mean_loss(validation)))
            report(losses[-1])
            if losses[-1].validation == min(one.validation for one in losses):
                best = {name: value.detach().clone() for name, value in self._trained().items()}
        self.load_state_dict(best, strict=False)
        return losses

    def save(self, folder: str | Path) -> None:
        """Write the prefix, and the language model too where it was tuned; `load` reads them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        prefix = {name: value.detach().cpu().contiguous() for name, value in self.prefix.state_dict().items()}
        where = str(self.language_model_folder.resolve())
        if self.settings.tune_language_model:
            where = LANGUAGE_MODEL
            self.model.save_pretrained(folder / LANGUAGE_MODEL)
            self.tokenizer.save_pretrained(folder / LANGUAGE_MODEL)
        description = {"width": self.width, "language_model": where, "settings": asdict(self.settings)}
        replace_file(folder / PREFIX, lambda path: save_file(prefix, path))
        replace_file(
            folder / DESCRIPTION, lambda path: path.write_text(json.dumps(description, indent=2), encoding="utf-8")
        )

    @classmethod
    def load(cls, folder: str | Path) -> TextGenerator:
        """Read what `save` wrote.

        Raises:
            ValueError: a file is missing or is not what it should be.
        """
        folder = Path(folder)
        for name in (PREFIX, DESCRIPTION):
            if not (folder / name).is_file():
                raise ValueError(f"{folder / name}: no such file; give a folder that `energy-flow train-decoder` wrote")
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        settings = GeneratorSettings(**description["settings"])
        generator = cls(folder / description["language_model"], description["width"], settings)
        generator.prefix.load_state_dict(load_file(folder / PREFIX))
        return generator

    def _prefix(self, embeddings: Tensor) -> Tensor:
        """(N, E) embeddings to (N, P, D), about as large as the vectors of tokens."""
        directions = F.normalize(embeddings.float(), dim=1) * self.width**0.5
        vectors = self.prefix(directions) * self.token_size
        return vectors.view(len(embeddings), self.settings.prefix_length, -1).to(self.model.dtype)

    def _tokenise(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens (N, T) with the end, and which of them count."""
        limit, end = self.settings.max_tokens - 1, self.tokenizer.eos_token_id
        rows = [
            [
                *self.tokenizer(text, add_special_tokens=False)["input_ids"][:limit],
                end,
            ]  # one by one: no padding to undo
            for text in texts
        ]
        longest = max(map(len, rows))
        tokens = torch.tensor([row + [end] * (longest - len(row)) for row in rows])
        mask = torch.arange(longest) < torch.tensor([[len(row)] for row in rows])
        return tokens.to(self.prefix.weight.device), mask.to(self.prefix.weight.device)

    def _batch_loss(self, pairs: tuple[Tensor, Sequence[str]], rows: Tensor) -> Tensor:
        embeddings, texts = pairs
        return self(embeddings[rows].to(self.prefix.weight.device), [texts[row] for row in rows.tolist()])

    @torch.no_grad()
    def _mean_loss(self, pairs: tuple[Tensor, Sequence[str]]) -> float:
        self.eval()
        batches = torch.arange(len(pairs[1])).split(self.settings.batch_size)
        return sum(float(self._batch_loss(pairs, rows)) * len(rows) for rows in batches) / len(pairs[1])

    def _trained(self) -> dict[str, Tensor]:
        return {name: weight for name, weight in self.named_parameters() if weight.requires_grad}


def _load_language_model(folder: Path) -> tuple[Any, Any]:
    if importlib.util.find_spec("transformers") is None:
        raise ImportError(f"the generative decoder needs transformers: {_INSTALL}")
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder / 'config.json'}: no such file; give the folder of a language model")
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = kind.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: no language model that transformers can load ({error})") from error
    if tokenizer.eos_token_id is None:
        raise ValueError(f"{folder}: the tokenizer has no end-of-text token; give a model that knows where a text ends")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer
