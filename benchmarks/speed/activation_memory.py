"""What does a flow-step keep for the backward pass, and how does memory grow with the steps of a run?

Measured by watching every storage that an operation creates: `kept` is what is alive after the forward pass and was not
before it, `peak` the most alive at once during forward and backward, weights and gradients included. `predicted`
is what `energy-flow info` and `checkpointing = auto` reckon with. Batch 1 but for `debug`, whose batch is 8.

    python -m benchmarks.speed.activation_memory [--presets debug] [--precision float32 bfloat16]
        [--initial-steps 4 8 16]
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.common import parser_for, publish
from energy_flow.config import EnergyConfig, create_config
from energy_flow.core import Execution, create_processor
from energy_flow.core.execution.cost import kept_bytes
from energy_flow.utils import DeviceManager

COLUMNS = (
    "preset", "precision", "recomputed", "initial steps", "steps", "flow-steps", "kept bytes / flow-step",
    "predicted", "kept MiB", "peak MiB",
)  # fmt: skip
BATCHES = {"debug": 8}


class StorageWatch(TorchDispatchMode):
    """Knows every storage that operations created while it was entered, and the most bytes alive at once."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self._known = {tensor.untyped_storage()._cdata for tensor in known}
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self._since_look = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if storage._cdata not in self._storages and storage._cdata not in self._known:
                    self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
                    self._since_look += storage.nbytes()
        if self._since_look > 2**20:  # often enough to be right to a MiB
            self._since_look = 0
            self.peak = max(self.peak, self.alive())
        return result

    def alive(self) -> int:
        """Bytes of the storages that are alive."""
        self._storages = {key: value for key, value in self._storages.items() if not value[0].expired()}
        return sum(size for _, size in self._storages.values())


def measure(config: EnergyConfig, batch: int, checkpointed: bool) -> list[object]:
    devices = DeviceManager("cpu", config.precision)
    processor = create_processor(config)
    processor.execute(Execution(checkpointed=checkpointed))
    inputs = F.normalize(torch.randn(batch, config.input_embedding_dim, generator=torch.Generator().manual_seed(0)))
    with StorageWatch((*processor.parameters(), *processor.buffers(), inputs)) as watch:
        with devices.autocast():
            result = processor.run(inputs)
        loss = result.output.square().sum()
        flow_steps, steps = int(result.stats.flow_steps), result.stats.steps
        del result
        working_copies = sum(weight.numel() * 2 for weight in processor.carrier.gru.parameters())
        kept = watch.alive() - (working_copies if devices.precision == "bfloat16" else 0)
        loss.backward()
        peak = max(watch.peak, watch.alive())
    weights = sum(weight.numel() * weight.element_size() for weight in processor.parameters())
    return [
        devices.precision,
        "yes" if checkpointed else "no",
        config.initial_steps,
        steps,
        flow_steps,
        kept / flow_steps,
        kept_bytes(config, 2 if devices.precision == "bfloat16" else 4, checkpointed),
        kept / 2**20,
        (peak + weights) / 2**20,
    ]


def main() -> None:
    parser = parser_for(__doc__)
    parser.add_argument("--presets", nargs="+", default=["debug", "optimized"])
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--initial-steps", nargs="+", type=int, default=[8])
    arguments = parser.parse_args()
    table = []
    for preset in arguments.presets:
        for precision in arguments.precision:
            for steps in arguments.initial_steps:
                config = create_config(preset, precision=precision, initial_steps=steps)
                for checkpointed in (False, True):
                    table.append([preset, *measure(config, BATCHES.get(preset, 1), checkpointed)])
                    print(table[-1], flush=True)
    publish(arguments.results / "activation_memory.json", "Memory for the backward pass", COLUMNS, table)


if __name__ == "__main__":
    main()
