"""Pieces, faces, movers, readers and tasks from outside the package: registered by name, accepted by that name."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import nn

from energy_flow.config import FACES, MOVERS, PIECES, READERS, EnergyConfig
from energy_flow.core import Face, Mover, Piece, Reader, create_processor
from energy_flow.data import Task
from energy_flow.data.sources import SHIPPED
from energy_flow.data.tasks import r_squared
from energy_flow.training import EnergyTrainer, load_model, save_model

from .strategies import build_model
from .test_laws import BUSY


@PIECES.register("test-age")
class Age(Piece):
    """Steps since launch or birth."""

    width = 1

    def forward(self, seen):
        return seen.state.age.to(seen.energy.dtype).unsqueeze(1)


@PIECES.register("test-query")
class Query(Piece):
    """A learned summary of every site: a piece with weights of its own."""

    of = "site"
    width = 2

    def __init__(self, config):
        super().__init__(config)
        self.read = nn.Linear(config.energy_dim + 1, 2)

    def forward(self, seen):
        return self.read(seen.state.columns.to(self.read.weight.dtype))


@MOVERS.register("test-right")
class Right(Mover):
    """One site to the right at every step."""

    width = 1

    def forward(self, head, place):
        position = place.position
        return position + head * 0 + position.new_tensor([self.config.lattice_width / self.config.sites[0], 0.0, 1.0])


@READERS.register("test-left")
class Left(Reader):
    """Everything goes to the first site."""

    def __call__(self, position):
        site = torch.zeros(1, len(position), dtype=torch.long, device=position.device)
        return site, torch.ones_like(site, dtype=position.dtype)


def start_of_ones(sites, channels, width_in, width_out):
    return torch.ones(sites * channels, width_in), torch.ones(sites * channels, width_out)


FACES.add("test-ones", Face(start_of_ones))
OWN = BUSY.replace(
    features=("energy", "test-age", "neighbours", "test-query"),
    mover="test-right",
    reader="test-left",
    mapping="test-ones",
)


def test_a_model_of_ones_own_parts_trains_saves_and_loads(tmp_path) -> None:
    config = OWN.replace(batch_size=8, epochs=3, learning_rate=1e-2)
    trainer = EnergyTrainer(create_processor(config), config)
    before = trainer.processor.neuron.pieces[3].read.weight.detach().clone()
    rows = torch.randn(32, 12)
    trainer.train(rows, rows)
    assert not torch.equal(trainer.processor.neuron.pieces[3].read.weight, before)
    save_model(trainer.processor, tmp_path)
    assert torch.equal(load_model(tmp_path)(rows), trainer.processor(rows))
    assert EnergyConfig.from_yaml(config.to_yaml()) == config


def test_ones_own_parts_do_what_they_say() -> None:
    result = build_model(OWN.replace(energy_threshold=0.0), seed=1).run(torch.ones(1, 12), record=True)
    first = result.trace.position[(result.trace.flow_id == 0) & (result.trace.event != 4)]
    assert first[:, 0].tolist()[:3] == [1.0, 3.0, 5.0]
    assert first[1:, 2].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert (result.stats.coverage == 1 / 6).all()


def test_their_weights_follow_from_the_seed() -> None:
    torch.manual_seed(1)
    one = create_processor(OWN).state_dict()
    torch.manual_seed(2)
    other = create_processor(OWN).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("field", ["mover", "reader", "mapping"])
def test_a_name_that_nobody_registered_is_refused_with_those_there_are(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} = 'nobody'; no such \w+ is registered: give one of .*import the"):
        BUSY.replace(**{field: "nobody"})


def test_a_name_can_be_taken_once() -> None:
    with pytest.raises(ValueError, match="mover 'free' is registered already"):
        MOVERS.register("free")(Right)
    MOVERS.register("test-right")(Right)  # the same again, as when a cell of a notebook runs twice


def test_a_face_may_be_added_again_and_a_piece_must_be_one() -> None:
    FACES.add("test-ones", Face(start_of_ones))
    PIECES.add("test-none", lambda config: nn.Linear(1, 1))
    with pytest.raises(ValueError, match="'test-none'; it builds a Linear: let its class inherit from Piece"):
        create_processor(BUSY.replace(features=("energy", "test-none")))


def test_pieces_are_named_once_and_one_at_least() -> None:
    with pytest.raises(ValueError, match="name every piece once"):
        BUSY.replace(features=("energy", "energy"))
    with pytest.raises(ValueError, match="name one piece at least"):
        BUSY.replace(features=())


def test_one_word_stands_for_the_pieces_it_stood_for() -> None:
    """Configurations of version 0.1 say `neighbours`; the columns of their weights have not moved."""
    old = BUSY.to_dict() | {"features": "neighbours"}
    assert EnergyConfig.from_dict(old).features == ("coordinates", "energy", "neighbours", "sample")
    assert EnergyConfig.from_dict(old | {"features": "none"}).features == ("coordinates", "energy")


def test_tied_faces_share_one_pair_of_matrices_and_start_as_the_identity() -> None:
    config = BUSY.replace(mapping="tied", max_children=0)
    model = create_processor(config)
    assert model.mapper.input_weight.shape == (4, 2)
    rows = torch.nn.functional.normalize(torch.randn(3, 12))
    assert float(torch.cosine_similarity(model(rows).detach(), rows).min()) > 0.99
    with pytest.raises(ValueError, match="input_embedding_dim = 13; tied faces give each of 6 sites as much"):
        create_processor(config.replace(input_embedding_dim=13))


def draw(rows, split, fixed, random):
    return torch.randn(rows, 4, generator=random), torch.randn(rows, 4, generator=random)


def noise(sample=draw, **settings) -> Task:
    return Task("noise; noise", sample, "R2", r_squared, settings)


def test_a_task_may_be_added_again_from_the_place_where_it_was(tasks) -> None:
    def cell(width):
        def sample(rows, split, fixed, random):
            return torch.ones(rows, width), torch.ones(rows, width)

        return sample

    tasks.add("noise", noise(cell(1)))
    changed = noise(cell(2), loss_mse=1.0)
    tasks.add("noise", changed)  # the same cell of a notebook, after a change
    assert tasks["noise"] is changed
    with pytest.raises(ValueError, match="task 'noise' is registered already; give yours another name"):
        tasks.add("noise", noise())


@pytest.mark.parametrize("name", ["rotation", "sudoku-4"])
def test_a_built_in_task_is_not_replaced_even_by_one_that_draws_as_it_does(tasks, name: str) -> None:
    built_in = tasks[name]
    for task in (noise(), dataclasses.replace(built_in, settings={})):
        with pytest.raises(ValueError, match=f"task '{name}' comes with the package; give yours another name"):
            tasks.add(name, task)
    tasks.add(name, built_in)
    tasks.add(f"{name}-2", dataclasses.replace(built_in, settings={}))
    assert tasks[name] is built_in


@pytest.mark.parametrize(
    ("name", "task", "words"),
    [
        (SHIPPED, noise(), "task 'shipped': shipped is the name of another data set; give yours another name"),
        ("wordnet", noise(), "task 'wordnet': wordnet is the name of another data set"),
        (
            "mine",
            noise(los_mse=1.0),
            "task 'mine': settings: los_mse: no such field in EnergyConfig; did you mean loss_m",
        ),
        ("mine", draw, "task 'mine' is a function; give a Task"),
    ],
)
def test_a_task_that_will_not_do_is_refused_when_it_is_added(tasks, name: str, task, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tasks.add(name, task)
    assert name not in tasks


@pytest.mark.parametrize(
    "line",
    [
        "from energy_flow import create_config; create_config('tiny')",
        "from energy_flow.config import EnergyConfig; EnergyConfig()",
        "from energy_flow.config import MOVERS; assert 'pointer' in MOVERS",
    ],
)
def test_registries_are_full_whatever_is_imported_first(line: str) -> None:
    ran = subprocess.run([sys.executable, "-W", "error", "-c", line], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
