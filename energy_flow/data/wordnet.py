"""WordNet 3.0 database files to (word, definition) pairs; the format is `wndb(5WN)`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .files import READERS, BadRowError, ReadOptions, read_table, text_of
from .files.json_rows import read_json, read_lines
from .files.opening import format_of, lines_of
from .pair_folder import require_new

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
    require_new(folder)
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


def read_words(path: Path, options: ReadOptions | None = None) -> list[str]:
    """Read words: one a line, or from rows with `word`, such as a JSON list, as the published test sets are.

    Raises:
        ValueError: no such file, or a word that is none; names file and line.
    """
    return [cells[0] for cells in _entries(path, ("word",), options)]


class Query(NamedTuple):
    """A definition, and the word that is looked for."""

    word: str
    definition: str


def read_queries(path: Path, lower: bool = True, options: ReadOptions | None = None) -> list[Query]:
    """Read a test set: rows with `word` and `definitions`, a text; published ones are a JSON list.

    Args:
        path: the file.
        lower: words in lower case, as `read_senses` gives them; else as they are written.
        options: how the file is read.

    Raises:
        ValueError: no such file, nothing in it, or an empty text; names file and entry.
    """
    entries = _entries(path, ("word", "definitions"), options)
    found = [Query(word.lower() if lower else word, definition) for word, definition in entries]
    if not found:
        raise ValueError(f"{path}: no list with entries; give rows with `word` and `definitions`")
    return found


def _entries(path: Path, columns: tuple[str, ...], options: ReadOptions | None) -> Iterator[list[str]]:
    """The texts of these columns, row by row; of a file with one text a line the first column alone is there."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give rows with {' and '.join(f'`{name}`' for name in columns)}")
    lists_too = len(columns) == 1
    plain = lists_too and format_of(path) not in READERS and not _is_json(path, options)
    read = read_lines if plain else read_json if format_of(path) not in READERS else None
    rows = read_table(path, columns, options) if read is None else read(path, columns, options or ReadOptions())
    for raw in rows:
        try:
            if isinstance(raw.cells, str):
                raise ValueError(raw.cells)
            cells = {"word": raw.cells["text"]} if plain else raw.cells
            yield [text_of(cells.get(name), name) for name in columns]
        except ValueError as error:
            names = " and ".join(f"`{name}`" for name in columns)
            raise BadRowError(f"{path}:{raw.line}: {error}; give texts as {names}") from None


def _is_json(path: Path, options: ReadOptions | None) -> bool:
    lines = lines_of(path, (options or ReadOptions()).encoding)
    return next((line.lstrip()[0] for line in lines if line.strip()), "") in ("[", "{")


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
