"""The page on the configuration, from the fields, the words under them and the presets.

python docs/_generate/configuration.py          writes docs/configuration.md again
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from energy_flow.config import PRESETS, EnergyConfig
from energy_flow.config.energy_config import GROUPS

PAGE = Path(__file__).parent.parent / "configuration.md"
HEAD = """# Every field of the configuration

This page is written from the code by `python docs/_generate/configuration.py`.

A field is a keyword of `create_config(preset, ...)`, a key of a `--config` file (JSON or YAML), and an option of
`energy-flow train` with `-` for `_`: `--lattice-width 20`. What is set counts in this order, the later over the
earlier: preset, data set (its widths, and what a task needs), `--config` file, options. A configuration is frozen, and
checked when it is made; a value that does not fit is refused in a line that names the field and the fix.

## Presets

The defaults below are those of `optimized`. `energy-flow info --preset debug` shows parameters, memory and work of a
preset.

| preset | lattice | sites | most flows | carrier | batch |
|---|---|---|---|---|---|"""
AFTER_PRESETS = """
Those with the data's face are for data whose cells are sites, such as `maze`, `sudoku-6` and `delivery`: a flow starts
in every cell.
"""


def page() -> str:
    """The whole page."""
    sections = (_section(title, group) for title, group in GROUPS.items())
    return "\n".join([HEAD, *map(_preset, PRESETS), AFTER_PRESETS, *sections])


def _preset(name: str) -> str:
    """Its row of the table."""
    one = {field.name: field.default for field in fields(EnergyConfig)} | PRESETS[name]
    lattice, sites, flows = (
        f"{one['lattice_width']} x {one['lattice_height']} x {one['lattice_depth']}",
        "{} x {}".format(*one["sites"]),
        one["max_active_flows"],
    )
    if "lattice_width" not in PRESETS[name]:
        deeper = "; deeper for larger faces" if one["depth_exponent"] else ""
        lattice, sites, flows = f"the data's face, {one['lattice_depth']} deep{deeper}", "one a cell", "one a site"
    carrier = f"GRU {one['carrier_hidden_size']} x {one['carrier_num_layers']}"
    return f"| `{name}` | {lattice} | {sites} | {flows} | {carrier} | {one['batch_size']} |"


def _section(title: str, group: type) -> str:
    words = dict(_words_under_fields(group))
    kinds = get_type_hints(group)
    entries = [_entry(field.name, kinds[field.name], field.default, words[field.name]) for field in fields(group)]
    return f"## {title.capitalize()}\n\n{inspect.getdoc(group)}\n\n" + "\n".join(entries)


def _words_under_fields(group: type) -> Iterator[tuple[str, str]]:
    """Each field's name and the string under it, which Python itself does not keep."""
    (body,) = [node.body for node in ast.parse(inspect.getsource(group)).body if isinstance(node, ast.ClassDef)]
    for field, words in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant):
            yield ast.unparse(field.target), inspect.cleandoc(str(words.value.value))


def _entry(name: str, kind: Any, default: object, words: str) -> str:
    other = [f"`{preset}` {_shown(changes[name])}" for preset, changes in PRESETS.items() if _differs(changes, name)]
    presets = f" Presets: {', '.join(other)}." if other else ""
    return f"### `{name}`\n\n{words}\n\n{_kind(kind)}, default {_shown(default)}.{presets}\n"


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    return f"`{kind.__name__ if isinstance(kind, type) and not get_args(kind) else kind}`".replace("None", "null")


def _differs(changes: dict[str, object], name: str) -> bool:
    return name in changes and changes[name] != getattr(EnergyConfig, name)


def _shown(value: object) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
