"""The small trained models that come with the package, each made again by one command, with the scores of five seeds.

The package has the weights of seed 0, whichever seed did best. Beside them lies `scores.json`: what every seed scored
on the test split and its 95 % interval, bootstrap over rows, and the mean over seeds, bootstrap over rows and seeds.
A seed that has run is kept in the results and not run again, unless `--again` asks for it.

    python -m benchmarks.learning.shipped_models maze
    python -m benchmarks.learning.shipped_models delivery --seeds 0 --again
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.common import commit, fingerprint, machine, parser_for
from benchmarks.learning.board.bootstrap import interval, resampled
from benchmarks.learning.board.judging import headline, losses_of
from benchmarks.learning.matching import count_parameters
from energy_flow.config import PRESETS, EnergyConfig, create_config
from energy_flow.core import create_processor
from energy_flow.data import TASKS, PairData, load_data, make_split, parts_of
from energy_flow.data.pairs import one_size
from energy_flow.data.sources import settings_with_room
from energy_flow.models import SCORES
from energy_flow.sharing import ModelCard, Score
from energy_flow.training import EnergyTrainer, load_model
from energy_flow.training.batches import box_of
from energy_flow.utils.files import replace_file

RECIPES = {  # name: data set, preset, what it does
    "maze": ("maze", "grid", "marks the shortest way through mazes, of sizes that it was not trained on too"),
    "delivery": ("delivery", "pointer", "carries 16 blocks to the places of the order that the first block selects"),
    "words": ("shipped", "tiny", "maps embedded definitions to the embedded words that they define"),
    "sudoku-6": ("sudoku-6", "exchange", "solves sudokus of 6 x 6"),
}
SHIPPED_SEED = 0
EXTRA_ROWS = 1000  # of a split that a task has beside test
CHANGES: dict[str, dict[str, int]] = {"words": {"carrier_hidden_size": 112}}  # the weights stay below 2 MB
MODELS = Path(__file__).parents[2] / "energy_flow" / "models"


def config_of(name: str, seed: int, data: PairData) -> EnergyConfig:
    """The configuration of a recipe: its preset, and what the data set decides."""
    preset = RECIPES[name][1]
    return create_config(preset, **settings_with_room(PRESETS[preset], data) | CHANGES.get(name, {}) | {"seed": seed})


def run_seed(name: str, seed: int, results: Path) -> None:
    """Train one seed and judge it; its weights and what was lost in every row go to the results."""
    data = load_data(RECIPES[name][0])
    config = config_of(name, seed, data)
    trainer, started, busy = EnergyTrainer(create_processor(config), config), time.perf_counter(), time.process_time()
    trainer.fit(data)
    facts: dict[str, Any] = {
        "seed": seed,
        "parameters": count_parameters(trainer.processor),
        "configuration": fingerprint(config),
        "seconds": round(time.perf_counter() - started),
        "processor_seconds": round(time.process_time() - busy),
        "machine": machine(),
        "commit": commit(),
    }
    losses = judged(trainer, data)
    print(f"{name}, seed {seed}, {facts['seconds']} s: {scores_of([losses])}", flush=True)
    trainer.save(results / f"seed-{seed}")
    replace_file(results / f"seed-{seed}" / "losses.safetensors", lambda path: save_file(losses, path))
    write_json(results / f"seed-{seed}" / "facts.json", facts)


def judged(trainer: EnergyTrainer, data: PairData) -> dict[str, Tensor]:
    """What is lost in every test row, (N, 2), by the face of the rows, and in those of the task's extra splits."""
    parts = {f"{part.face[0]} x {part.face[1]}" if part.face else "test split": part for part in parts_of(data.test)}
    if data.task is not None:
        for split in TASKS[data.task].extra_splits:
            drawn = make_split(data.task, split, EXTRA_ROWS, trainer.config.data_seed, options=data.options)
            parts[split] = one_size(data.task, drawn)
    found = {}
    for label, part in parts.items():
        outputs = trainer.predict(part.inputs, box_of(part.face, trainer.config))
        found[label] = losses_of(data.task, outputs, part, data.bank).contiguous()
    return found


def scores_of(losses: Sequence[dict[str, Tensor]]) -> dict[str, dict[str, Any]]:
    """The mean score over seeds for each part of the test rows, and its interval over seeds and rows.

    Args:
        losses: of each seed, (N, 2) by the name of the part.
    """
    found = {}
    for label in sorted(losses[0], key=_size_of):
        lost, total = torch.stack([one[label] for one in losses]).unbind(2)  # (K, N)
        low, high = interval(resampled({"seeds": (lost, total)})["seeds"])
        score = float((1 - lost.sum(1) / total.sum(1)).mean())
        bounds = [round(low, 6), round(high, 6)]
        found[label] = {"score": round(score, 6), "interval": bounds, "rows": lost.shape[1]}
    return found


def _size_of(label: str) -> tuple[bool, list[int]]:
    """The face in a label; those without come last."""
    numbers = [int(number) for number in re.findall(r"\d+", label)]
    return not numbers, numbers


def publish(name: str, results: Path, folder: Path) -> None:
    """Put the weights of the shipped seed and the scores of all seeds where the package has them."""
    seeds = sorted(results.glob("seed-*/facts.json"), key=lambda path: int(path.parent.name.removeprefix("seed-")))
    facts = [json.loads(path.read_text(encoding="utf-8")) for path in seeds]
    losses = [load_file(path.with_name("losses.safetensors")) for path in seeds]
    data, preset, what = RECIPES[name]
    scores = {
        "name": name,
        "what": what,
        "data": data,
        "preset": preset,
        "command": f"python -m benchmarks.learning.shipped_models {name}",
        "metric": headline(None if data == "shipped" else data),
        "parameters": facts[0]["parameters"],
        "shipped_seed": SHIPPED_SEED,
        "scores": scores_of(losses),
        "seeds": [about | {"scores": scores_of([lost])} for about, lost in zip(facts, losses, strict=True)],
    }
    model = load_model(results / f"seed-{SHIPPED_SEED}")
    model.save_pretrained(folder, card=card_of(scores))
    write_json(folder / SCORES, scores)


def card_of(scores: dict[str, Any]) -> ModelCard:
    """What the README of the model says."""
    shipped = next(one for one in scores["seeds"] if one["seed"] == SHIPPED_SEED)
    return ModelCard(
        name=f"energy-flow {scores['name']}",
        what=scores["what"],
        data=scores["data"],
        command=scores["command"],
        seed=SHIPPED_SEED,
        scores=[
            Score(
                metric=scores["metric"],
                where=label,
                value=one["score"],
                low=one["interval"][0],
                high=one["interval"][1],
                rows=one["rows"],
                seeds=len(scores["seeds"]),
            )
            for label, one in scores["scores"].items()
        ],
        machine=shipped["machine"],
        licence="apache-2.0",
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace a JSON file whole."""
    text = json.dumps(content, indent=2) + "\n"
    replace_file(path, lambda file: file.write_text(text, encoding="utf-8", newline="\n"))


def main() -> None:
    """Train the seeds that have not run, then put model and scores into the package."""
    parser = parser_for(__doc__)
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--again", action="store_true", help="train seeds anew that have run")
    parser.add_argument("--models", type=Path, default=MODELS, help="where the model goes")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = options.results / "shipped_models" / options.name
    for seed in options.seeds:
        if options.again or not (results / f"seed-{seed}" / "facts.json").is_file():
            run_seed(options.name, seed, results)
    publish(options.name, results, options.models / options.name)


if __name__ == "__main__":
    main()
