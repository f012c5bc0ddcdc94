"""The budget of flows that follows the share of useful ones, within the memory there is.

It looks at fixed steps and at figures of the run alone, so the same run has the same budgets wherever it is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ADAPT_EVERY = 50  # steps between two looks
USEFUL, USELESS = 0.9, 0.6  # shares of flows that reach the output above and below which the budget changes
CHANGE = 0.1  # of the budget, at each look


@dataclass
class FlowBudget:
    """Most flows that live at once in a sample, and what has been seen since the last look."""

    flows: int
    useful: float = 0.0  # share of flows that reached the output face, summed over steps
    refused: float = 0.0  # children that the budget refused per sample, likewise
    steps: int = 0

    def observe(self, figures: Mapping[str, float]) -> None:
        """Note down the figures of a training step."""
        self.useful += figures["arrived_share"]
        self.refused += figures["refused"]
        self.steps += 1

    def adapt(self, least: int, most: int) -> str:
        """Give more room where most flows are useful and children were refused, less where many fade.

        Args:
            least: flows that are launched.
            most: what configuration and memory allow.

        Returns:
            what changed and why, in words; empty where nothing did.
        """
        useful, refused, before = self.useful / max(1, self.steps), self.refused, self.flows
        if useful < USELESS:
            self.flows = int(before * (1 - CHANGE))
        elif useful > USEFUL and refused > 0:
            self.flows = int(before * (1 + CHANGE)) + 1
        self.flows = max(least, min(most, self.flows))
        self.useful, self.refused, self.steps = 0.0, 0.0, 0
        if self.flows == before:
            return ""
        return f"budget of flows: {self.flows} instead of {before}, as {useful:.0%} reached the output"
