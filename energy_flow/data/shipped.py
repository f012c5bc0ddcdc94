"""The shipped data set: 20 000 WordNet definitions and the words they define, embedded with MiniLM.

Rows are stored as int8 with one float32 scale each. A word belongs to one split only, and every synset is used
once, so that neither a test word nor a test definition is seen in training.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..utils.files import sha256_of
from .pair_folder import require_new
from .pairs import PairData, PairSet, TextBank
from .wordnet import Sense, read_senses

SHIPPED = "shipped"  # what `load_data` calls it
NAME = "wordnet-minilm"
SPLITS = {"train": 0.8, "validation": 0.1, "test": 0.1}  # shares of the words
_VECTORS, _DEFINITIONS, _WORDS, _CARD = "vectors.safetensors", "definitions.txt", "words.txt", "card.json"


def load_shipped() -> PairData:
    """Load the data set that comes with the package.

    Returns:
        inputs (N, 384) are definitions, targets (N, 384) words, both of unit length; the bank holds every word once.
    """
    return read_shipped(Path(str(files("energy_flow.data") / "shipped")))


def read_shipped(folder: Path) -> PairData:
    """Load a folder that `build_shipped` wrote.

    Raises:
        ValueError: a file is missing or is not the one that the card describes.
    """
    check_files(folder)
    vectors = load_file(folder / _VECTORS)
    definitions, words = _read_lines(folder / _DEFINITIONS), _read_lines(folder / _WORDS)
    inputs = dequantise(vectors["definitions"], vectors["definition_scale"])
    bank = TextBank(words, dequantise(vectors["words"], vectors["word_scale"]))
    word_of, split_of = vectors["word_of"].long(), vectors["split_of"]

    def part(name: str) -> PairSet:
        rows = (split_of == list(SPLITS).index(name)).nonzero().flatten()
        row_words = word_of[rows]
        return PairSet(
            inputs.index_select(0, rows),
            bank.embeddings.index_select(0, row_words),
            [definitions[row] for row in rows.tolist()],
            [words[word] for word in row_words.tolist()],
        )

    encoder = json.loads((folder / _CARD).read_text(encoding="utf-8"))["encoder"]
    return PairData(NAME, part("train"), part("validation"), part("test"), bank, (encoder, encoder))


def build_shipped(
    wordnet: Path,
    folder: Path,
    encode: Callable[[Sequence[str]], Tensor],
    encoder_name: str,
    count: int = 20_000,
    seed: int = 0,
) -> dict[str, object]:
    """Choose, embed and write the data set.

    Args:
        wordnet: the folder of WordNet's database files.
        folder: where the files go; it must not hold any yet.
        encode: texts to (len(texts), E) unit rows.
        encoder_name: for the card.
        count: pairs to choose.
        seed: of the choice and of the split.

    Returns:
        the card, which is also written to `card.json`.
    """
    require_new(folder)
    senses = choose_senses(read_senses(wordnet), count, seed)
    words = sorted({sense.word for sense in senses})
    index = {word: position for position, word in enumerate(words)}
    split_of_word = split_words(words, seed)
    definitions, definition_scale = quantise(encode([sense.definition for sense in senses]))
    word_rows, word_scale = quantise(encode(words))

    folder.mkdir(parents=True, exist_ok=True)
    vectors = {
        "definitions": definitions,
        "definition_scale": definition_scale,
        "words": word_rows,
        "word_scale": word_scale,
        "word_of": torch.tensor([index[sense.word] for sense in senses], dtype=torch.int32),
        "split_of": torch.tensor([split_of_word[sense.word] for sense in senses], dtype=torch.uint8),
    }
    save_file(vectors, folder / _VECTORS)
    _write_lines(folder / _DEFINITIONS, [sense.definition for sense in senses])
    _write_lines(folder / _WORDS, words)
    card = {
        "name": NAME,
        "what": "definitions of WordNet 3.0 (input) and the single words they define (target)",
        "made_by": "energy-flow data build-shipped",
        "licence": "WordNet 3.0 licence, see NOTICE",
        "encoder": encoder_name,
        "seed": seed,
        "pairs": len(senses),
        "words": len(words),
        "pairs_per_split": {name: int((vectors["split_of"] == row).sum()) for row, name in enumerate(SPLITS)},
        "sha256": {name: sha256_of(folder / name) for name in (_VECTORS, _DEFINITIONS, _WORDS)},
    }
    (folder / _CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8", newline="\n")
    return card


def check_files(folder: Path) -> dict[str, object]:
    """Compare the files of a folder with the checksums of its card, and return the card."""
    card_path = folder / _CARD
    if not card_path.is_file():
        raise ValueError(f"{card_path}: no such file; build the set with `energy-flow data build-shipped`")
    card = json.loads(card_path.read_text(encoding="utf-8"))
    for name, expected in card["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path}: no such file, though the card names it; install the package again")
        if sha256_of(path) != expected:
            raise ValueError(f"{path}: the checksum differs from the card's {expected[:12]}; install the package again")
    return card


def choose_senses(senses: Iterable[Sense], count: int, seed: int) -> list[Sense]:
    """Choose words at random and take their senses, each synset once, until `count` are chosen.

    Only purely alphabetic words are taken, and only definitions of at least two words.
    """
    by_word: dict[str, list[Sense]] = {}
    for sense in senses:
        if sense.word.isalpha() and " " in sense.definition:
            by_word.setdefault(sense.word, []).append(sense)
    words = sorted(by_word)
    random.Random(seed).shuffle(words)
    chosen: list[Sense] = []
    used: set[str] = set()
    used_definitions: set[str] = set()
    for word in words:
        for sense in by_word[word]:
            if sense.synset in used or sense.definition in used_definitions:
                continue
            used.add(sense.synset)
            used_definitions.add(sense.definition)
            chosen.append(sense)
            if len(chosen) == count:
                return chosen
    raise ValueError(
        f"WordNet holds {len(chosen)} senses with a synset of their own, count asks for {count}; ask for fewer"
    )


def split_words(words: Sequence[str], seed: int) -> dict[str, int]:
    """Give every word its split (the row of `SPLITS`), at random."""
    shuffled = sorted(words)
    random.Random(seed + 1).shuffle(shuffled)
    ends = [round(sum(list(SPLITS.values())[: row + 1]) * len(shuffled)) for row in range(len(SPLITS))]
    return {word: next(row for row, end in enumerate(ends) if position < end) for position, word in enumerate(shuffled)}


def quantise(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(N, E) rows to (N, E) int8 and (N,) float32 scales; the largest number of a row becomes 127."""
    scale = rows.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127
    return torch.round(rows / scale[:, None]).to(torch.int8), scale


def dequantise(rows: Tensor, scale: Tensor) -> Tensor:
    """The inverse of `quantise`, with the rows brought back to unit length."""
    restored = rows.float() * scale[:, None]
    return restored / restored.norm(dim=1, keepdim=True)


def _read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
