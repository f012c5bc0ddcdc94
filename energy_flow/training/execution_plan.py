"""How the dense part is run on a device: compiled or not, kept or computed again, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ..config import EnergyConfig
from ..core import Execution
from ..core.execution.cost import kept_bytes
from ..utils.device_manager import DeviceManager
from ..utils.logging import logger

GRAPHED_ROWS = 256  # a CUDA graph is recorded for every number of rows: few of them
CPU_BFLOAT16_ROWS = 64  # oneDNN keeps a compiled product for every number of rows that it has seen (LOG)
ROOM = 0.7  # share of the memory that a training step may be expected to need before activations are computed again
OPTIMIZER_NUMBERS = 4  # kept per weight in float32: itself, its gradient, two moments
PATH_MARGIN = 1.25  # trained paths may be longer than untrained ones


class ExecutionPlan(NamedTuple):
    """An execution, and the reasons for it in words."""

    execution: Execution
    reason: str


def plan_execution(config: EnergyConfig, devices: DeviceManager, weights: int, rows: int) -> ExecutionPlan:
    """Choose how to train.

    Args:
        config: `compile` and `checkpointing`, and the sizes.
        devices: device, precision and the memory there is.
        weights: parameters of the model.
        rows: samples that run at once, a micro-batch.

    Raises:
        ValueError: compiling was asked for, and something that it needs is missing.
    """
    compiled, compiled_reason = _choose_compiled(config, devices)
    checkpointed, memory_reason = _choose_checkpointed(config, devices, weights, rows)
    graphed = config.compile == "graphs"
    bucket = CPU_BFLOAT16_ROWS if (devices.device.type, devices.precision) == ("cpu", "bfloat16") else 1
    bucket = GRAPHED_ROWS if graphed else bucket
    execution = Execution(
        compiled=compiled,
        on_failure=_go_on_eager if config.compile == "auto" else None,
        graphed=graphed,
        checkpointed=checkpointed,
        row_bucket=bucket,
    )
    return ExecutionPlan(execution, f"{compiled_reason}; {memory_reason}")


def _go_on_eager(reason: str) -> None:
    logger.warning("torch.compile failed, the run goes on without it (compile = off is silent): %s", reason)


def without_graphs(execution: Execution) -> Execution:
    """The same, compiled but without CUDA graphs."""
    return replace(execution, graphed=False, row_bucket=1)


def expected_bytes(config: EnergyConfig, number_bytes: int, weights: int, rows: int, checkpointed: bool) -> int:
    """Bytes that a training step is expected to need at most: weights, optimizer, and what the flow-steps keep."""
    per_flow = _bytes_per_flow(config, number_bytes, rows, checkpointed)
    return int(4 * OPTIMIZER_NUMBERS * weights + config.max_active_flows * per_flow)


def most_flows(config: EnergyConfig, devices: DeviceManager, weights: int, rows: int, checkpointed: bool) -> int:
    """The most flows of a sample that the memory there is is expected to hold: at least those that are launched."""
    total = devices.memory().total
    if total is None:
        return config.max_active_flows
    room = ROOM * total - 4 * OPTIMIZER_NUMBERS * weights
    fitting = int(room / _bytes_per_flow(config, _number_bytes(devices), rows, checkpointed))
    return max(config.num_sites, min(config.max_active_flows, fitting))


def _bytes_per_flow(config: EnergyConfig, number_bytes: int, rows: int, checkpointed: bool) -> float:
    """What a flow of every one of so many samples keeps over its path."""
    return rows * config.untrained_path * PATH_MARGIN * kept_bytes(config, number_bytes, checkpointed)


def _number_bytes(devices: DeviceManager) -> int:
    return 2 if devices.precision == "bfloat16" else 4


def _choose_compiled(config: EnergyConfig, devices: DeviceManager) -> tuple[bool, str]:
    if config.compile == "graphs" and devices.device.type != "cuda":
        raise ValueError(f"compile = 'graphs': CUDA graphs need a CUDA card, this is {devices.device}; give on or off")
    if config.compile == "off":
        return False, "compile off, as asked"
    if config.compile == "auto" and devices.device.type == "cpu":
        return False, "not compiled: it gains little on this device"
    missing = devices.compiler_missing()
    if config.compile != "auto" and missing:
        raise ValueError(f"compile = {config.compile!r}: {missing}; install it, or give auto or off")
    if config.compile != "auto":
        return True, f"compile {config.compile}, as asked"
    return not missing, f"not compiled: {missing}" if missing else "compiled"


def _choose_checkpointed(config: EnergyConfig, devices: DeviceManager, weights: int, rows: int) -> tuple[bool, str]:
    if config.checkpointing != "auto":
        return config.checkpointing == "on", f"checkpointing {config.checkpointing}, as asked"
    needed, total = expected_bytes(config, _number_bytes(devices), weights, rows, False), devices.memory().total
    if total is None:
        return False, "activations are kept: the memory of this device is not known"
    checkpointed = needed > ROOM * total
    kept = "computed again in the backward pass" if checkpointed else "kept"
    return checkpointed, f"activations are {kept}: they need up to {needed / 2**30:.1f} of {total / 2**30:.1f} GiB"
