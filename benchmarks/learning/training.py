"""Train any model as `EnergyTrainer` trains a lattice: the same batches, preludes, schedule, loss, optimizer, average.

Shapes: `N` rows, `B` rows of a batch, `E` input width, `T` target width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmarks.learning.rivals import Contestant, Course
from energy_flow.config import EnergyConfig
from energy_flow.core import Prelude
from energy_flow.core.embedding_mapper import EmbeddingMapper
from energy_flow.data.pairs import Pairs, PairSet, Size, parts_of
from energy_flow.data.reading import read_ahead
from energy_flow.data.stored_rows import Rows
from energy_flow.training.averaged_weights import AveragedWeights
from energy_flow.training.batches import Waiting, box_of, epoch_batches, setting_of
from energy_flow.training.losses import total_loss
from energy_flow.training.optimizers import create_optimizer
from energy_flow.training.schedule import learning_rate_factor, set_rates
from energy_flow.utils import batch_slices

CELLS_AT_ONCE = 2**15  # in prediction


def train(model: nn.Module, pairs: Pairs, config: EnergyConfig, epochs: int, waiting: Waiting | None = None) -> None:
    """Train a model; in the end it has the weights that are judged, which are an average where `ema_decay` says so.

    Args:
        model: a `Contestant`, or a module that takes (B, E) rows to (B, T).
        pairs: of one size or several.
        config: the recipe.
        epochs: passes over the pairs.
        waiting: of the task, as `Task.waiting`.

    Raises:
        FloatingPointError: a loss is not finite; the step was not taken.
    """
    faces = [part for part in model.modules() if isinstance(part, EmbeddingMapper)]
    for mapper in faces:
        mapper.calibrate([part.inputs for part in parts_of(pairs)], [part.targets for part in parts_of(pairs)])
    optimizer = create_optimizer(model, config)
    for group in optimizer.param_groups:
        group.setdefault("peak_rate", group["lr"])
    average = AveragedWeights(model, config.ema_decay) if config.ema_decay else None
    schedule = [epoch_batches(pairs, config.batch_size, config.seed, epoch) for epoch in range(1, epochs + 1)]
    batches = [batch for epoch in schedule for batch in epoch]
    model.train()
    for step, batch in enumerate(read_ahead(pairs, batches, workers=0)):
        set_rates(optimizer, learning_rate_factor(step, len(batches), config))
        inputs, targets = batch.read()
        setting = setting_of(batch, inputs, config, waiting)
        course = course_of(batch.face, config, setting.prelude)
        losses = [total_loss(read, targets, config)[0] for read in reads_of(model, inputs, course)]
        loss = torch.stack(losses).mean()
        if not math.isfinite(float(loss.detach())):
            raise FloatingPointError(f"step {step + 1}: the loss is {float(loss.detach())}; lower learning_rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        if average is not None:
            average.update()
    if average is not None:
        with torch.no_grad():
            for name, value in average.state_dict().items():
                model.get_parameter(name).copy_(value)


def course_of(
    face: Size | None, config: EnergyConfig, prelude: Prelude | None = None, steps: int | None = None
) -> Course:
    """As many steps and read-outs as the lattice takes in its box for this face.

    Args:
        face: of the rows; None is the model's own.
        config: of the lattice.
        prelude: of the batch.
        steps: others than the lattice takes.
    """
    box = box_of(face, config)
    path = (config if box is None else config.in_box(box)).untrained_path if steps is None else steps
    reads = max(1, math.floor(config.loss_along * path))
    return Course(face or config.sites, path, reads, prelude, config.energy_noise)


def reads_of(model: nn.Module, rows: Tensor, course: Course) -> list[Tensor]:
    """Every read-out (B, T) of (B, E) rows."""
    return model(rows, course) if isinstance(model, Contestant) else [model(rows)]


@torch.no_grad()
def predict(model: nn.Module, rows: Rows, course: Course | None = None) -> Tensor:
    """(N, E) to (N, T), in batches; a `Contestant` needs a course, of which the last read-out counts."""
    model.eval()
    size = 1024
    if course is not None:
        course = course._replace(reads=1, prelude=None, noise=0.0)
        size = max(1, CELLS_AT_ONCE // (course.face[0] * course.face[1]))
    found = []
    for part in batch_slices(len(rows), size):
        found.append(model(rows[part]) if course is None else reads_of(model, rows[part], course)[-1])
    return torch.cat(found)


def validation_loss(outputs: Tensor, pairs: PairSet, config: EnergyConfig) -> float:
    """The mean loss of batches of the size that training has."""
    losses = [
        float(total_loss(outputs[rows], pairs.targets[rows], config)[0]) * len(outputs[rows])
        for rows in batch_slices(len(pairs), config.batch_size)
    ]
    return sum(losses) / len(pairs)
