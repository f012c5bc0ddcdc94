"""What a release is made of: one version everywhere, its notes, the lock, the workflows."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import energy_flow
from tools import check_release, lock
from tools.release_notes import notes

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CHANGELOG = "# Changelog\n\n## 0.2.0 (unreleased)\n\n- New.\n\n## 0.1.0 (2026-12-01)\n\n- First.\n- Second.\n"


def test_every_file_says_the_same_version() -> None:
    version = energy_flow.__version__
    assert PROJECT["version"] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert notes(version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), released=False)


def test_the_notes_of_a_version_are_its_section() -> None:
    assert notes("0.1.0", CHANGELOG) == "- First.\n- Second.\n"


@pytest.mark.parametrize(("version", "said"), [("0.2.0", "write the date"), ("0.1", "no heading '## 0.1'")])
def test_a_version_without_notes_is_not_released(version: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        notes(version, CHANGELOG)


def test_the_lock_has_a_version_of_everything_and_nothing_of_one_machine() -> None:
    lines = lock.LOCK.read_text(encoding="utf-8").removeprefix(lock.HEADER).splitlines()
    assert lock.pins("\n".join(lines)) == lines
    pinned = {plain(line.partition("==")[0]) for line in lines}
    extras = PROJECT["optional-dependencies"]
    wanted = PROJECT["dependencies"] + extras["cli"] + extras["test"] + extras["release"] + extras["dev"]
    names = {plain(re.split(r"[<>=;\[ ]", line)[0]) for line in wanted} - {"energy-flow", "torch"}
    assert names <= pinned, f"{sorted(names - pinned)} are not in the lock; run: python tools/lock.py"


def test_a_path_or_an_address_is_no_pin() -> None:
    for line in ("torch-thing @ file:///wheels/x.whl", "--find-links /wheels", "-e ."):
        with pytest.raises(ValueError, match="no pins"):
            lock.pins(f"rich==13.7\n{line}\n")


def plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_little_and_name_what_there_is(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
    for file in re.findall(r"(?:tools|tests)/\w+\.py|Containerfile(?:\.\w+)?|\.ci/run|requirements[\w.-]+", text):
        assert (ROOT / file).is_file(), file
    for extra in re.findall(r'-e "?\.\[(\w+)\]', text):
        assert extra in PROJECT["optional-dependencies"]


def test_forms_and_hooks_are_yaml() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    for path in (*forms, ROOT / ".github" / "dependabot.yml", ROOT / ".pre-commit-config.yaml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8")), path.name
    for path in forms:
        if path.stem != "config":
            assert {"name", "description", "body"} <= yaml.safe_load(path.read_text(encoding="utf-8")).keys()


@pytest.fixture
def packages(tmp_path: Path):
    """Make a wheel and an sdist of empty files, but for some, and with others."""

    def make(*left_out: str, more: tuple[str, ...] = ()) -> tuple[Path, Path]:
        files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "energy_flow").rglob("*") if path.is_file()]
        wheel, sdist = tmp_path / "a.whl", tmp_path / "a.tar.gz"
        with zipfile.ZipFile(wheel, "w") as file:
            for name in {*files, *more} - {*left_out}:
                file.writestr(name, "")
        with tarfile.open(sdist, "w:gz") as file:
            for name in {*files, *check_release.IN_SDIST} - {*left_out}:
                file.addfile(tarfile.TarInfo(f"energy_flow-1/{name}"))
        return wheel, sdist

    return make


def test_packages_with_all_files_pass(packages) -> None:
    check_release.check_contents(*packages())


@pytest.mark.parametrize("name", ["energy_flow/viz/static/viewer.js", "energy_flow/core/step.py", "tests/reference.py"])
def test_a_package_that_lacks_a_file_is_refused(packages, name: str) -> None:
    with pytest.raises(ValueError, match=f"lacks {re.escape(name)}"):
        check_release.check_contents(*packages(name))


def test_a_wheel_with_more_than_the_package_or_too_many_bytes_is_refused(packages, monkeypatch) -> None:
    with pytest.raises(ValueError, match="has more than the package: tests/test_x.py"):
        check_release.check_contents(*packages(more=("tests/test_x.py",)))
    monkeypatch.setattr(check_release, "LARGEST_WHEEL", 10)
    with pytest.raises(ValueError, match="more than 10"):
        check_release.check_contents(*packages())
