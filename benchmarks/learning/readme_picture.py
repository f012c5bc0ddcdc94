"""The picture of the README: the flows of one held-out puzzle through a lattice trained on `sudoku-4` for 400 steps.

python -m benchmarks.learning.readme_picture docs/flows.png      (needs the extra viz; two minutes)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.learning.synthetic_tasks import BATCH, CONFIG
from energy_flow import EnergyConfig, EnergyTrainer, FlowProcessor, create_processor
from energy_flow.data import TASKS, make_task
from energy_flow.data.pairs import one_size
from energy_flow.data.sources import data_settings
from energy_flow.viz import draw_flows

TASK, STEPS, BRIGHTEST = "sudoku-4", 400, 4.0


def train(steps: int) -> tuple[FlowProcessor, torch.Tensor, float]:
    """The trained processor, one held-out puzzle (1, E), and the share of the held-out grids that it fills exactly."""
    data = make_task(TASK, steps * BATCH)
    config = EnergyConfig.from_dict(CONFIG | data_settings(data))
    trainer = EnergyTrainer(create_processor(config), config)
    trainer.fit(data, epochs=1)
    test = one_size(TASK, data.test)
    score = TASKS[TASK].metric(trainer.predict(test.inputs), test.targets[:])
    return trainer.processor, test.inputs[:1], score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="file to write")
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    arguments = parser.parse_args()
    processor, puzzle, score = train(arguments.steps)
    with torch.no_grad():
        result = processor.run(puzzle, record=True)
    title = f"One held-out 4 x 4 sudoku, a flow per cell and their children ({100 * score:.0f} % of the grids exact)"
    draw_flows(result, processor.config, arguments.path, title=title, brightest=BRIGHTEST)


if __name__ == "__main__":
    main()
