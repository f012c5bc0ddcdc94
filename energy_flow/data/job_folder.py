"""The folder of an embedding job: which files in it are the job's own, and what makes a job the same job."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .pair_folder import CANDIDATE_TEXTS, CANDIDATES, INPUTS, MANIFEST, ROWS, SPLIT, TARGETS
from .storing import scales_of
from .text_store import Encoder, card_of, name_of

JOB = "job.json"
WORK = "unfinished"  # the folder of what is not needed any more when a set is finished
MATRICES = (INPUTS, TARGETS, CANDIDATES)
WRITTEN = (*MATRICES, *(scales_of(Path(name)).name for name in MATRICES), SPLIT, ROWS, CANDIDATE_TEXTS, MANIFEST, JOB)
TEMPORARY = re.compile(rf"\.({'|'.join(map(re.escape, WRITTEN))})\.\d+(-\d+)?\.tmp")
SHOWN = 12  # digits of a checksum in a message
CHECKSUMS = {  # entries of a job that are checksums, and what has another content where they differ
    "source_fingerprint": "source",
    "candidates": "candidates file",
    "splits_from": "set of --splits-from",
}


def temporary_files(folder: Path) -> list[Path]:
    """What a crash of an earlier run left while it wrote a file of the set."""
    return [path for path in folder.iterdir() if TEMPORARY.fullmatch(path.name)]


def require_free(folder: Path) -> None:
    """Refuse, with a ValueError, a folder without a job or a set that holds anything but our temporary files."""
    if not folder.exists():
        return
    foreign = sorted(path.name for path in set(folder.iterdir()) - set(temporary_files(folder)))
    if foreign:
        raise ValueError(
            f"{folder} holds files that are no pair set, such as {foreign[0]}; they stay as they are: give a new folder"
        )


def require_apart(folder: Path, sources: Iterable[Path]) -> None:
    """Refuse, with a ValueError, a source that lies where a file of the set would be written."""
    inside = folder.resolve()
    for source in sources:
        place = source.resolve()
        if place.is_relative_to(inside) and place.relative_to(inside).parts[:1] in {
            (name,) for name in (*WRITTEN, WORK)
        }:
            raise ValueError(f"{source} lies in {folder}, where the set has a file of this name; give another folder")


def has_embedded(state: dict[str, Any]) -> bool:
    """Whether a job has rows that would have to be embedded again."""
    return any(store["done"] for store in state.get("stores", {}).values())


def difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """In what a set or a job differs from the one that is asked for, in words; empty where it does not.

    Args:
        found: the manifest, or the state of a job.
        wanted: the entries that the asked one has.
    """
    if found.get("format") == 1:  # of a set that is finished, by an earlier version
        wanted = {key: value for key, value in wanted.items() if key in found and key != "format"}
    key = next((key for key, value in wanted.items() if found.get(key) != value), None)
    if key is None:
        return ""
    is_there, is_asked = found.get(key), wanted[key]
    if key in CHECKSUMS and is_there and is_asked:
        return (
            f"its {CHECKSUMS[key]} has changed since: the checksum was {is_there[:SHOWN]}, and is {is_asked[:SHOWN]} "
            "now; give another folder, or remove this one and run the command again"
        )
    name, is_there, is_asked = _part_that_differs(key, is_there, is_asked)
    weights = "the encoder of then, or " if name.endswith("fingerprint") else ""
    return f"its {name} is {is_there!r}, this one's {is_asked!r}; give {weights}another folder"


def same_weights(side: str, encoder: Encoder, found: dict[str, Any]) -> dict[str, Any]:
    """Name and card that a set is asked to have; where its model was moved, the same weights in the old place."""
    name, card = f"{side}_encoder", f"{side}_encoder_card"
    if card not in found:  # of an earlier version, which kept the name as it was given
        same = Path(str(found.get(name))).name == Path(name_of(encoder)).name
        return {name: found.get(name) if same else name_of(encoder)}
    wanted = card_of(encoder)
    if wanted.get("fingerprint") and wanted["fingerprint"] == found[card].get("fingerprint"):
        return {name: found[name], card: wanted | {"model": found[card]["model"]}}
    return {name: name_of(encoder), card: wanted}


def _part_that_differs(key: str, is_there: Any, is_asked: Any) -> tuple[str, Any, Any]:
    """What differs, and how: of an encoder's card the first entry alone; its weights come before its name."""
    if not isinstance(is_there, dict) or not isinstance(is_asked, dict):
        return key, is_there, is_asked
    differing = [one for one in is_there | is_asked if is_there.get(one) != is_asked.get(one)]
    first = "fingerprint" if "fingerprint" in differing else differing[0]
    return f"{key.removesuffix('_card').replace('_', ' ')}'s {first}", is_there.get(first), is_asked.get(first)
