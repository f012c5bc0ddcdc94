"""Where a run is: what a checkpoint holds beside the weights, and how it is put back.

Tensors are safetensors and the rest is JSON: nothing in a checkpoint can execute code, and the same state has the same
bytes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import __version__ as safetensors_version
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..config import EnergyConfig
from ..config.energy_config import RUN_ONLY
from ..core import FlowProcessor
from ..data.pairs import PairSet
from ..utils.logging import logger
from ..distributed.ranks import Ranks
from .flow_budget import FlowBudget
from .metrics import EmbeddingMetrics
from .model_folder import CONFIG, WEIGHTS
from .schedule import load_moments, moments_of

STATE, OPTIMIZER, RANDOM = "state.json", "optimizer.safetensors", "random.safetensors"
PROBED_ROWS = 1000  # of the training set, for its fingerprint
LARGER_IS_BETTER = ("cosine", "centred_cosine", "acc_1", "acc_10", "acc_100")


@dataclass(frozen=True)
class EpochReport:
    """One pass over the training set."""

    epoch: int  # from 1
    train_loss: float
    validation_loss: float | None
    validation: EmbeddingMetrics | None

    def figure(self, name: str) -> float | None:
        """The figure that weights are chosen by, turned so that less is better; None where there is none."""
        if name == "loss" or self.validation is None:
            return self.validation_loss
        value = getattr(self.validation, name)
        return value if value is None or name not in LARGER_IS_BETTER else -value


@dataclass
class RunState:
    """Where a run is. The order of the rows is a function of seed and epoch, so the place in it is all there is."""

    total_steps: int
    data: str  # fingerprint of the training set
    step: int = 0  # steps taken
    epoch: int = 1
    batch: int = 0  # batches of this epoch that were taken
    epoch_loss: float = 0.0  # summed over the rows of this epoch
    epoch_rows: int = 0  # those that were trained on
    micro_batches: int = 1  # of a step; more than configured once memory ran out
    ranks: int = 1  # processes that train together
    skipped: int = 0  # batches that were left out because a number was not finite
    budget: FlowBudget | None = None  # where it adapts
    reports: list[EpochReport] = field(default_factory=list)

    def best_epoch(self, by: str) -> int | None:
        """The epoch of the best figure, the earliest of equals; None where nothing was measured."""
        measured = [(report.figure(by), report.epoch) for report in self.reports]
        return min(((value, epoch) for value, epoch in measured if value is not None), default=(0.0, None))[1]


def files_of(
    processor: FlowProcessor, optimizer: torch.optim.Optimizer, state: RunState, ranks: Ranks
) -> Mapping[str, Callable[[Path], object]]:
    """What writes each file of a checkpoint: weights, configuration, and the rest. Every process gives its part."""
    texts = {CONFIG: processor.config.to_json(), STATE: json.dumps(asdict(state), indent=2) + "\n"}
    tensors = {
        WEIGHTS: dict(processor.state_dict()),
        OPTIMIZER: {
            f"{weight}.{name}": value
            for weight, values in moments_of(optimizer, ranks).items()
            for name, value in values.items()
        },
        RANDOM: {
            name: value
            for part in ranks.bring_to_first(_random_states(ranks.rank, _device_of(optimizer)))
            for name, value in part.items()
        },
    }
    files: dict[str, Callable[[Path], object]] = {name: partial(_write_text, text) for name, text in texts.items()}
    return files | {name: partial(_write_tensors, values) for name, values in tensors.items()}


def restore(folder: Path, optimizer: torch.optim.Optimizer, ranks: Ranks) -> RunState:
    """Read the rest of a whole checkpoint: optimizer and generators are set, the state of the run is returned."""
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in load_file(folder / OPTIMIZER).items():
        weight, name = key.split(".")
        moments.setdefault(int(weight), {})[name] = value
    load_moments(optimizer, moments)
    _set_random_states(load_file(folder / RANDOM), ranks.rank, _device_of(optimizer))
    run = json.loads((folder / STATE).read_text(encoding="utf-8"))
    run["reports"] = [_report(values) for values in run["reports"]]
    run["budget"] = FlowBudget(**run["budget"]) if run.get("budget") else None
    state = RunState(**run)
    if state.ranks != ranks.count:
        logger.warning(
            "the run had %d processes and goes on with %d: it is the same to rounding, not to the bit",
            state.ranks,
            ranks.count,
        )
        state.ranks = ranks.count
    return state


def require_same_run(found: EnergyConfig, wanted: EnergyConfig) -> None:
    """Refuse to go on with fields that would compute something else, with a ValueError that names them."""
    before, now = found.to_dict(), wanted.to_dict()
    changed = [name for name in now if name not in RUN_ONLY and before[name] != now[name]]
    if changed:
        listed = ", ".join(f"{name} = {now[name]!r} (was {before[name]!r})" for name in changed)
        raise ValueError(
            f"the run was started with other fields: {listed}; leave them as they were, or start a new run"
        )


def fingerprint_of(pairs: PairSet) -> str:
    """What tells one training set from another: its shapes, and some of its rows."""
    digest = hashlib.sha256(repr((tuple(pairs.inputs.shape), tuple(pairs.targets.shape))).encode())
    rows = torch.arange(0, len(pairs), max(1, len(pairs) // PROBED_ROWS))
    for matrix in pairs.batch(rows):
        digest.update(matrix.float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """The versions that a checkpoint was written with."""
    try:
        own = importlib.metadata.version("energy-flow")
    except importlib.metadata.PackageNotFoundError:
        own = "not installed"
    return {
        "energy_flow": own,
        "torch": torch.__version__,
        "safetensors": safetensors_version,
        "python": platform.python_version(),
    }


def _report(values: dict[str, Any]) -> EpochReport:
    metrics = values.pop("validation")
    return EpochReport(**values, validation=None if metrics is None else EmbeddingMetrics(**metrics))


def _random_states(rank: int, device: torch.device) -> dict[str, Tensor]:
    """The states of the generators that this process uses: the CPU's, and its device's."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state(*_numbered(device))
    return {_of_rank(rank, name): state for name, state in states.items()}


def _set_random_states(states: dict[str, Tensor], rank: int, device: torch.device) -> None:
    """Set what the checkpoint has; one of a machine with fewer cards or processes has no state for the others."""
    if _of_rank(rank, "cpu") in states:
        torch.set_rng_state(states[_of_rank(rank, "cpu")])
    if device.type == "cpu":
        return
    for name in (device.type, str(device)):  # earlier versions kept every card's, by its number
        if _of_rank(rank, name) in states:
            torch.get_device_module(device).set_rng_state(states[_of_rank(rank, name)], *_numbered(device))
            return


def _device_of(optimizer: torch.optim.Optimizer) -> torch.device:
    """Where the weights are."""
    return next(weight.device for group in optimizer.param_groups for weight in group["params"])


def _numbered(device: torch.device) -> tuple[torch.device, ...]:
    """What torch's functions want to be told of a device: nothing where there is only one."""
    return () if device.type == "mps" else (device,)


def _of_rank(rank: int, name: str) -> str:
    return f"rank {rank}, {name}" if rank else name


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
