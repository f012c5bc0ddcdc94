"""Experiments and nulls on lattices whose routes are known, the page, and the command."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from energy_flow.analysis import MEASURES, Analysis, Comparison, Labels, Samples, analyze, page_of
from energy_flow.analysis import samples as samples_module
from energy_flow.analysis.causal import (
    Lesion,
    Transplant,
    busiest_edges,
    donors_of,
    lesion,
    most_common_routes,
    random_edges,
    scores_under,
    transplant,
)
from energy_flow.analysis.flux import Flux
from energy_flow.analysis.intervals import Effect
from energy_flow.analysis.nulls import untrained
from energy_flow.analysis.reach import Reach
from energy_flow.analysis.routes import Routes
from energy_flow.analysis.scores import SampleScores
from energy_flow.analysis.trace import Trace
from energy_flow.analysis.verdict import verdict
from energy_flow.cli import main
from energy_flow.config import MOVERS, Box, EnergyConfig
from energy_flow.core import FlowProcessor, Mover, create_processor
from energy_flow.core.flows import BORN
from energy_flow.core.interventions import GoStraight
from energy_flow.data import PairSet, make_split
from energy_flow.data.pairs import one_size
from energy_flow.data.tasks import Task
from energy_flow.data.tasks.judging import r_squared
from energy_flow.viz import document_html

from .traces import hand_made

SITES, WIDTH = 4, 2  # a line of sites, and the numbers of a block: which way it goes, and what it says


class Switch(Mover):
    """With the step that arrives, a flow whose first number is positive goes to the site opposite."""

    width = 1

    def forward(self, head, place):
        ahead = place.position + torch.tensor([0.0, 0, 1])
        swaps = (ahead[:, 2] >= place.lattice.config.lattice_depth - 1) & (place.toward[:, 0] > 0)
        ahead[:, 0] = torch.where(swaps, SITES - 1 - ahead[:, 0], ahead[:, 0])
        return ahead


class Gather(Mover):
    """Flows of the first two sites meet in the first cell of the line, all others go straight."""

    width = 1

    def forward(self, head, place):
        ahead = place.position + torch.tensor([0.0, 0, 1])
        ahead[:, 0] = torch.where(ahead[:, 0] < 2, 0, ahead[:, 0])
        return ahead


class Shift(Mover):
    """One site to the right with the first step."""

    width = 1

    def forward(self, head, place):
        return place.position + torch.tensor([1.0, 0, place.lattice.config.lattice_depth])


@pytest.fixture(scope="module", autouse=True)
def _movers():
    """The movers of this file are known while its tests run."""
    before = dict(MOVERS._entries)
    MOVERS._entries.update({"switch": Switch, "gather": Gather, "shift": Shift})
    yield
    MOVERS._entries.clear()
    MOVERS._entries.update(before)


def line_config(mover: str, **changes) -> EnergyConfig:
    fields = {
        "lattice_width": SITES,
        "lattice_height": 1,
        "lattice_depth": 3,
        "sites": (SITES, 1),
        "initial_steps": 2,
        "mapping": "tied",
        "mover": mover,
        "energy_rule": "origin",
        "energy_dim": WIDTH,
        "energy_threshold": 0.0,
        "max_children": 0,
        "max_spawn_per_step": 0,
        "max_active_flows": SITES,
        "features": ("energy",),
        "neuron_hidden_dim": 4,
        "neuron_output_dim": 4,
        "carrier_hidden_size": 4,
        "carrier_num_layers": 1,
        "input_embedding_dim": SITES * WIDTH,
        "output_embedding_dim": SITES * WIDTH,
    }
    return EnergyConfig.from_dict(fields | changes)


def line(mover: str) -> FlowProcessor:
    processor = create_processor(line_config(mover))
    with torch.no_grad():
        for weight in (processor.mapper.input_weight, processor.mapper.output_weight):
            weight.copy_(torch.eye(WIDTH))
    return processor.eval()


def switched(count: int) -> Samples:
    """Blocks that go straight in class 0 and to the site opposite in class 1."""
    classes = torch.arange(count) % 2
    blocks = torch.randn(count, SITES, WIDTH, generator=torch.Generator().manual_seed(0))
    blocks[:, :, 0] = 0.1 * (2.0 * classes - 1).unsqueeze(1)
    targets = torch.where(classes.view(-1, 1, 1) == 1, blocks.flip(1), blocks)
    return samples_of(blocks, targets, classes)


def samples_of(inputs, targets, classes) -> Samples:
    pairs = PairSet(inputs.flatten(1), targets.flatten(1))
    return Samples(pairs, None, Labels(classes, 2, "by hand"), SampleScores(pairs, None))


@pytest.fixture(scope="module")
def switch(_movers) -> Analysis:
    return analyze(line("switch"), switched(40), permutations=10)


def test_a_switch_by_class_tells_one_bit_and_the_nulls_none(switch: Analysis) -> None:
    found = {system: measures["information_arrival"] for system, measures in switch.measures.items()}
    assert found["trained"].value == pytest.approx(1, abs=1e-6)
    assert found["straight"].value == pytest.approx(0, abs=1e-6)
    assert found["permuted"].value - found["permuted"].chance < 0.05
    assert switch.measures["straight"]["drift"].value == 0
    assert switch.measures["trained"]["drift"].value == pytest.approx(1)  # half the samples move by 3, 1, 1, 3


def test_a_transplant_destroys_what_a_switch_delivers(switch: Analysis) -> None:
    assert switch.scores["trained"].mean == pytest.approx(1, abs=1e-6)
    assert switch.transplant.own.mean == pytest.approx(0, abs=1e-6)
    assert switch.transplant.changed == 1
    assert switch.transplant.other.hurts and switch.transplant.common.hurts and switch.transplant.straight.hurts
    assert switch.transplant.other.mean > 1.5 * switch.transplant.common.mean  # half of the samples have the common one
    assert switch.verdict.startswith("Routes carry content: the routes of another sample cost ")


def test_where_all_go_straight_routes_carry_nothing() -> None:
    blocks = torch.randn(30, SITES, WIDTH)
    found = analyze(line("straight"), samples_of(blocks, blocks, torch.arange(30) % 2), permutations=5)
    assert found.transplant.changed == 0
    assert found.transplant.other.mean == found.transplant.common.mean == 0
    assert not found.lesion.difference.hurts
    assert found.verdict.endswith("Routes carry nothing here.")


def test_children_whose_numbers_mean_another_flow_are_not_led() -> None:
    changes = {"max_children": 2, "max_spawn_per_step": 4, "max_active_flows": 12, "spawn_threshold": 1.0}
    config = line_config("straight", lattice_depth=6, initial_steps=5, max_jump=1, **changes)
    processor = create_processor(config).eval()
    blocks = torch.randn(40, SITES * WIDTH)
    with torch.no_grad():
        result = processor.run(blocks, record=True)
    born = result.trace.event == BORN
    parents = {tuple(row) for row in torch.stack((result.trace.flow_id, result.trace.parent_id), 1)[born].tolist()}
    assert len({flow for flow, _ in parents}) < len(parents)  # one number, several parents
    samples = samples_of(blocks.view(40, SITES, WIDTH), result.output, torch.arange(40) % 2)
    found = transplant(processor, samples, scores_under(processor, samples))
    assert found.other.mean == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("content", "hurts"), [((0, 1), True), ((2, 3), False)])
def test_a_lesion_of_the_busiest_edges_costs_what_they_carried(content: tuple[int, int], hurts: bool) -> None:
    blocks = 0.01 * torch.randn(60, SITES, WIDTH)
    blocks[:, content] = torch.randn(60, 2, WIDTH)
    processor = line("gather")
    with torch.no_grad():
        outputs = processor(blocks.flatten(1))
    samples = samples_of(blocks, outputs, torch.arange(60) % 2)
    flux = Flux(SITES, 3)
    with torch.no_grad():
        flux.observe(Routes.of(Trace.of(processor.run(blocks.flatten(1), record=True), processor.config)))
    found = lesion(processor, samples, flux, scores_under(processor, samples))
    assert found.edges == 1 and found.traffic == pytest.approx(2 / 8)
    assert found.random_traffic >= found.traffic
    assert found.busiest.mean == pytest.approx(1 if hurts else 0, abs=0.05)
    assert found.difference.hurts == hurts


def test_random_edges_carry_as_much_and_are_others() -> None:
    mass = torch.rand(100, dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    busiest = busiest_edges(mass, random)
    assert torch.equal(busiest, mass.argsort(descending=True)[:5])
    for seed in range(5):
        drawn = random_edges(mass, busiest, torch.Generator().manual_seed(seed))
        assert not set(drawn.tolist()) & set(busiest.tolist())
        assert mass[busiest].sum() <= mass[drawn].sum() <= mass[busiest].sum() + mass[drawn].max()
    assert busiest_edges(torch.tensor([9.0, 1, 1]), random).tolist() == []  # others cannot carry as much
    equal = {tuple(sorted(busiest_edges(torch.ones(40), random).tolist())) for _ in range(20)}
    assert len(equal) > 10  # of equally busy edges any two


def test_donors_are_of_another_class_where_there_is_one() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 0])
    donors = donors_of(labels)
    assert (labels[donors] != labels).all()
    assert donors_of(torch.zeros(4, dtype=torch.int64)).tolist() == [1, 2, 3, 0]


def test_most_common_routes_are_taken_origin_by_origin() -> None:
    box = Box(2, 1, 3)
    flows = []
    for sample in range(5):
        flows.append((sample, 0, -1, [(0, 0, 0), (0, 0, 1), (1 if sample < 3 else 0, 0, 2)]))
        flows.append((sample, 1, -1, [(1, 0, 0), (1, 0, 1), (1 if sample < 2 else 0, 0, 2)]))
    common = Routes.of(most_common_routes(hand_made(box, flows)))
    assert common.sample.tolist() == [0, 0]
    assert common.arrival.tolist() == [1, 0]


def test_reach_is_the_distance_at_which_a_change_comes_out() -> None:
    inputs = torch.randn(6, SITES * WIDTH)
    for mover, distance in (("straight", 0.0), ("shift", 1.0)):
        reach = Reach(line(mover))
        assert reach.distance() is None
        reach.observe(inputs)
        assert reach.distance() == distance
        assert reach.distance(within=0.05) == 0  # at the border of the face flows stay where they are


def test_reach_is_that_of_the_flows_as_they_are_told_to_go() -> None:
    reach = Reach(line("shift"), [GoStraight()])
    reach.observe(torch.randn(6, SITES * WIDTH))
    assert reach.distance() == 0


def test_batches_have_every_sample_once_and_change_nothing(switch: Analysis, monkeypatch) -> None:
    monkeypatch.setattr(samples_module, "MOST_SAMPLES", 7)
    samples = switched(40)
    batches = list(samples.batches(line("switch")))
    assert [batch.first for batch in batches] == [0, 7, 14, 21, 28, 34]
    assert torch.equal(torch.cat([batch.inputs for batch in batches]), samples.pairs.inputs[:])
    found = analyze(line("switch"), samples, permutations=10)
    assert found.transplant.other.mean == pytest.approx(switch.transplant.other.mean, abs=0.2)  # donors are others
    for name, value in switch.measures["trained"].items():
        if name != "reach":
            assert found.measures["trained"][name] == pytest.approx(value, nan_ok=True), name


def test_an_untrained_lattice_knows_the_size_of_the_data_and_nothing_else() -> None:
    processor = line("free")
    processor.mapper.calibrate(3 * torch.randn(50, 8), 5 * torch.randn(50, 8))
    fresh = untrained(processor)
    assert torch.equal(fresh.mapper.input_rms, processor.mapper.input_rms)
    assert fresh.mapper.calibrated == 1 and not fresh.training
    assert not torch.equal(fresh.mapper.input_weight, processor.mapper.input_weight)
    assert fresh.config == processor.config.replace(seed=processor.config.seed + 1)


def test_samples_are_scored_one_by_one_as_the_task_scores_them_all() -> None:
    from energy_flow.data import TASKS

    for task in ("delivery", "maze", "sudoku-6"):
        faces = [(4, 4)] if TASKS[task].train_sizes else None
        pairs = one_size(task, make_split(task, "test", 40, faces=faces))
        outputs = pairs.targets[:] + 0.4 * torch.randn(pairs.targets.shape)
        scores = SampleScores(pairs, task)
        whole = TASKS[task].score(pairs.inputs[:], outputs, pairs.targets[:], pairs.face)
        assert 0 < whole < 1
        assert float(scores(pairs.inputs[:], outputs, pairs.targets[:]).mean()) == pytest.approx(whole, abs=1e-6)
        assert scores.name == TASKS[task].metric_name


LOSS, NONE = Effect(0.5, 0.4, 0.6), Effect(0.0, -0.1, 0.1)


@pytest.mark.parametrize(
    ("score", "difference", "other", "words"),
    [
        (0.9, NONE, NONE, "Routes carry nothing here."),
        (0.9, NONE, Effect(0.005, 0.004, 0.006), "Routes carry nothing here."),
        (0.9, LOSS, NONE, "some places matter more than others"),
        (0.9, NONE, LOSS, "Routes carry content: the routes of another sample cost 0.500 (0.400 to 0.600)"),
        (
            0.9,
            LOSS,
            LOSS,
            "edges costs more than one of random others with as much flux: the difference is 0.500 (0.400",
        ),
        (0.0, NONE, NONE, "there is nothing to lose"),
    ],
)
def test_the_verdict_follows_from_the_experiments(score: float, difference: Effect, other: Effect, words: str) -> None:
    cut = Lesion(5, 0.2, 7.0, 0.2, NONE, NONE, difference)
    found = verdict(score, cut, Transplant(NONE, other, NONE, NONE, 0.5))
    assert words in found
    assert ("Routes carry nothing here." in found) == (words == "Routes carry nothing here.")


def test_the_page_has_every_measure_its_nulls_and_the_verdict(switch: Analysis) -> None:
    page = page_of("two", {"first": switch, "second": switch}, Comparison.of([switch, switch], (SITES, 1)))
    for name, measure in MEASURES.items():
        assert f"| {measure.title} | {measure.unit} |" in page, name
    assert page.count(switch.verdict) == 4
    drifts = re.findall(r"\| drift of a flow \| sites \| 1 \| [\d.]+ \| 0 \| 1 \|", page)
    assert len(drifts) == 3  # each null has its column
    tells = switch.measures["trained"]["information_arrival"]
    assert f"| bits | {tells.value - tells.chance:.4g} |" in page and f"| {tells.value:.4g}, chance " in page
    assert "Two runs' flux maps correlate by 1.00" in page
    assert json.loads(json.dumps(switch.to_dict()))["transplant"]["other"]["mean"] == switch.transplant.other.mean
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} <= {3, 4, 6, 7}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    inputs = torch.randn(120, 16, generator=torch.Generator().manual_seed(0))
    save_file({"inputs": inputs, "targets": inputs.roll(4, dims=1)}, folder / "pairs.safetensors")
    small = "--energy-dim 4 --carrier-hidden-size 8 --carrier-num-layers 1 --neuron-hidden-dim 8 --neuron-output-dim 8"
    for seed in (0, 1):
        given = f"train --data {folder / 'pairs.safetensors'} --epochs 2 --batch-size 32 --seed {seed} {small}"
        main([*given.split(), "--checkpoint-every", "2", "--run-folder", str(folder / f"seed-{seed}")])
    return folder


def test_analyze_writes_json_and_a_page(runs, capsys) -> None:
    main(["analyze", str(runs / "seed-0"), "--data", str(runs / "pairs.safetensors"), "--clusters", "3"])
    shown = capsys.readouterr().out
    assert "wrote" in shown and "moves permuted" not in shown
    found = json.loads((runs / "seed-0" / "analysis.json").read_text())
    one = found["runs"]["seed-0"]
    assert set(one["measures"]) == {"trained", "untrained", "straight", "permuted"}
    assert one["samples"] == 12 and one["classes"]["count"] == 3
    assert len(one["specialisation_by_step"]) >= 2
    page = (runs / "seed-0" / "analysis.md").read_text()
    assert one["verdict"] in page and "### Specialisation over training" in page
    document = (runs / "seed-0" / "analysis.html").read_text(encoding="utf-8")
    assert f"<strong>{one['verdict']}</strong>" in document and '<img src="data:image/png;base64,' in document
    assert "<script" not in document and document.count("<table>") == 4


def test_pages_show_html_in_names_as_text() -> None:
    page = document_html("<b>", "# <script>alert(1)</script>\n\n| a |\n| --- |\n| <i> |\n")
    assert "<title>&lt;b&gt;</title>" in page and "<script>" not in page and "<td>&lt;i&gt;</td>" in page


@pytest.mark.slow
def test_several_runs_are_compared(runs, tmp_path) -> None:
    given = [str(runs / "seed-0" / "best"), str(runs / "seed-1"), "--data", str(runs / "pairs.safetensors")]
    main(["analyze", *given, "--samples", "10", "--output", str(tmp_path / "both")])
    found = json.loads((tmp_path / "both" / "analysis.json").read_text())
    assert list(found["runs"]) == ["seed-0", "seed-1"]
    assert set(found["comparison"]["stability"]) == {"trained", "untrained", "straight", "permuted"}
    assert "## 2 runs" in (tmp_path / "both" / "analysis.md").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--samples", "1"], "--samples 1; give at least 2"),
        (["--permutations", "0"], "--permutations 0; give at least 1"),
        (["other"], "2 runs are compared; give --output"),
        (["--clusters", "99"], "clusters = 99 for 12 samples"),
        (["--box", "12"], "box = '12'"),
    ],
)
def test_what_does_not_go_together_is_refused(runs, options, words: str, capsys) -> None:
    given = ["analyze", str(runs / "seed-0"), *options, "--data", str(runs / "pairs.safetensors")]
    with pytest.raises(SystemExit) as left:
        main(given)
    assert left.value.code == 2 and words in capsys.readouterr().err


def test_data_of_another_width_or_face_is_named(runs, tasks, capsys) -> None:
    def of_six(rows, split, fixed, random):
        return torch.zeros(min(rows, 30), 36), torch.zeros(min(rows, 30), 36)

    tasks.add("six", Task("nothing", of_six, "own figure", r_squared, {}, finite=True, face=(6, 6)))
    for data, words in (
        ("identity", "identity: inputs has width 64, the model expects 16"),
        ("six", "a box of 12x12x8 has 4 x 4 sites, and six has no rows for as many; give other data"),
    ):
        with pytest.raises(SystemExit):
            main(["analyze", str(runs / "seed-0"), "--data", data])
        assert words in capsys.readouterr().err


def test_a_folder_that_is_no_model_is_named(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["analyze", str(tmp_path)])
    assert "no such file; give a model folder, such as RUN/best" in capsys.readouterr().err
