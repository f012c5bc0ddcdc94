"""How long texts are in the tokens of a model, so that what it cuts off can be counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class TokenCounter:
    """Counts tokens as a model's tokenizer makes them, without cutting.

    Args:
        tokenizer: the model's; a copy is made.
        limit: tokens that the model reads of a text.
        special_tokens: whether the model puts its own before and behind a text.
    """

    def __init__(self, tokenizer: Tokenizer, limit: int, special_tokens: bool = True) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._limit, self._special_tokens = limit, special_tokens
        self._added = self._tokenizer.num_special_tokens_to_add(False) + 1  # and a mark that some put before a text

    def longer(self, texts: Sequence[str]) -> list[bool]:
        """Which texts have more tokens than the limit."""
        found = [False] * len(texts)
        unclear = [place for place, text in enumerate(texts) if not self._surely_fits(text)]
        if unclear:
            chosen = [texts[place] for place in unclear]
            counted = self._tokenizer.encode_batch_fast(chosen, add_special_tokens=self._special_tokens)
            for place, tokens in zip(unclear, counted, strict=True):
                found[place] = len(tokens.ids) > self._limit
        return found

    def _surely_fits(self, text: str) -> bool:
        """A token of plain letters stands for one of them at least; others may be taken apart."""
        return text.isascii() and len(text) + self._added <= self._limit


def fast_tokenizer(tokenizer: Any) -> Tokenizer | None:
    """The tokenizer of the library `tokenizers` inside another one, if it is one."""
    from tokenizers import Tokenizer

    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    return inner if isinstance(inner, Tokenizer) else None
