"""Figures as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Column, Table
from rich.text import Text

HEADINGS = {
    "mse": "MSE",
    "cosine": "cosine",
    "centred_cosine": "centred cosine",
    "no_direction": "no direction",
    "rank_std": "rank std",
    "median_rank": "median rank",
    "acc_1": "acc@1",
    "acc_10": "acc@10",
    "acc_100": "acc@100",
    "synonym_acc_1": "synonym acc@1",
    "recall_1": "recall@1",
    "recall_10": "recall@10",
    "recall_100": "recall@100",
    "ndcg_10": "nDCG@10",
}


Interval = tuple[float, float]


def metrics_table(
    title: str, rows: Mapping[str, Mapping[str, float]], intervals: Mapping[str, Mapping[str, Interval]] | None = None
) -> Table:
    """One column per system, one row per figure, each with its interval; HEADINGS may give a figure a name to read."""
    intervals = intervals or {}
    names = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    table = Table("", *(Column(Text(name)) for name in rows), title=Text(title), title_justify="left")
    for name in names:
        cells = (_figure(figures.get(name), intervals.get(system, {}).get(name)) for system, figures in rows.items())
        table.add_row(Text(HEADINGS.get(name, name)), *cells)
    return table


def examples_table(title: str, rows: Sequence[tuple[str, str, Sequence[str]]]) -> Table:
    """Inputs, what they should give, and what they gave."""
    table = Table("input", "target", "nearest texts of the output", title=Text(title), title_justify="left")
    for given, wanted, found in rows:  # `Text`, as brackets in a text are no markup
        nearest = Text(", ").join(Text(text, "bold" if text == wanted else "") for text in found)
        table.add_row(Text(given), Text(wanted), nearest)
    return table


def cost_table(title: str, parameters: Mapping[str, int], flops: Mapping[str, int]) -> Table:
    """Parameters and products per part."""
    table = Table("part", "parameters", "forward FLOPs per flow-step", title=Text(title), title_justify="left")
    for part, count in parameters.items():
        work = flops.get(part, 0)
        table.add_row(Text(part), f"{count:,}", f"{work:,} per sample" if part == "faces" else f"{work:,}")
    table.add_section()
    table.add_row("all", f"{sum(parameters.values()):,}", f"{sum(flops.values()) - flops.get('faces', 0):,}")
    return table


def _figure(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if interval is None else f"{value:.4g} ({interval[0]:.4g}-{interval[1]:.4g})"
