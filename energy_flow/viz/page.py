"""One HTML file that shows a scene: it opens from a disk, asks no network, and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .scene import Records, Scene

STATIC = "static"
NOTEBOOK_RECORDS = 400_000  # of a trace that shows itself; more would make a notebook slow to open


def write_page(path: str | Path, scene: Scene) -> Path:
    """Write a page that shows a scene.

    Args:
        path: the file, such as `flows.html`; its folder is made where it is missing.
        scene: what it shows.

    Returns:
        the path.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page_html(scene), encoding="utf-8", newline="\n")
    return path


def page_html(scene: Scene) -> str:
    """The page as text. Its script, its style and the scene are in it; a policy forbids everything else."""
    script, style = static_text("viewer.js"), static_text("viewer.css")
    policy = (
        f"default-src 'none'; script-src {_hash_of(script)}; style-src {_hash_of(style)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(scene.title or 'Energy Flow')}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        "<noscript>This page draws with JavaScript, which is switched off.</noscript>\n"
        f'<script type="application/json" id="scene">{json_for_html(scene.to_dict())}</script>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def trace_html(trace: Records, title: str = "", height: int = 620) -> str:
    """A frame with the page of a trace, as notebooks show it.

    Args:
        trace: every flow of some samples at every step.
        title: a line above the picture.
        height: of the frame, in pixels.

    Returns:
        HTML. For a trace of more than 400 000 records it is a sentence that says so.
    """
    if len(trace.step) > NOTEBOOK_RECORDS:
        return (
            f"<p>{len(trace.step):,} records are too many for a notebook; "
            "write a page: energy_flow.viz.write_page(path, Scene.of(trace))</p>"
        )
    page = html.escape(page_html(Scene.of(trace, title=title)), quote=True)
    return (
        f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="Flows through the lattice" '
        f'style="width: 100%; height: {int(height)}px; border: 0; border-radius: 12px"></iframe>'
    )


def json_for_html(value: Mapping[str, Any]) -> str:
    """JSON that may stand in an HTML page: no text in it can end its element or begin another one."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@lru_cache(maxsize=4)
def static_text(name: str) -> str:
    """A file that the viewer was built into, as text.

    Raises:
        FileNotFoundError: it is not there.
    """
    place = files("energy_flow.viz") / STATIC / name
    if not place.is_file():
        raise FileNotFoundError(f"{place}: no such file; build it with `npm ci && npm run build` in the folder viewer")
    return place.read_text(encoding="utf-8")


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
