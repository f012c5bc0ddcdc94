"""The flows of one validation row, as they change while a run trains: a page in the run folder, TensorBoard images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..analysis import Trace
from ..config import Box, EnergyConfig
from ..core import FlowTrace
from ..data import parts_of
from ..data.pairs import Pairs
from ..training import Callback
from ..training.batches import box_of
from ..training.run.run_files import FLOWS_PAGE, FRAMES
from ..training.run.tensorboard_curves import TENSORBOARD
from ..utils.files import replace_file
from ..utils.logging import logger
from ..viz import Scene, draw_flows, write_page

if TYPE_CHECKING:
    from ..training import EnergyTrainer
    from ..training.run.run_state import EpochReport

MOST_FRAMES = 16  # on the page, evenly over the run
NEEDED = ("step", "flow_id", "parent_id", "position", "site", "level", "mass", "event")


class Filmstrip(Callback):
    """Keeps what the flows of one row do at every look at the validation set.

    The frames are files in the run folder, so a run that goes on has those of before. What cannot be drawn is a
    warning, once for each cause, and training goes on.

    Args:
        folder: of the run.
        validation: its first row is watched; of several sizes the largest.
    """

    def __init__(self, folder: Path, validation: Pairs) -> None:
        self._folder, self._pairs = folder, parts_of(validation)[-1]
        self._warned: set[str] = set()

    def after_validation(self, trainer: EnergyTrainer, report: EpochReport) -> None:
        """Keep a frame, and write the page anew."""
        if not trainer.ranks.first:
            return
        try:
            self._keep(trainer, report.step)
        except Exception as error:  # of files, of drawing libraries, of the run itself: a picture must not end training
            cause = f"{type(error).__name__}: {error}"
            if cause not in self._warned:
                self._warned.add(cause)
                logger.warning("the flows of step %d are not drawn: %s", report.step, cause)

    def _keep(self, trainer: EnergyTrainer, step: int) -> None:
        box = box_of(self._pairs.face, trainer.config)
        config = trainer.config if box is None else trainer.config.in_box(box)
        result = trainer.watch(self._pairs.inputs[:1], box)
        trace = Trace.of(result, config)
        frames = self._folder / FRAMES
        frames.mkdir(parents=True, exist_ok=True)
        columns = {name: getattr(trace, name).contiguous() for name in NEEDED}
        about = {"box": torch.tensor(trace.box), "sites": torch.tensor(trace.sites)}
        replace_file(frames / f"step-{step:09d}.safetensors", lambda path: save_file(columns | about, path))
        scene = self.scene(step)
        replace_file(self._folder / FLOWS_PAGE, lambda path: write_page(path, scene))
        self._draw(result.trace, config, step)

    def scene(self, step: int) -> Scene:
        """The frames up to a step, one sample each; those of a branch that was left lie beyond it."""
        found = sorted((self._folder / FRAMES).glob("step-*.safetensors"))
        found = [path for path in found if int(path.stem.removeprefix("step-")) <= step]
        places = torch.linspace(0, len(found) - 1, min(MOST_FRAMES, len(found))).tolist()
        chosen = [found[round(place)] for place in places]
        frames = [load_file(path) for path in chosen]
        order = torch.cat([frame["step"] for frame in frames]).argsort(stable=True)

        def joined(name: str) -> Tensor:
            return torch.cat([frame[name] for frame in frames]).index_select(0, order)

        sample = torch.cat([torch.full_like(frame["step"], number) for number, frame in enumerate(frames)])
        columns, rows = frames[-1]["sites"].tolist()
        trace = Trace(
            box=Box(*frames[-1]["box"].tolist()),
            sites=(columns, rows),
            sample=sample.index_select(0, order),
            **{name: joined(name) for name in NEEDED},
        )
        names = {number: f"step {int(path.stem.removeprefix('step-'))}" for number, path in enumerate(chosen)}
        return Scene.of(trace, title=f"One validation row while {self._folder.name} trains", names=names)

    def _draw(self, trace: FlowTrace | None, config: EnergyConfig, step: int) -> None:
        try:
            import matplotlib  # noqa: F401
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return  # the page is there; pictures are an extra
        assert trace is not None
        with SummaryWriter(str(self._folder / TENSORBOARD / FRAMES)) as writer:  # curves have a writer of their own
            writer.add_figure("flows", draw_flows(trace, config, title=f"step {step}"), step)
