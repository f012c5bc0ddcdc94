"""The exponential moving average of the weights, which is evaluated and saved in their place (Polyak and Juditsky
1992)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_TAKE_TURNS = threading.RLock()  # of all models: a lock of their own could not be copied


class AveragedWeights:
    """Averages the parameters that train; buffers and frozen parameters are the model's own.

    After t updates the average is `(1 - d) / (1 - d^t) * sum over s of d^(t - s) w_s`: the bias of the start is
    corrected (as by Adam, Kingma and Ba 2015), so the first average is the first weight, and a weight that never
    changes is its own average to the bit.

    Args:
        model: its parameters are averaged where they are.
        decay: d, from 0 to below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
        self._averages = {name: weight.detach().clone() for name, weight in self._weights.items()}

    def restart(self) -> None:
        """Begin anew, from the weights as they are."""
        self.load_state_dict({name: weight.detach() for name, weight in self._weights.items()}, 0)

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights after a step into the average; nothing waits for the device."""
        self.steps += 1
        share = (1 - self.decay) / (1 - self.decay**self.steps)
        averages, weights = list(self._averages.values()), list(self._weights.values())
        torch._foreach_lerp_(averages, weights, share)  # type: ignore[attr-defined]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While it is entered, the model has the average in the place of its weights.

        Threads take turns. Graphs of runs before remain good: the weights come back as they were.
        """
        with _TAKE_TURNS:
            own = {name: weight.detach().clone() for name, weight in self._weights.items()}
            self._set(self._averages)
            try:
                yield
            finally:
                self._set(own)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by the names of their parameters."""
        return dict(self._averages)

    def load_state_dict(self, averages: dict[str, Tensor], steps: int) -> None:
        """Put back what `state_dict` gave, after so many updates."""
        self.steps = steps
        for name, average in self._averages.items():
            average.copy_(averages[name])

    def _set(self, values: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            weight.data.copy_(values[name])  # behind autograd's back, which need not know of a visit
