"""`energy-flow train`: a model is trained, then judged by its best weights."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..config.fields import RunFields
from ..core import create_processor
from ..data import PairData, SizedPairs, parts_of
from ..data.sources import SHIPPED
from ..distributed import Ranks, joined_ranks
from ..training import EnergyTrainer, NonFiniteError, Observer, ProgressBar, WandbCurves
from ..training.model_folder import load_initial_weights
from ..training.run.opening import claim_folder
from ..training.run.run_files import LOG
from ..utils import DeviceManager, setup_logging
from ..utils.logging import logger
from .filmstrip import Filmstrip
from .found_models import model_folder
from .report import console, load_trainer, print_decoded, print_picture, print_scores
from .row_map import LatticeMap
from .settings import ModelOptions, cached_data, defaults_of_training, in_groups, read_early

Channel = Literal["DEBUG_ENERGY", "DEBUG_SPAWN", "DEBUG_CONVERGENCE"]
RUNS = Path("runs")


@dataclass(frozen=True)
class RunOptions(RunFields):
    """Where a run is kept, what it starts from, what it looks at and when it ends."""

    run: Annotated[Path | None, tyro.conf.arg(aliases=["--run-folder"])] = None
    """run folder for weights, metrics and curves; by default one in runs/ with the time of day. torchrun takes --run
    for an option of its own: write --run-folder there"""
    overwrite: bool = False
    """replace what an earlier run left in the run folder"""
    resume: str | None = None
    """auto: go on with the run in --run where its newest checkpoint is, or start it where there is none; or the folder
    of a checkpoint: an older one of this run, or another run's, which is gone on with in a new --run"""
    init_from: Path | None = None
    """model folder, such as RUN/best, or a name that `energy-flow list` shows, whose weights a new run starts from; the
    size of the data is measured anew. With --resume auto, where there is nothing to go on from"""
    wandb: str | None = None
    """project of Weights & Biases to send the figures to as well (extra wandb; WANDB_MODE=offline keeps them here)"""
    log_channels: tuple[Channel, ...] = ()
    """special log levels to switch on"""
    watch_flows: bool = True
    """keep what the flows of a validation row do at every look: RUN/flows.html, and TensorBoard images (extra viz)"""
    examples: int = 10
    """test examples to decode at the end; 0 is none"""


@dataclass(frozen=True)
class Train(ModelOptions):
    """Train a model; every field of the configuration is an option, and its default is the preset's.

    What is set counts in this order, the later over the earlier: preset, data set (its widths, and what a task
    needs), --config file, options. On several devices: torchrun --nproc-per-node N -m energy_flow train ...
    """

    preset: str | None = None
    """tiny, grid, pointer, debug, experiment, optimized or exchange; by default debug on a GPU and tiny on a CPU"""
    config: Path | None = None
    """.json or .yaml file with fields of the configuration"""
    data: str = SHIPPED
    """shipped, a pair-set folder, a .safetensors file, or a task (identity, rotation, conditional-permutation,
    deep-teacher, sudoku-4, digits, maze, flood, sudoku-6, delivery, chain-parity, chain-s5, or one
    that you registered)"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    run: tyro.conf.OmitArgPrefixes[RunOptions] = field(default_factory=RunOptions)

    @classmethod
    def with_defaults(cls, arguments: Sequence[str]) -> Train:
        """The command with the configuration that preset, data set, file and run give, before options are applied.

        Raises:
            ValueError: one of them cannot be used.
        """
        early = read_early(arguments)
        groups = in_groups(defaults_of_training(early))
        run = RunOptions(**groups.pop("run"))
        return cls(preset=early.preset, config=early.config, data=early.data, device=early.device, run=run, **groups)

    def check(self) -> None:
        """Refuse, with a ValueError, options that do not fit, before any work."""
        settings, run = self.settings, self.run
        if run.resume is not None and run.run is None:
            raise ValueError("--resume goes on with a run: give its folder with --run")
        if run.resume is not None and run.overwrite:
            raise ValueError("--resume goes on with a run and --overwrite replaces it; give one of them")
        if run.resume not in (None, "auto") and run.init_from is not None:
            raise ValueError("--resume goes on with a run and --init-from starts a new one; give one of them")
        if run.examples < 0:
            raise ValueError(f"--examples {run.examples}; give 0 or more")
        DeviceManager(self.device, settings.precision)

    def __call__(self) -> None:
        """Train, then judge the best weights on the test split."""
        settings, options = self.settings, self.run
        devices = DeviceManager(self.device, settings.precision)
        data = cached_data(self.data, settings.data_seed)
        with joined_ranks(devices.device), contextlib.ExitStack() as at_end:
            ranks = Ranks()
            setup_logging("INFO" if ranks.first else "WARNING", options.log_channels, console=console)
            given = options.run and options.run.expanduser()
            folder = given or ranks.from_first(lambda: claim_folder(RUNS))
            if options.run is None and ranks.first:
                at_end.callback(_remove_if_empty, folder)
            observers: list[Observer] = [ProgressBar(console)]
            if options.wandb is not None:
                observers.append(WandbCurves(options.wandb, folder, settings))
            processor = create_processor(settings)
            if options.init_from is not None:
                load_initial_weights(processor, model_folder(options.init_from))
            callbacks = [Filmstrip(folder, data.validation)] if options.watch_flows else []
            trainer = EnergyTrainer(
                processor, settings, folder, options.overwrite, devices, observers, options.resume, callbacks=callbacks
            )
            if ranks.first:
                setup_logging(channels=options.log_channels, json_path=folder / LOG, console=console)
            trainer.fit(data)
        if ranks.first:
            self._judge(folder, data)

    def _judge(self, folder: Path, data: PairData) -> None:
        """Print how good the best weights are; the run is on the disk, and whatever else fails here is a warning.

        Raises:
            NonFiniteError: there are none.
        """
        if not (folder / "best").is_dir():
            raise NonFiniteError(
                f"{self.settings.best_by} was not finite at any look at the validation set, so {folder} has no best "
                "weights; look at its metrics.jsonl, or lower learning_rate"
            )
        try:
            best = LatticeMap(folder / "best", load_trainer(folder / "best", self.device))
            pairs = parts_of(data.test)[0]
            outputs = print_scores(best, data, pairs, f"{data.name}: test split, best weights of {folder}")
            print_picture(data, pairs, outputs)
            if isinstance(data.test, SizedPairs):
                console.print(f"energy-flow evaluate {folder / 'best'} --data {self.data} judges it at every size")
            if self.run.examples:
                rows = pairs.spaced_rows(self.run.examples)
                print_decoded(data, pairs.subset(rows), outputs[rows])
        except KeyboardInterrupt:
            logger.warning("the run is whole in %s; energy-flow evaluate %s judges it", folder, folder / "best")
            raise
        except Exception as error:
            logger.warning(
                "the run is whole in %s, but its test split was not judged (%s: %s); energy-flow evaluate %s does it",
                *(folder, type(error).__name__, error, folder / "best"),
            )


def _remove_if_empty(folder: Path) -> None:
    """A folder that was claimed for a run that never began."""
    with contextlib.suppress(OSError):
        folder.rmdir()
