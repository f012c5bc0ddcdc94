from __future__ import annotations

import io
import json
import mmap
import subprocess
import sys

import pytest
import torch
from rich.console import Console

from energy_flow.core import create_processor
from energy_flow.training.flow_log import log_flows
from energy_flow.utils import (
    DEBUG_CONVERGENCE,
    DEBUG_ENERGY,
    DEBUG_SPAWN,
    DeviceManager,
    MemoryReport,
    Position3D,
    batch_slices,
    epoch_order,
    log_context,
    logger,
    setup_logging,
    to_positions,
)

from .test_laws import BUSY


def stats():
    return create_processor(BUSY).run(torch.ones(2, 12)).stats


@pytest.mark.parametrize("name", ["DEBUG_ENERGY", "DEBUG_SPAWN", "DEBUG_CONVERGENCE"])
def test_levels_switch_on_one_by_one(tmp_path, name: str) -> None:
    path = tmp_path / "log.jsonl"
    setup_logging(channels=(name,), json_path=path, console=Console(file=io.StringIO()))
    log_flows(stats())
    logger.debug("ordinary debug stays off")
    logger.info("ordinary info is on")
    levels = {json.loads(line)["level"] for line in path.read_text().splitlines()}
    assert levels == {name, "INFO"}


def test_levels_that_are_off_compute_nothing() -> None:
    setup_logging(console=Console(file=io.StringIO()))
    log_flows(None)  # type: ignore[arg-type]  # nothing is looked at
    for level in (DEBUG_ENERGY, DEBUG_SPAWN, DEBUG_CONVERGENCE):
        assert not logger.isEnabledFor(level)


def test_context_is_on_every_record(tmp_path) -> None:
    path, console = tmp_path / "log.jsonl", Console(file=io.StringIO(), width=200)
    setup_logging(json_path=path, console=console)
    with log_context(run="first", epoch=2):
        with log_context(step=7):
            logger.info("inside %d", 1)
        logger.info("after")
    logger.info("outside")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert records[0] | {"time": 0} == {
        "time": 0,
        "level": "INFO",
        "message": "inside 1",
        "run": "first",
        "epoch": 2,
        "step": 7,
    }
    assert "step" not in records[1]
    assert "run" not in records[2]
    assert "[run=first epoch=2 step=7]" in console.file.getvalue()  # type: ignore[attr-defined]


def test_set_up_twice_logs_once(tmp_path) -> None:
    for name in ("a", "b"):
        setup_logging(json_path=tmp_path / name, console=Console(file=io.StringIO()))
    logger.info("once")
    assert not (tmp_path / "a").exists()
    assert len((tmp_path / "b").read_text().splitlines()) == 1


@pytest.mark.parametrize("arguments", [{"level": "LOUD"}, {"channels": ("DEBUG_ALL",)}])
def test_unknown_levels_are_named(arguments) -> None:
    with pytest.raises(ValueError, match=r"LOUD|DEBUG_ALL"):
        setup_logging(**arguments)


def test_library_is_silent_until_asked() -> None:
    code = "from energy_flow.utils import logger; logger.warning('a word')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_device_manager_picks_and_says_why() -> None:
    devices = DeviceManager("cpu")
    assert devices.device == torch.device("cpu")
    assert devices.precision == "float32"
    assert devices.reason == "cpu (as asked), float32 (the choice on this device)"
    assert DeviceManager().device.type in ("cpu", "cuda", "mps")
    with DeviceManager("cpu", "bfloat16").autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.bfloat16
    with devices.autocast():
        assert torch.ones(2, 2).mm(torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("device", "precision"), [("gpu", "auto"), ("meta", "auto"), ("cuda:99", "auto"), ("cpu", "float8")]
)
def test_device_manager_names_what_is_not_there(device: str, precision: str) -> None:
    with pytest.raises(ValueError, match=f"'{device}'" if precision == "auto" else "'float8'"):
        DeviceManager(device, precision)


def test_memory_report_sees_new_pages() -> None:
    devices, size = DeviceManager("cpu"), 128 * 2**20
    before = devices.memory()
    with mmap.mmap(-1, size) as pages:  # fresh from the system, unlike a tensor in memory that was freed before
        pages.write(b"x" * size)
        after = devices.memory()
    assert after.used - before.used > 0.9 * size
    assert after.peak >= after.used
    assert after.total is None or after.total > after.used


def test_batch_helpers() -> None:
    assert [(rows.start, rows.stop) for rows in batch_slices(7, 3)] == [(0, 3), (3, 6), (6, 7)]
    assert to_positions(torch.tensor([[1.0, 2.0, 3.0]])) == [Position3D(1.0, 2.0, 3.0)]
    order = epoch_order(50, seed=3, epoch=2)
    assert torch.equal(order, epoch_order(50, seed=3, epoch=2))
    assert sorted(order.tolist()) == list(range(50))
    assert not torch.equal(order, epoch_order(50, seed=3, epoch=3))
    assert not torch.equal(order, epoch_order(50, seed=4, epoch=2))


def test_memory_that_is_nearly_full_is_said_once(monkeypatch, caplog) -> None:
    devices = DeviceManager("cpu")
    for used, warnings in ((90, 0), (93, 1), (95, 1)):
        monkeypatch.setattr(devices, "memory", lambda used=used: MemoryReport(used, used, 100))
        assert devices.watch_memory().used == used
        assert caplog.text.count("memory of cpu is nearly full") == warnings


def test_utilization_is_the_cards_where_something_tells_it(monkeypatch) -> None:
    devices = DeviceManager("cpu")
    assert devices.utilization() is None
    devices.device = torch.device("cuda", 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "pynvml")
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: {1: 87}[device.index])
    assert devices.utilization() == 87.0
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: (_ for _ in ()).throw(RuntimeError("not supported")))
    assert devices.utilization() is None
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert devices.utilization() is None
