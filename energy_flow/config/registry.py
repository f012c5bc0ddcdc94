"""Open tables of named choices: a package, or its user, adds an entry, and the configuration accepts its name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
Registered = TypeVar("Registered")


class Registry(Generic[Entry]):
    """Entries by their name.

    Args:
        field: what holds a name, or a list of names: a field of `EnergyConfig` or an option; it leads every message.
        kind: what an entry is, in words.
        check: takes a name and an entry that is to be added, and raises a ValueError where they do not do.
        home: the module that registers the entries of this package; it is imported when the registry is first used.
    """

    def __init__(
        self, field: str, kind: str, check: Callable[[str, Entry], None] | None = None, home: str | None = None
    ) -> None:
        self.field, self.kind, self._check, self._home = field, kind, check, home
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """A decorator that adds what it decorates under `name`.

        Raises:
            ValueError: as `add`.
        """

        def add(entry: Registered) -> Registered:
            self.add(name, entry)  # type: ignore[arg-type]
            return entry

        return add

    def add(self, name: str, entry: Entry) -> None:
        """Add an entry; one that was defined at the same place, as by running a notebook's cell again, replaces it.

        Raises:
            ValueError: the name is taken by something else, or the registry's check refuses the entry.
        """
        self._fill()
        if self._check is not None:
            self._check(name, entry)
        if name in self._entries and _place_of(self._entries[name]) != _place_of(entry):
            raise ValueError(f"{self.kind} {name!r} is registered already; give yours another name")
        self._entries[name] = entry

    def require(self, name: str) -> None:
        """Raise a ValueError where no entry has this name."""
        self._fill()
        if name not in self._entries:
            raise ValueError(
                f"{self.field} = {name!r}; no such {self.kind} is registered: give one of {', '.join(self)}, "
                "or import the module that registers it first"
            )

    def __getitem__(self, name: str) -> Entry:
        self.require(name)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._fill()
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        self._fill()
        return name in self._entries

    def __len__(self) -> int:
        self._fill()
        return len(self._entries)

    def _fill(self) -> None:
        """Import the module that registers the entries of this package, if nobody has, or wait for who does."""
        if self._home is not None:
            importlib.import_module(self._home)


def _place_of(entry: object) -> tuple[str, str]:
    """Module and name of the definition; a face's or a task's is that of the function that it holds."""
    if not callable(entry):
        entry = getattr(entry, "start", getattr(entry, "sample", entry))
    return getattr(entry, "__module__", ""), getattr(entry, "__qualname__", repr(entry))


HOME = "energy_flow.core"
PIECES = Registry("features", "perceived piece", home=HOME)
FACES = Registry("mapping", "face", home=HOME)
MOVERS = Registry("mover", "mover", home=HOME)
READERS = Registry("reader", "reader", home=HOME)
ENERGY_RULES = Registry("energy_rule", "energy rule", home=HOME)
