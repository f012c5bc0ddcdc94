"""What the logger's special levels say of a run; nothing is computed for a level that is off."""

from __future__ import annotations

from ..core import FlowStatistics
from ..utils.logging import DEBUG_CONVERGENCE, DEBUG_ENERGY, DEBUG_SPAWN, is_on, logger


def log_flows(stats: FlowStatistics) -> None:
    """Log how the flows of a batch fared: a line per lattice step for energy and splits, one for the arrivals."""
    if is_on(DEBUG_ENERGY):
        columns = (stats.live.sum(1), _mean_level_per_step(stats), stats.faded.sum(1))
        for step, (live, level, faded) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True), start=1
        ):
            logger.log(DEBUG_ENERGY, "lattice step %d: %d live, mean level %.3f, %d faded", step, live, level, faded)
    if is_on(DEBUG_SPAWN):
        counts = zip(stats.spawned.sum(1).tolist(), stats.refused.sum(1).tolist(), strict=True)
        for step, (spawned, refused) in enumerate(counts, start=1):
            logger.log(DEBUG_SPAWN, "lattice step %d: %d spawned, %d refused by the budget", step, spawned, refused)
    if is_on(DEBUG_CONVERGENCE):
        logger.log(
            DEBUG_CONVERGENCE,
            "%d flows arrived (%.1f %% of all), mean path %.2f steps, %.1f %% of the sites covered",
            int(stats.arrived.sum()),
            100 * float(stats.arrived_share.mean()),
            float(stats.path_length.mean()),
            100 * float(stats.coverage.mean()),
        )


def _mean_level_per_step(stats: FlowStatistics):
    return (stats.mean_level * stats.live).sum(1) / stats.live.sum(1).clamp_min(1)
