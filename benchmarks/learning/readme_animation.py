"""The moving picture of the README: flows of a lattice that was trained on small mazes march through a larger one.

A flow is bright where its column would be marked as the way in that step. The picture is the package's own page,
driven in a headless Chromium.

python -m benchmarks.learning.readme_animation docs/flows.webp --seed 1     (extras test and viz, chromium; ten minutes)
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.learning.any_box import TRIALS
from energy_flow import EnergyTrainer, FlowProcessor, create_config, create_processor
from energy_flow.analysis.trace import Trace
from energy_flow.config import PRESETS, Box
from energy_flow.data import load_data, parts_of
from energy_flow.data.sources import settings_with_room
from energy_flow.data.tasks.judging import class_of_cells
from energy_flow.data.tasks.maze import MARKS
from energy_flow.explorer import Model, Subject
from energy_flow.explorer.answers import answer_of
from energy_flow.explorer.inputs import read_input
from energy_flow.explorer.requests import RowInput
from energy_flow.training import load_model
from energy_flow.viz import Scene, write_page

if TYPE_CHECKING:
    from PIL.Image import Image
    from playwright.sync_api import Page

TASK, SIDE = "maze", 9
SIZE = {"width": 900, "height": 420}
LEAST = 18  # cells of the way
FRAMES, HELD, MILLISECONDS = 64, 16, 70
FLAGS = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
STYLE = """
body { display: block; } header, .timeline, .side, .axis, .view-name { display: none !important; }
main, .views { height: 100vh; } .view { overflow: visible; }
.answer { position: fixed; right: 30px; top: 40px; width: 290px; }
.answer h3, .answer .note, .answer .read-chart { display: none; }
.film { position: fixed; left: 28px; bottom: 22px; font-size: 15px; color: var(--soft); }
"""
BEGIN = """(words) => {
    document.body.append(document.querySelector('.answer'));
    const line = document.createElement('p');
    line.className = 'film';
    line.textContent = words;
    document.body.append(line);
    const { board, view } = energyFlow;
    board.player.pause();
    board.setLook({ colouring: 'answer', theme: 'dark' });
    const { camera } = view.stage;
    view.stage.resize();
    camera.setViewOffset(innerWidth, innerHeight, 150, 14, innerWidth, innerHeight);
    board.setTrail(18);
    view.stage.flows.shared.past.value = 0.3;
}"""
SHOW = """([time, turn]) => new Promise((done) => {
    const { board, view } = energyFlow;
    board.player.go(time);
    view.stage.lookFrom(-0.8 + 1.5 * turn, 0.45, 1, 5.7);
    requestAnimationFrame(() => requestAnimationFrame(done));
})"""


def train(seed: int) -> FlowProcessor:
    """The preset `grid`, trained on mazes of 3 x 3 to 6 x 6."""
    data = load_data(TASK)
    config = create_config("grid", **settings_with_room(PRESETS["grid"], data) | {"seed": seed})
    trainer = EnergyTrainer(create_processor(config), config)
    trainer.fit(data)
    return trainer.processor


def scene_of(processor: FlowProcessor) -> Scene:
    """Among the test mazes of 9 x 9 that are solved, the one about which the lattice is wrong for longest."""
    subject = Subject([Model(TASK, processor.eval())], load_data(TASK))
    steps = next(steps for side, steps, _ in TRIALS[TASK] if side == SIDE)
    box, parts = Box(SIDE, SIDE, steps + 1), parts_of(subject.data.test)
    size = [part.face for part in parts].index((SIDE, SIDE))
    part, first = parts[size], sum(len(smaller) for smaller in parts[:size])
    rows, targets = part.inputs[:], part.targets[:]
    with torch.no_grad():
        along = processor.run(rows, box=box, along=1.0).along
        assert along is not None
        wrong = class_of_cells(along.flatten(0, 1), MARKS).view(len(along), len(rows), -1) != class_of_cells(
            targets, MARKS
        )
        short = class_of_cells(targets, MARKS).sum(1) < LEAST
        still_wrong = wrong.sum((0, 2)).masked_fill(wrong[-1].any(1) | short, -1)
        row = int(still_wrong.argmax())
        result = processor.run(rows[[row]], box=box, record=True, along=1.0)
    assert result.along is not None
    given = read_input(subject, RowInput(kind="row", row=first + row))
    answer = answer_of(subject, given, result.along[:, 0], result.stats.steps)
    return Scene.of(Trace.of(result, processor.config.in_box(box)), answers={0: answer})


def film(scene: Scene, words: str, page_path: Path) -> list[Image]:
    """The frames."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    write_page(page_path, scene)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        context = browser.new_context(viewport=SIZE, color_scheme="dark", bypass_csp=True)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(page_path.resolve().as_uri() + "#t=0")
        page.wait_for_selector("html[data-ready]", state="attached")
        page.add_style_tag(content=STYLE)
        page.evaluate(BEGIN, words)
        steps = page.evaluate("energyFlow.board.player.steps")
        frames = [Image.open(io.BytesIO(_frame(page, steps, frame))).convert("RGB") for frame in range(FRAMES + HELD)]
        browser.close()
    return frames


def _frame(page: Page, steps: int, frame: int) -> bytes:
    page.evaluate(SHOW, [steps * min(1.0, frame / (FRAMES - 1)), frame / (FRAMES + HELD - 1)])
    return page.screenshot()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help=".webp to write")
    parser.add_argument("--model", type=Path, help="model folder of this training, instead of training")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    processor = train(options.seed) if options.model is None else load_model(options.model)
    words = "Trained on mazes of 3 x 3 to 6 x 6, at work on 9 x 9: one flow a cell, bright where it would mark the way"
    frames = film(scene_of(processor), words, options.path.with_suffix(".html"))
    options.path.with_suffix(".html").unlink()
    first, *others = frames
    first.save(options.path, save_all=True, append_images=others, duration=MILLISECONDS, loop=0, quality=62, method=6)
    print(f"{options.path}: {len(frames)} frames, {options.path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
