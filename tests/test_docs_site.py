"""The site of the docs: it builds without a warning, without a network, and knows every field of the configuration."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from energy_flow.config import EnergyConfig

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LOADED = re.compile(r"<(?:script|link|img|iframe|source|video)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^\"' >]+")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


def test_the_page_of_the_configuration_is_what_the_code_says() -> None:
    written = (DOCS / "configuration.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(DOCS / "_generate" / "configuration.py"))["page"]()
    assert written == made, "run: python docs/_generate/configuration.py"
    explained = re.findall(r"^### `(\w+)`\n\n\w", written, flags=re.MULTILINE)
    assert sorted(explained) == sorted(field.name for field in fields(EnergyConfig))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_into_the_docs_lead_somewhere(page: str) -> None:
    """The pages of docs are checked by the build; these two are none of its pages."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", (ROOT / page).read_text(encoding="utf-8"))
    for path, anchor in links:
        assert (ROOT / path).exists(), path
        headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        names = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in names, f"{path}#{anchor}"


@pytest.mark.slow
def test_every_field_has_a_heading_of_its_own(site: Path) -> None:
    page = (site / "configuration.html").read_text(encoding="utf-8")
    missing = [field.name for field in fields(EnergyConfig) if f'<h3 id="{field.name}">' not in page]
    assert not missing


@pytest.mark.slow
def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    asked = {page.name: LOADED.findall(page.read_text(encoding="utf-8")) for page in pages}
    assert not {name: found for name, found in asked.items() if found}
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", styles)
    assert 'class="mermaid"' not in "".join(
        page.read_text(encoding="utf-8") for page in pages
    )  # its script is elsewhere


@pytest.mark.slow
def test_every_page_is_in_the_navigation_and_the_code_beside_its_equation(site: Path) -> None:
    start = (site / "index.html").read_text(encoding="utf-8")
    pages = [path.relative_to(DOCS).with_suffix(".html").as_posix() for path in DOCS.rglob("*.md")]
    assert not [page for page in pages if f'href="{page}"' not in start]
    equations = (site / "equations.html").read_text(encoding="utf-8")
    unfolded = equations.count('<details class="mkdocstrings-source" open>')
    assert unfolded == (DOCS / "equations.md").read_text(encoding="utf-8").count("::: energy_flow")
