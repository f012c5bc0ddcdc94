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
|---|---|---|---|---|---|
| `tiny` | 12 x 12 x 8 | 4 x 4 | 32 | GRU 128 x 2 | 128 |
| `debug` | 20 x 20 x 10 | 8 x 8 | 100 | GRU 1024 x 3 | 8 |
| `experiment` | 50 x 50 x 20 | 16 x 16 | 500 | GRU 1024 x 3 | 16 |
| `optimized` | 100 x 100 x 50 | 32 x 24 | 1000 | GRU 1024 x 3 | 32 |
| `grid` | the data's face, 25 deep; deeper for larger faces | one a cell | one a site | GRU 48 x 1 | 32 |
| `exchange` | the data's face, 17 deep | one a cell | one a site | GRU 48 x 1 | 32 |
| `pointer` | the data's face, 3 deep | one a cell | one a site | GRU 32 x 1 | 64 |

The last three are for data whose cells are sites, such as `maze`, `sudoku-6` and `delivery`: a flow starts in every
cell.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(title, group) for title, group in GROUPS.items())])


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
