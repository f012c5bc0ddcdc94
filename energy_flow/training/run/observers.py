"""Who watches a training run. Observers read figures and change nothing; one that fails is switched off."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ...utils.logging import logger

Figures = Mapping[str, float]


class Example(NamedTuple):
    """An output of the validation set in words."""

    given: str
    wanted: str
    found: tuple[str, ...]  # the nearest texts of the bank

    def __str__(self) -> str:
        return f"{self.given} -> {', '.join(self.found)} (wanted: {self.wanted})"


class Observer(Protocol):
    """What a trainer tells its observers. Every record holds `step` and `epoch`, both counted from 1."""

    def start(self, total_steps: int) -> None:
        """The run begins, or goes on, with so many steps before it."""

    def observe(self, records: Sequence[Figures]) -> None:
        """Some steps have been taken; one record each."""

    def validate(self, record: Figures, examples: Sequence[Example]) -> None:
        """The validation set has been measured; where its targets are texts, some outputs have been decoded."""

    def close(self) -> None:
        """The run has ended, whether well or not."""


class Observers:
    """Several observers, none of which can end a run: one that fails is named in the log, and told nothing more."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._listening = list(observers)

    def tell(self, tell: Callable[[Observer], object]) -> None:
        """Call something on every observer that is still on."""
        for observer in self._listening[:]:
            try:
                tell(observer)
            except (Exception, SystemExit) as error:
                self._listening.remove(observer)
                logger.error(
                    "the observer %s failed (%s: %s) and is switched off; training goes on",
                    type(observer).__name__,
                    type(error).__name__,
                    error,
                )
                with contextlib.suppress(Exception):
                    observer.close()

    def close(self) -> None:
        """The run has ended."""
        self.tell(lambda observer: observer.close())
