"""Where do channels form, and does it matter? What the flows of trained lattices do, and two experiments on them.

Every seed of a task is trained with the preset that is the best of it, or read from `--models`. Then come all measures
of `energy-flow analyze` beside their nulls, a lesion of the busiest edges, and a transplant of routes. See
`docs/emergence.md`.

    python -m benchmarks.learning.channels --tasks delivery --seeds 0 1 2 3 4
    python -m benchmarks.learning.channels --models runs/channels
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import parser_for, publish, write_tables
from energy_flow.analysis import MEASURES, Analysis, Comparison, Samples, analyze
from energy_flow.analysis.page import cell_of, range_cell
from energy_flow.analysis.study import SYSTEMS
from energy_flow.config import PRESETS, EnergyConfig
from energy_flow.core import FlowProcessor, create_processor
from energy_flow.data import TASKS, PairData, PairSet, load_data, make_split, parts_of
from energy_flow.data.pairs import one_size
from energy_flow.data.sources import settings_with_room
from energy_flow.training import EnergyTrainer, load_model
from energy_flow.training.model_folder import CONFIG

BEST = {"shipped": "tiny", "delivery": "pointer", "maze": "grid", "sudoku-6": "exchange"}  # preset of each task
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}  # two-sided 95 %, by runs


def trained(task: str, seed: int, data: PairData, models: Path | None) -> FlowProcessor:
    """The model of a seed: that in the folder TASK-SEED of `models`, or else it is trained, there if it is given."""
    folder = None if models is None else models / f"{task}-{seed}"
    if folder is not None and (folder / "best" / CONFIG).is_file():
        return load_model(folder / "best")
    preset = PRESETS[BEST[task]]
    config = EnergyConfig.from_dict(preset | settings_with_room(preset, data) | {"seed": seed})
    processor = create_processor(config)
    EnergyTrainer(processor, config, run_folder=folder).fit(data)
    return processor


def rows_for(processor: FlowProcessor, data: PairData, count: int) -> PairSet:
    """Test rows of the model's own face."""
    sites = processor.config.sites
    if data.task is not None and TASKS[data.task].train_sizes:
        return one_size(data.name, make_split(data.task, "test", count, faces=[sites], options=data.options))
    return next(part for part in parts_of(data.test) if part.face in (None, sites)).spaced(count)


def over_seeds(values: list[float]) -> str:
    """Mean and 95 % interval over seeds (Student's t)."""
    mean = torch.tensor(values, dtype=torch.float64).mean().item()
    if len(values) not in STUDENT:
        return f"{mean:.4f}"
    half = STUDENT[len(values)] * torch.tensor(values, dtype=torch.float64).std().item() / len(values) ** 0.5
    return f"{mean:.4f} ({mean - half:.4f} to {mean + half:.4f})"


def experiments(analyses: list[Analysis]) -> list[list[Any]]:
    """A row for each experiment: the loss of score of every seed, with intervals over samples, and over seeds."""
    found = {
        "own routes, replayed": [one.transplant.own for one in analyses],
        "routes of another sample": [one.transplant.other for one in analyses],
        "most common routes": [one.transplant.common for one in analyses],
        "straight moves": [one.transplant.straight for one in analyses],
        "busiest edges blocked": [one.lesion.busiest for one in analyses if one.lesion],
        "random edges of equal traffic blocked": [one.lesion.random for one in analyses if one.lesion],
        "busiest less random": [one.lesion.difference for one in analyses if one.lesion],
    }
    rows = []
    for name, effects in found.items():
        cells = [f"{one.mean:.4f} ({one.low:.4f} to {one.high:.4f})" for one in effects]
        cells += ["-"] * (len(analyses) - len(cells))
        rows.append([name, *cells, over_seeds([one.mean for one in effects]) if effects else "-"])
    return rows


def measures(analyses: list[Analysis], face: tuple[int, int]) -> list[list[Any]]:
    """A row for each measure: means over seeds, the least and the largest, of the trained lattice and of each null."""
    comparison = Comparison.of(analyses, face) if len(analyses) > 1 else None
    rows = []
    for name, measure in MEASURES.items():
        cells = []
        for system in SYSTEMS:
            if name == "stability":
                alike = None if comparison is None else comparison.stability[system]
                cells.append("-" if alike is None else cell_of(alike))
                continue
            found = [one.measures[system].get(name) for one in analyses]
            values = [one.value - (one.chance or 0.0) for one in found if one is not None and one.value is not None]
            cells.append(range_cell(values))
        rows.append([measure.title, measure.unit, *cells])
    return rows


def study(task: str, seeds: list[int], samples: int, models: Path | None, results: Path) -> None:
    """Train, analyse and publish one task."""
    data, analyses, face = load_data(task), [], (1, 1)
    for seed in seeds:
        started = time.perf_counter()
        processor = trained(task, seed, data, models)
        ready = time.perf_counter()
        pairs = rows_for(processor, data, samples)
        analyses.append(analyze(processor, Samples.of(pairs, data.task)))
        face = processor.config.sites
        seconds = f"{ready - started:.0f} s to train or load, {time.perf_counter() - ready:.0f} s to analyse"
        print(f"{task}, seed {seed}: {analyses[-1].verdict} {seconds}", flush=True)
    titles = [f"seed {seed}" for seed in seeds]
    score = over_seeds([one.scores["trained"].mean for one in analyses])
    about = f"{task}, preset {BEST[task]}, {len(seeds)} seeds, {analyses[0].samples} samples"
    tables = {
        "experiments": (["routes", *titles, "over seeds"], experiments(analyses), f"loss of {analyses[0].score_name}"),
        "measures": (["measure", "unit", *SYSTEMS], measures(analyses, face), "measures, less what chance gives"),
    }
    for name, (columns, rows, words) in tables.items():
        path = results / f"channels_{task}_{name}.json"
        title = f"{about}: {words}; score {score}"
        runs = {title: one.to_dict() for title, one in zip(titles, analyses, strict=True)}
        publish(path, title, columns, rows, **({"runs": runs} if name == "experiments" else {}))
        write_tables(path, title, columns, rows)


def main() -> None:
    """Study every task."""
    parser = parser_for(__doc__)
    parser.add_argument("--tasks", nargs="+", choices=BEST, default=list(BEST))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--models", type=Path, help="folder of models, TASK-SEED each: read, or trained there")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for task in options.tasks:
        study(task, options.seeds, options.samples, options.models, options.results)


if __name__ == "__main__":
    main()
