"""The example in parts as users write it, the shipped example, and what README and docs promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from energy_flow.examples import plain_torch, simple_training

README = Path(__file__).parent.parent / "README.md"


def test_simple_training_learns_and_shows_a_path(capsys) -> None:
    cosine = simple_training.main(pairs=1024)
    printed = capsys.readouterr().out
    assert cosine > 0.8
    assert "flow 0, step 0" in printed
    assert "arrived" in printed


def test_examples_are_short_and_public() -> None:
    paths = [path for path in Path(simple_training.__file__).parent.glob("*.py") if path.stem != "__init__"]
    assert len(paths) == 3
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 75, path.name
        assert not re.search(r"\._[a-z]", text), path.name


def test_a_loop_of_plain_torch_learns() -> None:
    assert plain_torch.main(pairs=256, epochs=6) > 0.3


@pytest.mark.filterwarnings("ignore")  # Lightning's own, about workers and devices
def test_lightning_trains_a_lattice() -> None:
    pytest.importorskip("lightning")
    from energy_flow.examples import with_lightning

    assert with_lightning.main(pairs=256, epochs=6) > 0.3


def test_the_plans_example_runs_as_written(monkeypatch) -> None:
    from energy_flow import config as config_module
    from energy_flow.config import EnergyConfig

    small = {
        "carrier_hidden_size": 16,
        "carrier_num_layers": 1,
    }  # the names and calls are a user's, the size is a test's
    monkeypatch.setattr(
        config_module, "create_experiment_config", lambda: config_module.create_config("experiment", **small)
    )
    input_embeddings, target_embeddings = torch.randn(4, 768), torch.randn(4, 768)

    from energy_flow.config import create_experiment_config
    from energy_flow.core import EnergyLattice, FlowProcessor, SimpleNeuron
    from energy_flow.training import EnergyTrainer

    config = create_experiment_config()
    lattice = EnergyLattice(config)
    neuron = SimpleNeuron(config)
    processor = FlowProcessor(lattice, neuron, config)
    trainer = EnergyTrainer(processor, config)
    result = trainer.train(input_embeddings, target_embeddings, epochs=2)

    assert isinstance(config, EnergyConfig)
    assert (lattice.config.lattice_width, lattice.config.lattice_depth) == (50, 20)
    assert result.steps == 2
    assert trainer.predict(input_embeddings).shape == (4, 768)


def test_the_first_example_of_the_readme_is_short() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks[0].strip().splitlines()) < 10


def test_readme_table_names_folders_that_exist() -> None:
    text = README.read_text(encoding="utf-8").split("## Where things are")[1]
    rows = re.findall(r"^\| `([\w/]+)/?` \|", text, flags=re.MULTILINE)
    assert {"energy_flow/config", "energy_flow/core", "tests", "benchmarks"} <= {row.rstrip("/") for row in rows}
    missing = [row for row in rows if not (README.parent / row).exists()]
    assert not missing


@pytest.mark.parametrize(
    "name", ["README.md", "LOG.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "LICENSE", "NOTICE"]
)
def test_project_files_exist(name: str) -> None:
    assert (README.parent / name).stat().st_size > 200
