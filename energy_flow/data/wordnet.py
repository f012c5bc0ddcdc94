"""WordNet 3.0 database files to (word, definition) pairs; the format is `wndb(5WN)`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
_ADJECTIVE_MARKER = re.compile(r"\((a|p|ip)\)$")


class Sense(NamedTuple):
    """One single-word lemma of one synset."""

    word: str
    definition: str
    synset: str  # part of speech and byte offset, "noun:00001740"


def read_senses(directory: str | Path) -> Iterator[Sense]:
    """Yield every single-word lemma of every synset with its definition, in file order.

    Words are lower-cased, as in the published reverse-dictionary sets; a word and definition that come
    twice after that are given once. WordNet 3.0 has 138 834 of them, of 83 118 words.

    Args:
        directory: the folder with `data.noun`, `data.verb`, `data.adj` and `data.adv`
            (`/usr/share/wordnet` where Debian's package `wordnet-base` is installed).

    Raises:
        ValueError: a data file is missing or a line is not of the documented format; names file and line.
    """
    seen: set[tuple[str, str]] = set()
    for part_of_speech in PARTS_OF_SPEECH:
        for sense in _senses_of_file(Path(directory) / f"data.{part_of_speech}", part_of_speech):
            if (sense.word, sense.definition) not in seen:
                seen.add((sense.word, sense.definition))
                yield sense


def build_wordnet(
    directory: Path, folder: Path, excluded: Iterable[str] = (), synsets_too: bool = False
) -> dict[str, Any]:
    """Write every pair of definition and word to `pairs.jsonl`, every word to `candidates.jsonl`, and a card.

    The candidates are all words of WordNet, those that are excluded too, each with the synsets that it belongs to.

    Args:
        directory: WordNet's database files.
        folder: a new folder.
        excluded: words whose definitions are left out.
        synsets_too: leave out every synset that holds an excluded word, so that no synonym brings its definition back.

    Returns:
        the card.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds files already; give a new folder")
    senses, words = list(read_senses(directory)), {word.lower() for word in excluded}
    synsets = {sense.synset for sense in senses if sense.word in words} if synsets_too else set()
    kept = [sense for sense in senses if sense.word not in words and sense.synset not in synsets]
    if not kept:
        raise ValueError(f"{folder}: every pair is excluded; exclude fewer words")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "pairs.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for sense in kept:
            file.write(json.dumps({"input": sense.definition, "target": sense.word, "synset": sense.synset}) + "\n")
    synsets_of: dict[str, list[str]] = {}
    for sense in senses:
        synsets_of.setdefault(sense.word, []).append(sense.synset)
    with (folder / "candidates.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for word, groups in synsets_of.items():
            file.write(json.dumps({"text": word, "groups": groups}) + "\n")
    card = {
        "name": "wordnet",
        "what": "definitions of WordNet 3.0 (input) and the single words they define (target)",
        "made_by": "energy-flow data build wordnet",
        "licence": "WordNet 3.0 licence: free to use, copy, modify and distribute with its notice",
        "pairs": len(kept),
        "words": len({sense.word for sense in kept}),
        "candidates": len(synsets_of),
        "excluded_words": len(words),
        "excluded_pairs": len(senses) - len(kept),
        "synsets_excluded_too": synsets_too,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8", newline="\n")
    return card


def read_words(path: Path) -> list[str]:
    """Read words, one a line, or from a JSON list of objects with `word`, as the published test sets are."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a file of words, one a line, or a JSON list with `word`")
    text = path.read_text(encoding="utf-8")
    if not text.lstrip().startswith("["):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return [entry["word"] for entry in json.loads(text)]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a JSON list of objects with `word`: {error}") from error


class Query(NamedTuple):
    """A definition, and the word that is looked for."""

    word: str
    definition: str


def read_queries(path: Path, lower: bool = True) -> list[Query]:
    """Read a test set in the published format: a JSON list of objects with `word` and `definitions`, a text.

    Args:
        path: the file.
        lower: words in lower case, as `read_senses` gives them; else as they are written.

    Raises:
        ValueError: no such file, not such a list, or an empty text; names the entry.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a JSON list of objects with `word` and `definitions`")
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); give a list of objects with `word` and `definitions`") from error
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: no list with entries; give a list of objects with `word` and `definitions`")
    for number, entry in enumerate(entries, start=1):
        cells = [entry.get(name) for name in ("word", "definitions")] if isinstance(entry, dict) else [None]
        if not all(isinstance(cell, str) and cell.strip() for cell in cells):
            raise ValueError(f"{path}: entry {number} is {entry!r:.80}; give texts as `word` and `definitions`")
    return [Query(entry["word"].lower() if lower else entry["word"], entry["definitions"]) for entry in entries]


def definition_of(gloss: str) -> str:
    """The definition of a gloss: what stands before its first quoted example."""
    return gloss.strip().split('; "')[0].strip().rstrip(";").strip()


def _senses_of_file(path: Path, part_of_speech: str) -> Iterator[Sense]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the folder of the WordNet 3.0 database files (data.noun, ...)")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.startswith(" "):  # the licence stands at the top of each file, indented
                continue
            try:
                yield from _senses_of_line(line, part_of_speech)
            except (ValueError, IndexError) as error:
                raise ValueError(f"{path}:{number}: not a synset line of wndb(5WN): {error}") from error


def _senses_of_line(line: str, part_of_speech: str) -> Iterator[Sense]:
    fields, gloss = line.split(" | ", maxsplit=1)
    tokens = fields.split(" ")
    offset, word_count = tokens[0], int(tokens[3], 16)
    for lemma in tokens[4 : 4 + 2 * word_count : 2]:
        if "_" not in lemma:
            word = _ADJECTIVE_MARKER.sub("", lemma).lower()
            yield Sense(word, definition_of(gloss), f"{part_of_speech}:{offset}")
