"""Vectors that were written as a text: by pandas, NumPy, PyTorch, a database, or by hand.

The patterns never go back (possessive quantifiers), so a long text takes time in proportion to its length.
"""

from __future__ import annotations

import re

import numpy as np

NUMBER = r"[-+]?+(?>\d++\.?+\d*+(?:[eE][-+]?+\d++)?+|\.\d++(?:[eE][-+]?+\d++)?+|nan|NaN|inf|Infinity)"
BETWEEN = r"[\s,;]++"
MANY = 8  # numbers in a row are a vector even where it goes on otherwise, or has no brackets
# what NumPy 2 and PyTorch write around the numbers of a list, or around the list
WRAPPERS = re.compile(rf"\b(?:np\.|numpy\.|torch\.)?(?:float\d*+|int\d*+|tensor)\(({NUMBER})\)")
OUTER = re.compile(
    r"(?:np\.|numpy\.|torch\.)?(?:array|tensor)\(\s*+(\[[^\]]*+\])(?:\s*+,\s*+\w++\s*+=\s*+[\w.'\":]++)*+\s*+\)"
)
LIST = re.compile(rf"[\[({{]\s*+({NUMBER}(?:{BETWEEN}{NUMBER})*+)[\s,;]*+[\])}}]")
BARE = re.compile(rf"{NUMBER}(?:{BETWEEN}{NUMBER}){{{MANY - 1},}}+")
ELIDED = re.compile(rf"[\[(]\s*+{NUMBER}(?:{BETWEEN}{NUMBER})*+[\s,]*+\.\.\.")
BEGUN = re.compile(rf"[\[({{]\s*+{NUMBER}(?:{BETWEEN}{NUMBER}){{{MANY - 1},}}+")
STARTS = "[({ant0123456789-+."


def list_in(text: str) -> np.ndarray | None:
    """The numbers of a text that is a list: float64; None where it is none.

    Raises:
        ValueError: a list that NumPy shortened, or one that is cut or holds something else; the message is the reason.
    """
    found = text.strip()
    if not found or found[0] not in STARTS:
        return None
    if outer := OUTER.fullmatch(found):
        found = outer[1]
    if "(" in found[1:]:
        found = WRAPPERS.sub(r"\1", found)
    if match := LIST.fullmatch(found):
        return _numbers(match[1])
    if BARE.fullmatch(found) and "." in found:  # without brackets, as fastText writes
        return _numbers(found)
    if ELIDED.match(found):
        raise ValueError(
            "a vector of which NumPy wrote the beginning and the end alone (...); write it with .tolist(), "
            "or as .npy or Parquet"
        )
    if begun := BEGUN.match(found):
        rest = repr(found[begun.end() : begun.end() + 20]) if begun.end() < len(found) else "the end"
        raise ValueError(
            f"a list of numbers that does not end as one: behind {begun.end()} letters comes {rest} (a cell of Excel "
            "holds 32 767 letters); write vectors as .npy or Parquet"
        )
    return None


def _numbers(text: str) -> np.ndarray:
    return np.array([float(number) for number in re.split(BETWEEN, text)])
