"""What learns: a model with its optimizer, loss, schedule and averaged weights, and how they come back."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..config import EnergyConfig
from ..config.energy_config import MODEL_FIELDS
from ..core import FlowProcessor
from ..data.pairs import Pairs, parts_of
from ..distributed.ranks import Ranks
from ..utils.determinism import deterministic_algorithms
from ..utils.device_manager import DeviceManager
from ..utils.logging import logger
from .averaged_weights import AveragedWeights
from .batches import largest_of
from .execution_plan import most_flows, plan_execution, without_graphs
from .flow_budget import ADAPT_EVERY, FlowBudget
from .losses import DIRECTIONAL, OwnLoss, own_loss
from .model_folder import CONFIG, load_weights
from .optimizers import (
    MakeOptimizer,
    checked_optimizer,
    create_optimizer,
    description_of,
    freeze,
    group_numbers,
    load_group_numbers,
    moments_of,
)
from .prediction import Prediction
from .run.checkpoint_files import Files, files_of, restore
from .run.run_state import RunState, read_state
from .schedule import Schedule, learning_rate_factor, set_rates
from .training_step import TrainingStep
from .unwrapping import unwrap_processor


class Learner:
    """A model and what trains it, on one process or several.

    Args:
        processor: the model, perhaps in a wrapper of torch's; it is moved to the device.
        config: its configuration.
        devices: device and precision; by default the device that the processor is on.
        ranks: the processes that train together.
        loss: outputs and targets to a scalar; by default the configuration's losses.
        optimizer: of the model's parameters, or what makes one; by default the configuration's.
        schedule: step and steps of the run to the share of the peak rate; by default warm-up and cosine decay.
        checkpoint: the folder of the checkpoint that it goes on from; what was frozen there is frozen here.

    Raises:
        ValueError: the parts do not fit together, or are not those of the checkpoint.
    """

    def __init__(
        self,
        processor: nn.Module,
        config: EnergyConfig,
        devices: DeviceManager | None,
        ranks: Ranks,
        loss: OwnLoss | None,
        optimizer: torch.optim.Optimizer | MakeOptimizer | None,
        schedule: Schedule | None,
        checkpoint: Path | None,
    ) -> None:
        self.config, self.ranks = config, ranks
        processor = _fitting(unwrap_processor(processor), config)
        self.devices = devices or DeviceManager(str(next(processor.parameters()).device), config.precision)
        self.processor = processor.to(self.devices.device)
        _check_ranks(ranks, config, self.devices.device)
        freeze(self.processor, config.freeze)
        state = None if checkpoint is None else read_state(checkpoint)
        if state is not None:
            keep_frozen(self.processor, state.frozen)
        _check_parts(loss, optimizer, schedule)
        self._own = {"loss": loss, "optimizer": optimizer, "schedule": schedule}
        made = create_optimizer(self.processor, config) if optimizer is None else optimizer
        made = made if isinstance(made, torch.optim.Optimizer) else made(self.processor)
        self.loss = None if loss is None else own_loss(loss)
        self.schedule = schedule or (lambda step, total: learning_rate_factor(step, total, config))
        self.average = AveragedWeights(self.processor, config.ema_decay) if config.ema_decay else None
        self.prediction = Prediction(self.processor, self.devices, config.batch_size)
        self.step = TrainingStep(
            self.processor, checked_optimizer(made, self.processor), config, self.devices, ranks, self.loss
        )
        self._optimizer_was = description_of(self.optimizer)  # before it counts anything
        self._trained, self._most_flows = False, config.max_active_flows
        self.restored = state
        self.wanted_epochs: int | None = None  # where the run goes on with others than it was started with
        if checkpoint is not None and state is not None:
            self._restore(checkpoint, state)

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the step."""
        return self.step.optimizer

    def use_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Train with another optimizer of the same model from now on."""
        self.step.optimizer = checked_optimizer(optimizer, self.processor)
        self._own["optimizer"], self._optimizer_was = optimizer, description_of(optimizer)

    @property
    def parts(self) -> dict[str, str]:
        """The user's own loss, optimizer and schedule, by the names of their code; a run goes on with the same."""
        own = {name: _code_name(part) for name, part in self._own.items() if part is not None}
        return own | ({"optimizer": self._optimizer_was} if "optimizer" in own else {})

    @property
    def needs_directions(self) -> bool:
        """Whether a target of zeros cannot be learned."""
        return self.loss is None and any(name in DIRECTIONAL for name in self.config.loss_weights)

    @property
    def weight_bytes(self) -> int:
        """Of the model on the disk."""
        return sum(value.numel() * value.element_size() for value in self.processor.state_dict().values())

    def same_bits(self) -> contextlib.AbstractContextManager[None]:
        """While it is entered, torch's algorithms are deterministic, where the configuration asks for it."""
        wanted = self.config.deterministic
        return deterministic_algorithms(self.devices.device) if wanted else contextlib.nullcontext()

    def prepare(self, pairs: Pairs, state: RunState, new: bool) -> None:
        """Make everything ready to train from this state: sizes measured, the same weights everywhere, how it runs."""
        if self.ranks.first and not bool(self.processor.mapper.calibrated):
            parts = parts_of(pairs)
            self.processor.mapper.calibrate([one.inputs for one in parts], [one.targets for one in parts])
        self.ranks.copy_first_(list(self.processor.state_dict().values()))
        self.require_its_weights()
        if new and self.average is not None:
            self.average.restart()
        if new and self._trained:  # the moments of the run before are not this one's
            getattr(self.optimizer, "optim", self.optimizer).state.clear()
        self._trained = True
        self._choose_execution(state, largest_of(pairs, self.config))
        self.step.micro_batches = state.micro_batches

    def set_rates(self, state: RunState) -> None:
        """Give the optimizer the rates of the next step, and the step its place in the run."""
        set_rates(self.optimizer, self.schedule(state.step, state.total_steps))
        self.step.progress = state.step / max(1, state.total_steps)

    def note_step(self, state: RunState) -> None:
        """A step was taken: the average follows it."""
        state.micro_batches = self.step.micro_batches
        if state.step == 0 and self._own["optimizer"] is not None:
            moments_of(self.optimizer, self.processor, self.ranks)  # what no checkpoint can hold is named now
        if self.average is not None:
            self.average.update()
            state.averaged_steps = self.average.steps

    def looks_at_budget(self, state: RunState) -> bool:
        """Whether the budget of flows is looked at after this step: at fixed ones, however the run is watched."""
        return state.budget is not None and state.step % ADAPT_EVERY == 0

    def adapt_budget(self, state: RunState) -> None:
        """Change the budget of flows; all figures up to now are in."""
        assert state.budget is not None
        changed = state.budget.adapt(self.config.num_sites, self._most_flows)
        if changed:
            logger.info("%s", changed)
        self.processor.limit_training_flows(state.budget.flows)

    def judged_weights(self) -> contextlib.AbstractContextManager[None]:
        """While it is entered, the model has the weights that are judged and saved: their average, if there is one."""
        averaged = self.average is not None and self.average.steps
        return self.average.applied() if self.average is not None and averaged else contextlib.nullcontext()

    def files(self, state: RunState, best: Path | None) -> Files:
        """What writes each file of a checkpoint; every process gives its part."""
        state.frozen = [name for name, weight in self.processor.named_parameters() if not weight.requires_grad]
        state.parts = self.parts
        state.group_numbers = [] if self._own["optimizer"] is None else group_numbers(self.optimizer)
        return files_of(self.processor, self.optimizer, state, self.ranks, self.average, best)

    def reload(self, checkpoint: Path) -> RunState:
        """Go back to a checkpoint, as after an error in the middle of a step, and to its state."""
        state = read_state(checkpoint)
        self._restore(checkpoint, state)
        return state

    def _restore(self, checkpoint: Path, state: RunState) -> None:
        if state.parts != self.parts:
            was = ", ".join(f"{name} = {code}" for name, code in state.parts.items()) or "those of the configuration"
            now = ", ".join(f"{name} = {code}" for name, code in self.parts.items()) or "those of the configuration"
            raise ValueError(f"the run was started with other parts: {was}; give the same, not {now}")
        if EnergyConfig.load(checkpoint / CONFIG).epochs != self.config.epochs:
            self.wanted_epochs = self.config.epochs
        load_weights(self.processor, checkpoint)
        restore(checkpoint, self.processor, self.optimizer, state, self.ranks, self.average)
        load_group_numbers(self.optimizer, state.group_numbers)

    def require_its_weights(self) -> None:
        """Refuse to train a model that has got other weights than the optimizer's since the trainer was built."""
        known = {id(weight) for group in self.optimizer.param_groups for weight in group["params"]}
        for name, weight in self.processor.named_parameters():
            if weight.requires_grad and id(weight) not in known:
                raise ValueError(
                    f"{name} came to the model, or was unfrozen, after the trainer was built and would not be trained; "
                    "change the model first, then build EnergyTrainer"
                )

    def _choose_execution(self, state: RunState, largest: EnergyConfig) -> None:
        """How the dense part runs, and how many flows there is room for, in the largest box of the run."""
        weights = sum(weight.numel() for weight in self.processor.parameters())
        rows = -(-self.config.batch_size // (self.ranks.count * state.micro_batches))
        plan = plan_execution(largest, self.devices, weights, rows)
        self.processor.execute(plan.execution)
        logger.info("%s", plan.reason)
        if plan.execution.graphed and state.micro_batches > 1:
            self.processor.execute(without_graphs(plan.execution))
            logger.warning("no CUDA graphs: the run takes %d micro-batches since memory ran out", state.micro_batches)
        if self.config.adaptive_budget:
            self._most_flows = most_flows(self.config, self.devices, weights, rows, plan.execution.checkpointed)
            state.budget = state.budget or FlowBudget(self._most_flows)
        self.processor.limit_training_flows(state.budget.flows if state.budget else self.config.max_active_flows)


def keep_frozen(processor: FlowProcessor, frozen: list[str] | None) -> None:
    """Freeze what was frozen in the run that goes on; an earlier version did not note it.

    Raises:
        ValueError: something else is frozen now, or what was is not there.
    """
    if frozen is None:
        return
    weights = dict(processor.named_parameters())
    for name in frozen:
        if name not in weights:
            raise ValueError(f"the run has a frozen parameter {name}, and the model has none; resume the same model")
        if weights[name].requires_grad:
            logger.info("%s stays frozen, as in the run that goes on", name)
            weights[name].requires_grad_(False)
    other = [name for name, weight in weights.items() if not weight.requires_grad and name not in frozen]
    if other:
        raise ValueError(f"{', '.join(other)} is frozen, and the run trained it; unfreeze it, or start a new run")


def _fitting(processor: FlowProcessor, config: EnergyConfig) -> FlowProcessor:
    """The processor, told how it is trained where that alone differs."""
    before, now = processor.config.to_dict(), config.to_dict()
    differing = [name for name in now if before[name] != now[name]]
    fixed = [
        f"{name} = {now[name]!r} (the processor has {before[name]!r})" for name in differing if name in MODEL_FIELDS
    ]
    if fixed:
        raise ValueError(
            f"config differs from the processor's in {', '.join(fixed)}; build the processor from the configuration "
            "that trains it, or change fields of training alone: processor.config.replace(learning_rate=...)"
        )
    if differing:
        processor.config = config
    return processor


def _check_parts(loss: object, optimizer: object, schedule: object) -> None:
    """Refuse, with a ValueError, parts that would fail at the first step, or be left untrained without a word."""
    for name, part in (("loss", loss), ("schedule", schedule)):
        if part is not None and not callable(part):
            how = "(outputs, targets) -> scalar" if name == "loss" else "(step, steps) -> share of the peak rate"
            raise ValueError(f"{name} is a {type(part).__name__}, which cannot be called; give a function {how}")
    if isinstance(loss, nn.Module) and any(weight.requires_grad for weight in nn.Module.parameters(loss)):
        raise ValueError("loss has parameters, which are neither trained nor saved; freeze them, or put them in a part")
    if isinstance(optimizer, type):
        raise ValueError(f"optimizer is the class; give lambda model: {optimizer.__name__}(model.parameters(), lr=...)")


def _code_name(part: Callable) -> str:
    """The name of a function, or of an object's class; its module may change, as from a notebook to a file."""
    return getattr(part, "__qualname__", type(part).__qualname__)


def _check_ranks(ranks: Ranks, config: EnergyConfig, device: torch.device) -> None:
    """Refuse what several processes cannot do, with a ValueError on each of them."""
    if ranks.count > config.batch_size:
        raise ValueError(
            f"batch_size = {config.batch_size}; {ranks.count} processes need a row each: give at least {ranks.count}"
        )
    places, configurations = zip(*ranks.everyones(((platform.node(), str(device)), config.to_json())), strict=True)
    if len({*configurations}) > 1:
        raise ValueError("the processes have different configurations; give all the same")
    if device.type != "cpu" and len({*places}) < len(places):
        raise ValueError(f"device = {device}: several processes would share it; leave the card's number out")
