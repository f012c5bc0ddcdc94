"""Models that torch wraps train, are saved and are loaded as the model inside."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.optim.swa_utils import AveragedModel

from energy_flow.core import create_processor
from energy_flow.training import EnergyTrainer, load_model, save_model

from .test_training import SMALL, data

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, of wrappers
WRAPPERS = {
    "OptimizedModule": torch.compile,
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": nn.parallel.DistributedDataParallel,
    "AveragedModel": AveragedModel,
    "DataParallel around OptimizedModule": lambda model: nn.DataParallel(torch.compile(model)),
}


@pytest.fixture(scope="module", autouse=True)
def _one_process(tmp_path_factory):
    """A group of this process alone, which DistributedDataParallel asks for."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path_factory.mktemp('group')}/file", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if "Optimized" in name else ()) for name in WRAPPERS]
)
def test_the_model_inside_is_trained_saved_and_loaded(name: str, tmp_path, caplog) -> None:
    caplog.set_level("INFO", "energy_flow")
    plain = EnergyTrainer(create_processor(SMALL), SMALL, tmp_path / "plain")
    plain.fit(data())
    wrapped = WRAPPERS[name](create_processor(SMALL))
    trainer = EnergyTrainer(wrapped, SMALL, tmp_path / "run")
    assert f"the model inside {name} is used" in caplog.text
    trainer.fit(data())
    save_model(wrapped, tmp_path / "saved")
    for folder in (tmp_path / "run" / "last", tmp_path / "saved"):
        model = load_model(folder)
        for key, value in plain.processor.state_dict().items():
            assert torch.equal(model.state_dict()[key], value), key


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.DataParallel(nn.Linear(2, 2)), nn.Sequential(nn.ReLU()), None])
def test_anything_else_is_refused_in_one_line(model) -> None:
    with pytest.raises(ValueError, match="without a FlowProcessor inside; give a FlowProcessor, or"):
        EnergyTrainer(model, SMALL)


def test_a_wrapped_model_of_another_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="config differs"):
        EnergyTrainer(torch.compile(create_processor(SMALL)), SMALL.replace(lattice_depth=5))
