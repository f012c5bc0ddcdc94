"""The optimizer, and its moments by the names of their parameters, on one process or over several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..config import EnergyConfig
from ..distributed.ranks import Ranks

MakeOptimizer = Callable[[nn.Module], torch.optim.Optimizer]
BASE_RATE = "peak_rate"  # of a group: what the schedule's factor multiplies


def create_optimizer(model: nn.Module, config: EnergyConfig) -> torch.optim.Optimizer:
    """Adam or AdamW; only matrices decay.

    With `shard_optimizer`, each of several processes keeps the moments of its part of the weights alone, updates that
    part and sends it to the others (ZeRO stage 1, Rajbhandari et al. 2020).

    Raises:
        ValueError: every parameter is frozen.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if not weights:
        raise ValueError(f"freeze = {list(config.freeze)}: nothing is left to train; freeze fewer parts")
    groups = [
        {"params": [weight for weight in weights if weight.dim() == 2], "weight_decay": config.weight_decay},
        {"params": [weight for weight in weights if weight.dim() != 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    betas = (0.9, config.beta2)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    if config.shard_optimizer and Ranks().count > 1:
        from torch.distributed.optim import ZeroRedundancyOptimizer  # slow to import, and with warnings

        return ZeroRedundancyOptimizer(groups, kind, lr=config.learning_rate, betas=betas)
    return kind(groups, lr=config.learning_rate, betas=betas)


def freeze(model: nn.Module, names: tuple[str, ...]) -> None:
    """Keep parts of a model from training.

    Args:
        model: whose parameters are frozen.
        names: of its parts, such as `mapper`, or the beginnings of parameters' names, up to a dot.

    Raises:
        ValueError: no parameter has such a name.
    """
    for name in names:
        found = [weight for full, weight in model.named_parameters() if f"{full}.".startswith(f"{name}.")]
        if not found:
            parts = ", ".join(part for part, child in model.named_children() if any(True for _ in child.parameters()))
            raise ValueError(f"freeze = {name!r}: no part or parameter of this name; the parts are {parts}")
        for weight in found:
            weight.requires_grad_(False)


def checked_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> torch.optim.Optimizer:
    """An optimizer that fits the model, its rates noted as those that the schedule multiplies.

    Raises:
        ValueError: it is none, it needs a closure, or it holds a parameter that is not the model's.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ValueError(f"optimizer is a {type(optimizer).__name__}; give a torch.optim.Optimizer, or what makes one")
    if isinstance(optimizer, torch.optim.LBFGS):
        raise ValueError("optimizer is LBFGS, which asks for the loss again within a step; give a first-order one")
    known = {id(weight) for weight in model.parameters()}
    held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    if not held <= known:
        raise ValueError("optimizer holds parameters that are not this model's; build it of trainer.processor")
    left = [name for name, weight in model.named_parameters() if weight.requires_grad and id(weight) not in held]
    if left:
        raise ValueError(
            f"optimizer does not hold {', '.join(left[:3])}{', ...' if len(left) > 3 else ''}; freeze what is not to "
            "train (freeze in the configuration, or requires_grad_(False)), or give the optimizer all the rest"
        )
    for group in optimizer.param_groups:
        group.setdefault(BASE_RATE, float(group["lr"]))
    return optimizer


def description_of(optimizer: torch.optim.Optimizer) -> str:
    """Class and options of an optimizer, group by group: two with the same words take the same steps."""
    groups = [
        ", ".join(
            f"{name}={value}" for name, value in sorted(group.items()) if name not in ("params", "lr", "param_names")
        )
        for group in optimizer.param_groups
    ]
    return f"{type(optimizer).__qualname__}({'; '.join(groups)})"


def moments_of(
    optimizer: torch.optim.Optimizer, model: nn.Module, ranks: Ranks
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's tensors, and its other numbers, as `PARAMETER.NAME`; sharded ones come to the first process.

    Raises:
        ValueError: it keeps something else.
    """
    consolidate = getattr(optimizer, "consolidate_state_dict", None)  # a sharded one has it
    if consolidate is not None:
        consolidate(to=0)
        if not ranks.first:
            return {}, {}
    names = _names(optimizer, model)
    found = {
        f"{names[int(number)]}.{name}": value
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    numbers = {name: value for name, value in found.items() if not isinstance(value, Tensor)}
    for name, value in numbers.items():
        if not isinstance(value, int | float | str | None):
            raise ValueError(f"the optimizer keeps a {type(value).__name__} as {name}; a checkpoint holds tensors")
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    return (tensors, numbers) if ranks.first else ({}, {})


def group_numbers(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """What an optimizer counts in its groups, as schedule-free ones do: their numbers, group by group."""
    return [
        {name: value for name, value in group.items() if type(value) in (int, float, bool) and name != "lr"}
        for group in optimizer.param_groups
    ]


def load_group_numbers(optimizer: torch.optim.Optimizer, numbers: Sequence[Mapping[str, Any]]) -> None:
    """Put back what `group_numbers` gave."""
    for group, values in zip(optimizer.param_groups, numbers, strict=False):
        group.update(values)


def load_moments(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, Any],
    frozen: Sequence[str] = (),
) -> None:
    """Put back what `moments_of` gave, by name; a sharded optimizer keeps its part.

    Args:
        optimizer: of the model's parameters.
        model: whose names they have.
        tensors: the moments.
        numbers: what is no tensor.
        frozen: parameters whose moments are not needed any more.

    Raises:
        ValueError: a moment belongs to no parameter that trains now, or has another shape.
    """
    names = _names(optimizer, model)
    found: dict[str, Any] = {**tensors, **numbers}
    if any(key.split(".")[0].isdigit() for key in found):
        found = _named(found, names)
    state: dict[int, dict[str, Any]] = {}
    places = {name: number for number, name in enumerate(names)}
    for key, value in found.items():
        weight, _, name = key.rpartition(".")
        if weight in frozen:
            continue
        if weight not in places:
            raise ValueError(f"the run trained {weight}, which does not train now; unfreeze it, or start a new run")
        shape, wanted = getattr(value, "shape", ()), model.get_parameter(weight).shape
        if name.startswith(("exp_avg", "max_exp_avg", "momentum")) and shape != wanted:
            raise ValueError(f"{key} has shape {tuple(shape)}, the parameter {tuple(wanted)}; resume the same model")
        state.setdefault(places[weight], {})[name] = value
    groups = torch.optim.Optimizer.state_dict(optimizer)["param_groups"]  # a sharded one's own wants all parts first
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def _names(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[str]:
    """The names of the optimizer's parameters, in its order."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    return [names[id(weight)] for group in optimizer.param_groups for weight in group["params"]]


def _named(found: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The moments of a checkpoint of version 0.1, which numbered the parameters that trained."""
    numbered = {tuple(key.split(".", 1)): value for key, value in found.items()}
    numbers = {int(number) for number, _ in numbered}
    if numbers != {*range(len(names))}:
        raise ValueError(
            f"the checkpoint, of version 0.1, has moments of {len(numbers)} parameters by their number, and "
            f"{len(names)} train now; freeze those that were frozen, and no others"
        )
    return {f"{names[int(number)]}.{name}": value for (number, name), value in numbered.items()}
