"""`energy-flow list`: the trained models that come with the package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from ..models import facts_of, names, size_of
from .report import console


@dataclass(frozen=True)
class ListModels:
    """List the trained models that come with the package, with what they score."""

    def __call__(self) -> None:
        """Print the table."""
        table = Table("name", "what it does", "score, mean over seeds (95 % interval)", show_lines=True)
        for name in names():
            facts = facts_of(name)
            size = f"{facts['parameters']:,} parameters, {size_of(name) / 1000:,.0f} kB, data {facts['data']}"
            table.add_row(*(Text(cell) for cell in (name, f"{facts['what']}; {size}", _scores(facts))))
        console.print(table)
        console.print("energy-flow evaluate NAME judges one, energy-flow explore NAME shows its flows;")
        console.print("energy-flow load NAME copies it to a folder; in Python: energy_flow.load(NAME)")


def _scores(facts: dict[str, Any]) -> str:
    lines = [f"{facts['metric']}, {len(facts['seeds'])} seeds"]
    for where, score in facts["scores"].items():
        low, high = score["interval"]
        lines.append(f"{where}: {score['score']:.3f} ({low:.3f}-{high:.3f})")
    return "\n".join(lines)
