"""The engine on CUDA against the engine on the CPU, which the slow twin holds."""

from __future__ import annotations

import pytest
import torch

from energy_flow.training import EnergyTrainer
from energy_flow.utils import DeviceManager

from .strategies import build_model
from .test_laws import BUSY
from .test_training import SMALL, create_processor, data

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def test_cuda_equals_cpu_in_float64() -> None:
    results = []
    for device in ("cpu", "cuda"):
        processor = build_model(BUSY, seed=2).to(device)
        inputs = torch.randn(16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
        result = processor.run(inputs)
        result.output.sin().sum().backward()
        results.append([result.output.detach(), *(weight.grad for weight in processor.parameters())])
        counts = [getattr(result.stats, name).cpu() for name in ("live", "arrived", "faded", "spawned", "refused")]
        results[-1] += counts
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda.cpu(), cpu, rtol=1e-9, atol=1e-11)


def test_cuda_trains_in_bfloat16() -> None:
    config = SMALL.replace(precision="auto", epochs=5)
    trainer = EnergyTrainer(create_processor(config), config, devices=DeviceManager("cuda"))
    assert trainer.devices.precision == "bfloat16"
    result = trainer.fit(data())
    assert result.epochs[-1].train_loss < result.epochs[0].train_loss
    assert trainer.devices.memory().peak > 0
