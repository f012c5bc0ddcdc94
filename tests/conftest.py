from __future__ import annotations

import json
import logging
import os

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:  # a core for each worker, and for the processes that it starts
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

ABOUT_IMAGES = ("test_filmstrip", "test_cli")


def pytest_addoption(parser) -> None:
    parser.addoption("--screenshots", metavar="FOLDER", help="where browser tests keep pictures; a temporary folder")


@pytest.fixture(autouse=True)
def _quiet_and_seeded():
    """Every test starts from the same generator, and leaves the package's logger as it found it."""
    torch.manual_seed(0)
    logger = logging.getLogger("energy_flow")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    for handler in logger.handlers[:]:
        if handler not in handlers:
            logger.removeHandler(handler)
            handler.close()
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def _no_images(request, monkeypatch):
    """Runs draw no images where a test is not about them: matplotlib takes half the time of a small run."""
    if request.path.stem not in ABOUT_IMAGES:
        monkeypatch.setattr("energy_flow.cli.filmstrip.Filmstrip._draw", lambda *given: None)


@pytest.fixture
def tasks(monkeypatch):
    """The registry of tasks; what a test adds is gone after it."""
    from energy_flow.data import TASKS

    monkeypatch.setattr(TASKS, "_entries", dict(TASKS._entries))
    return TASKS


@pytest.fixture(scope="session")
def toy_set(tmp_path_factory):
    """A pair set of 2 500 definitions of 700 words, with 720 candidates in groups of two, embedded by a toy."""
    from .test_embedding import job, write_jsonl

    folder = tmp_path_factory.mktemp("toy")
    candidates = folder / "candidates.jsonl"
    lines = ({"text": f"word{row}", "groups": [f"group{row // 2}"]} for row in range(720))
    candidates.write_text("".join(json.dumps(line) + "\n" for line in lines))
    job(write_jsonl(folder / "pairs.jsonl"), folder / "set", candidates=candidates).run()
    return folder / "set"


@pytest.fixture(scope="session")
def toy_model(toy_set, tmp_path_factory):
    """A model for the toy set, hardly trained."""
    from energy_flow.cli import main

    run = tmp_path_factory.mktemp("runs") / "toy"
    sizes = "--carrier-hidden-size 8 --carrier-num-layers 1 --neuron-hidden-dim 8 --neuron-output-dim 8"
    main(f"train --preset tiny --data {toy_set} --run {run} --epochs 1 --device cpu {sizes}".split())
    return run / "best"
