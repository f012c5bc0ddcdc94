"""Markdown as one HTML file: it opens from a disk, asks no network, and runs no script."""

from __future__ import annotations

import base64
import hashlib
import html

STYLE = """
:root { color-scheme: light dark; --line: #d5d9e0; --ink: #1b2130; --paper: #ffffff; --shade: #f3f5f8; }
@media (prefers-color-scheme: dark) { :root { --line: #363c4a; --ink: #e6e9f0; --paper: #12151c; --shade: #1b202b; } }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; margin: 2.2em 0 .6em; }
h1 { margin-top: 0; }
strong { background: var(--shade); border-left: .25rem solid #3b82f6; display: block; padding: .7rem 1rem; }
table { border-collapse: collapse; display: block; font-size: .88rem; margin: 1rem 0; overflow-x: auto;
  font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .8rem .4rem 0; text-align: left; vertical-align: top; }
th { background: var(--paper); position: sticky; top: 0; }
tr:hover td { background: var(--shade); }
img { background: #ffffff; border-radius: .5rem; height: auto; max-width: 100%; }
"""


def document_html(title: str, markdown: str) -> str:
    """A page of text, tables and PNG pictures that are in it; HTML in the text is shown as text.

    Args:
        title: of the window.
        markdown: CommonMark with tables.

    Raises:
        ImportError: markdown-it-py is missing.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise ImportError("pages need markdown-it-py: pip install 'energy-flow[viz]'") from error
    style = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'"
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
