"""What a checkpoint holds, and how it is put back.

Tensors are safetensors and the rest is JSON: nothing in a checkpoint can execute code, and the same state has the same
bytes.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors import __version__ as safetensors_version
from safetensors.torch import load_file, save_file
from torch import Tensor

from ...core import FlowProcessor
from ...distributed.ranks import Ranks
from ...utils.logging import logger
from ..averaged_weights import AveragedWeights
from ..model_folder import CONFIG, WEIGHTS
from ..optimizers import load_moments, moments_of
from .run_state import STATE, RunState

OPTIMIZER, RANDOM, AVERAGE, BEST = (f"{name}.safetensors" for name in ("optimizer", "random", "averaged", "best"))
Files = Mapping[str, Callable[[Path], object]]  # what writes each file, by the file's name


def files_of(
    processor: FlowProcessor,
    optimizer: torch.optim.Optimizer,
    state: RunState,
    ranks: Ranks,
    averaged: AveragedWeights | None = None,
    best: Path | None = None,
) -> Files:
    """What writes each file of a checkpoint: weights, configuration, and the rest. Every process gives its part.

    Args:
        processor: the model.
        optimizer: of its parameters.
        state: where the run is.
        ranks: the processes that train together.
        averaged: the average of the weights, where there is one.
        best: the file of the best weights so far, where there are some; it is copied.
    """
    moments, state.optimizer_numbers = moments_of(optimizer, processor, ranks)
    random = [
        (name, value)
        for part in ranks.bring_to_first(_random_states(ranks.rank, _device_of(optimizer)))
        for name, value in part.items()
    ]
    texts = {CONFIG: processor.config.to_json(), STATE: state.to_json()}
    tensors = {WEIGHTS: dict(processor.state_dict()), OPTIMIZER: moments, RANDOM: dict(random)}
    if averaged is not None:
        tensors[AVERAGE] = averaged.state_dict()
    files: dict[str, Callable[[Path], object]] = {name: partial(write_text, text) for name, text in texts.items()}
    files |= {name: partial(_write_tensors, values) for name, values in tensors.items()}
    return files | ({BEST: partial(shutil.copyfile, best)} if best is not None and best.is_file() else {})


def restore(
    folder: Path,
    processor: FlowProcessor,
    optimizer: torch.optim.Optimizer,
    state: RunState,
    ranks: Ranks,
    averaged: AveragedWeights | None = None,
) -> None:
    """Put back what a whole checkpoint holds beside weights and state: moments, generators, averages.

    Raises:
        ValueError: the moments are not those of the parameters that train now.
    """
    load_moments(optimizer, processor, load_file(folder / OPTIMIZER), state.optimizer_numbers, state.frozen or ())
    _set_random_states(load_file(folder / RANDOM), ranks.rank, _device_of(optimizer))
    if averaged is not None:
        averaged.load_state_dict(load_file(folder / AVERAGE), state.averaged_steps)
    if state.ranks != ranks.count:
        logger.warning(
            "the run had %d processes and goes on with %d: it is the same to rounding, not to the bit",
            state.ranks,
            ranks.count,
        )
        state.ranks = ranks.count


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


def write_text(text: str, path: Path) -> None:
    """Write a text as every system writes it."""
    path.write_text(text, encoding="utf-8", newline="\n")


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


def _write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, path)
