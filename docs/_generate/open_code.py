"""A hook of mkdocs: beside the equations the code is unfolded; elsewhere it is folded."""

from __future__ import annotations

from typing import Any

FOLDED = '<details class="mkdocstrings-source">'


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """The HTML of a page, its code unfolded where the page is about it."""
    about_code = page.file.src_uri == "equations.md"
    return html.replace(FOLDED, FOLDED.replace(">", " open>")) if about_code else html
