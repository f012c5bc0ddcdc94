"""One of two processes whose model is sharded by FSDP2, or wrapped by DistributedDataParallel: its gradients."""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from energy_flow.core import FlowProcessor

from .strategies import build_model
from .test_laws import BUSY


def gradients_of(model: FlowProcessor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    model(rows).sin().sum().backward()
    found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return {
        name: gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
        for name, gradient in found.items()
    }


def main(what: str) -> None:
    dist.init_process_group("gloo")
    rows = torch.randn(6, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = build_model(BUSY, seed=2)
    expected = gradients_of(plain, rows)
    model = build_model(BUSY, seed=2)
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    if what in ("carrier", "both"):
        fully_shard(model.carrier, mesh=mesh)
    if what in ("whole", "both"):
        fully_shard(model, mesh=mesh)
    if what == "ddp":
        wrapped = DistributedDataParallel(model)
        for size in (1.0, 1e-3, 1.0):  # in the second, every flow fades and no child is born
            model.zero_grad()
            wrapped(rows * size).sin().sum().backward()
        found = {name: weight.grad for name, weight in model.named_parameters()}
    else:
        found = gradients_of(model, rows)
    assert set(found) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-11)
    dist.destroy_process_group()
    print("equal", flush=True)
    os._exit(0)  # threads of gloo that end late would abort a process that is done


if __name__ == "__main__":
    main(sys.argv[1])
