"""Vectors that were written as a text: by pandas, NumPy, PyTorch, a database, a spreadsheet, or by hand.

The patterns never go back (possessive quantifiers), so a long text takes time in proportion to its length.
"""

from __future__ import annotations

import re

import numpy as np

NUMBER = r"[-+]?+(?>\d++\.?+\d*+(?:[eE][-+]?+\d++)?+|\.\d++(?:[eE][-+]?+\d++)?+|nan|NaN|inf|Infinity)"
DECIMAL_COMMA = r"[-+]?+\d++,\d++(?:[eE][-+]?+\d++)?+"
BETWEEN = r"(?>\s*+[,;]\s*+|\s++)"  # two numbers: one sign, or spaces alone
MANY = 8  # numbers in a row are a vector even where it goes on otherwise, or has no brackets
# what NumPy 2, PyTorch and decimals write around the numbers of a list, or around the list
NAMED = r"\s*+,\s*+\w++\s*+=\s*+(?:<[^<>]*+>|\([^()]*+\)|[\w.'\":]++)"
ARRAY = r"(?:\w++\.)?(?:array|Array|tensor|Tensor)\("
WRAPPERS = re.compile(
    rf"\b(?:\w++\.)?(?:float\d*+|bfloat\d*+|int\d*+|tensor|Decimal)\(([\"']?+)({NUMBER})\1(?:{NAMED})*+\)"
)
OUTER = re.compile(rf"{ARRAY}\s*+(\[{{1,2}}+[^\[\]]*+\]{{1,2}}+)(?:{NAMED})*+\s*+,?+\s*+\)")
QUOTED = re.compile(rf"([\"'])({NUMBER})\1")
ONE_ROW = re.compile(r"[\[({]\s*+([\[({][^\[\](){}]*+[\])}])\s*+,?+\s*+[\])}]")
LIST = re.compile(rf"[\[({{]\s*+({NUMBER}(?:{BETWEEN}{NUMBER})*+)\s*+[,;]?+\s*+[\])}}]")
COMMAS = re.compile(
    rf"[\[({{]\s*+({DECIMAL_COMMA}(?:\s*+;\s*+{DECIMAL_COMMA})++)\s*+;?+\s*+[\])}}]"
    rf"|({DECIMAL_COMMA}(?:\s*+;\s*+{DECIMAL_COMMA}){{{MANY - 1},}}+)"
)
BARE = re.compile(rf"{NUMBER}(?:{BETWEEN}{NUMBER}){{{MANY - 1},}}+")
# lists that cannot be read
GAPS = re.compile(rf"[\[({{][\s,;]*+{NUMBER}(?:[\s,;]++{NUMBER})*+[\s,;]*+[\])}}]")
ELIDED = re.compile(rf"(?:{ARRAY})?+\s*+[\[(]{{1,2}}+\s*+{NUMBER}(?:{BETWEEN}{NUMBER})*+[\s,]*+\.\.\.")
BEGINNING = re.compile(rf"[\[({{]\s*+{NUMBER}(?:{BETWEEN}{NUMBER})*+")
KEY = r"\{[^\[\](){}]*+(?=\[)"  # an object, up to its first list
BEGUN = re.compile(
    rf"[\"']*+(?:{ARRAY}|{KEY})?+\s*+[\[({{][\s\"',;|\[({{]*+{NUMBER}(?:[\s\"',;|]++{NUMBER}){{{MANY - 1},}}+"
)
ROWS = re.compile(
    rf"(?:{ARRAY})?+\s*+[\[({{]\s*+[\[({{]\s*+{NUMBER}"
    rf"(?:(?>\s*+[\])}}]\s*+[,;]?+\s*+[\[({{]\s*+|{BETWEEN}){NUMBER}){{{MANY - 1},}}+\s*+[\])}}]"
)
STARTS = "[({\"'antjAT0123456789-+.\N{MINUS SIGN}"


class ListError(ValueError):
    """A list of numbers that cannot be read; the message is the reason.

    Args:
        reason: in words, after the name of the column and `is`.
        count: of its numbers, as far as they are known.
    """

    def __init__(self, reason: str, count: int = MANY) -> None:
        super().__init__(reason)
        self.count = count


def list_in(text: str) -> np.ndarray | None:
    """The numbers of a text that is a list: float64; None where it is none.

    Raises:
        ListError: a list that NumPy shortened, with a gap, of several rows, or one that is cut or holds something else.
    """
    found = text.strip()
    if not found or found[0] not in STARTS:
        return None
    found = _plain(found)
    if match := COMMAS.fullmatch(found):
        return np.array([float(one.replace(",", ".")) for one in (match[1] or match[2]).split(";") if one.strip()])
    if match := LIST.fullmatch(found):
        return _numbers(match[1])
    if BARE.fullmatch(found) and "." in found:  # without brackets, as fastText writes
        return _numbers(found)
    _require_no_list(found)
    return None


def _plain(text: str) -> str:
    """A list without what programs write around it and its numbers."""
    text = text.replace("\N{MINUS SIGN}", "-")
    if len(text) > 2 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    if outer := OUTER.fullmatch(text):
        text = outer[1]
    if text[:1] not in ("[", "(", "{"):
        return text
    if "(" in text[1:]:
        text = WRAPPERS.sub(r"\2", text)
    if '"' in text or "'" in text:
        text = QUOTED.sub(r"\2", text)
    row = ONE_ROW.fullmatch(text)
    return row[1] if row else text


def _numbers(text: str) -> np.ndarray:
    """Numbers with one sign between any two of them, or spaces alone."""
    sign = "," if "," in text else ";" if ";" in text else None
    try:
        return np.array([float(number) for number in text.split(sign)])
    except ValueError:  # a second sign is left between two of them
        raise ListError(
            f"a list with {sign!r} as well as other signs between its numbers ({text[:20]!r}...); write decimal points "
            "and one sign, or decimal commas in every number and ';' between",
            len(re.split(BETWEEN, text)),
        ) from None


def _require_no_list(text: str) -> None:
    """Refuse, with a ListError, what begins as a list of numbers and is none that can be read."""
    if GAPS.fullmatch(text):
        count = len(re.findall(NUMBER, text))
        raise ListError(f"a list with a gap among its {count} numbers; write every number, and one sign between", count)
    if ELIDED.match(text):
        raise ListError(
            "a vector of which NumPy wrote the beginning and the end alone (...); write it with .tolist(), "
            "or as .npy or Parquet"
        )
    if ROWS.match(text):
        raise ListError("several lists of numbers in one; give a vector: one list of numbers")
    if BEGUN.match(text):
        beginning = BEGINNING.match(text)
        if beginning is None:
            raise ListError(f"a list of numbers within something else ({text[:20]!r}...); write the list alone")
        end = beginning.end()
        rest = repr(text[end : end + 20]) if end < len(text) else "the end"
        raise ListError(
            f"a list of numbers that does not end as one: behind {end} letters comes {rest} (a cell of Excel "
            "holds 32 767 letters); write vectors as .npy or Parquet"
        )
