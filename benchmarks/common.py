"""What every benchmark shares: the machine in the result, spread, and a table on the terminal and on disk."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import energy_flow
from energy_flow.config import EnergyConfig
from energy_flow.utils.machine import machine as machine_here

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, threads, accelerator and versions."""
    return machine_here() | {"energy_flow": energy_flow.__version__}


def fingerprint(config: EnergyConfig) -> str:
    """Twelve letters that tell one configuration from another."""
    return hashlib.sha256(config.to_json().encode()).hexdigest()[:12]


def commit() -> str:
    """The commit of this code, with `-dirty` where it was changed since; empty where git does not know it."""
    command = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        return ""


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def parser_for(question: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(description=question, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the result file")
    return parser


def publish(path: Path, question: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], **extra: Any) -> None:
    """Print the table, and write it with the machine to a JSON file."""
    where = machine()
    table = Table(*columns, title=question, title_justify="left")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table)
    console.print("  ".join(f"{key} {value}" for key, value in where.items()), highlight=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "question": question,
        "machine": where,
        "columns": list(columns),
        "rows": [list(row) for row in rows],
    } | extra
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def write_tables(path: Path, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], **run: Any) -> None:
    """The same table beside the JSON file, as Markdown and as CSV; what holds for the whole run ends each CSV row."""
    cells = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row] for row in rows]
    lines = ["| " + " | ".join(line) + " |" for line in (list(columns), ["---"] * len(columns), *cells)]
    whole_run = run | machine()
    text = "\n".join([title, "", *lines, "", ", ".join(f"{key} {value}" for key, value in whole_run.items()), ""])
    path.with_suffix(".md").write_text(text, encoding="utf-8", newline="\n")
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [[*columns, *whole_run], *([*row, *whole_run.values()] for row in cells)]
        )
