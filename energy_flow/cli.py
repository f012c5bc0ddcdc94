"""The command line: parse, build, call."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from rich.console import Console

from .config import EnergyConfig, create_config
from .config.base_config import read_fields
from .core import create_processor
from .core.execution.cost import kept_bytes, measure_cost
from .data import TASKS, PairData, PairSet, load_data
from .data.sources import SHIPPED, data_settings, load_matrices
from .data.wordnet import read_queries
from .distributed import Ranks, joined_ranks
from .text import ApproximateTexts, NearestTexts, TextEncoder, TextGenerator
from .training import (
    EnergyTrainer,
    Judge,
    NonFiniteError,
    Observer,
    ProgressBar,
    TrainingStopped,
    WandbCurves,
    load_model,
)
from .utils import DeviceManager, setup_logging
from .viz import cost_table, examples_table, metrics_table

try:
    import tyro
    from tyro.extras import subcommand_cli_from_dict
except ImportError:
    sys.exit("energy-flow: error: the command line needs tyro: pip install 'energy-flow[cli]'")

from .cli_data import DATA_COMMANDS
from .cli_text import TrainDecoder

if TYPE_CHECKING:
    from torch import Tensor

Channel = Literal["DEBUG_ENERGY", "DEBUG_SPAWN", "DEBUG_CONVERGENCE"]
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: try again
PUBLISHED_MISS = 1000  # the rank of a word that is not found, in the published reverse-dictionary tables
HUB_QUERIES = 10_000  # training inputs whose outputs tell which texts are hubs
console = Console(soft_wrap=not sys.stdout.isatty())


@dataclass(frozen=True)
class Train:
    """Train a model; every field of the configuration is an option, and its default is the preset's.

    What is set counts in this order, the later over the earlier: preset, data set (its widths, and what a task
    needs), --config file, options. On several devices: torchrun --nproc-per-node N -m energy_flow train ...
    """

    preset: str | None = None
    """tiny, debug, experiment or optimized; by default debug on a GPU and tiny on a CPU"""
    config: Path | None = None
    """.json or .yaml file with fields of the configuration"""
    data: str = SHIPPED
    """shipped, a pair-set folder, a .safetensors file, or a task (identity, rotation, conditional-permutation,
    deep-teacher, sudoku-4, digits, or one that you registered)"""
    run: Annotated[Path | None, tyro.conf.arg(aliases=["--run-folder"])] = None
    """run folder for weights, metrics and curves; by default runs/ with the time of day. torchrun takes --run for an
    option of its own: write --run-folder there"""
    overwrite: bool = False
    """replace what an earlier run left in the run folder"""
    resume: str | None = None
    """auto: go on with the run in --run where its newest checkpoint is, or start it where there is none; or the folder
    of a checkpoint. The run's own configuration counts, and --data must be what it was"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    log_channels: tuple[Channel, ...] = ()
    """special log levels to switch on"""
    wandb: str | None = None
    """project of Weights & Biases to send the figures to as well (extra wandb; WANDB_MODE=offline keeps them here)"""
    examples: int = 10
    """test examples to decode at the end"""
    settings: tyro.conf.OmitArgPrefixes[EnergyConfig] = field(default_factory=EnergyConfig)

    def __call__(self) -> None:
        """Train, then judge the best weights on the test split."""
        if self.resume is not None and self.run is None:
            raise ValueError("--resume goes on with a run: give its folder with --run")
        devices = DeviceManager(self.device, self.settings.precision)
        folder = self.run or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
        data = load_data(self.data, self.settings.seed)
        with joined_ranks(devices.device):
            first = Ranks().first
            observers: list[Observer] = [ProgressBar(console)]
            if self.wandb is not None:
                observers.append(WandbCurves(self.wandb, folder, self.settings))
            trainer = EnergyTrainer(
                create_processor(self.settings),
                self.settings,
                folder,
                self.overwrite,
                devices,
                observers,
                self.resume,
            )
            if first:
                setup_logging(channels=self.log_channels, json_path=folder / "log.jsonl", console=console)
            else:
                setup_logging("WARNING", console=console)
            trainer.fit(data)
        if not first:
            return
        best = _load_trainer(folder / "best", self.device)
        _print_scores(best, data, data.test, f"{data.name}: test split, best weights of {folder}")
        _print_examples(best, data, data.test.spaced(self.examples))


@dataclass(frozen=True)
class Evaluate:
    """Judge a trained model on a split of a data set, beside the input itself."""

    model: tyro.conf.Positional[Path]
    """model folder, such as runs/NAME/best"""
    data: str = SHIPPED
    """shipped, a synthetic task, a folder, or a .safetensors file"""
    split: Literal["train", "validation", "test"] = "test"
    """which split"""
    queries: Path | None = None
    """judge by a published test set instead: a JSON list of objects with `word` and `definitions`, embedded with the
    data set's encoder and ranked among its bank; ranks beyond 1000 count as 1000 (needs the extra text)"""
    csls: bool = False
    """hold hubs back when ranking (CSLS, measured on outputs for training inputs)"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Print the table."""
        trainer = _load_trainer(self.model, self.device)
        data = load_data(self.data, trainer.config.seed)
        pairs, title = getattr(data, self.split), f"{self.split} split"
        if self.queries is not None:
            pairs, title = _embed_queries(self.queries, data), self.queries.name
        miss = None if self.queries is None else PUBLISHED_MISS
        _print_scores(trainer, data, pairs, f"{data.name}: {title}, {self.model}", miss, self.csls)


@dataclass(frozen=True)
class Predict:
    """Decode a model's outputs to the nearest texts of a bank: for texts, for embeddings, or for test examples."""

    model: tyro.conf.Positional[Path]
    """model folder, such as runs/NAME/best"""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """texts to embed (needs the extra text) and send through the model; none: test examples of the data set"""
    inputs: Path | None = None
    """.safetensors file with a matrix `inputs` to send through instead"""
    output: Path | None = None
    """.safetensors file to write the output embeddings to, as `outputs`"""
    data: str = SHIPPED
    """data set whose texts are the bank"""
    examples: int = 10
    """how many test examples"""
    top: int = 5
    """nearest texts to show for each"""
    decoder: Path | None = None
    """folder that train-decoder wrote: write texts with it instead of looking for the nearest"""
    approximate: bool = False
    """look for the nearest with a faiss index, for banks above a million (extra faiss)"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""

    def __call__(self) -> None:
        """Print the nearest texts."""
        if self.decoder is not None and self.approximate:
            raise ValueError("--decoder writes texts and --approximate looks for them; give one of them")
        trainer = _load_trainer(self.model, self.device)
        data = load_data(self.data, trainer.config.seed)
        if self.texts and self.inputs:
            raise ValueError("texts and --inputs are both given; give one of them")
        if self.inputs is not None:
            rows = load_matrices(self.inputs, ("inputs",))["inputs"]
            outputs = trainer.predict(rows)
            self._print_texts(data, [f"row {row}" for row in range(len(rows))], outputs)
        elif self.texts:
            encoder = TextEncoder(data.encoders[0]) if data.encoders else TextEncoder()
            outputs = trainer.predict(encoder(self.texts))
            self._print_texts(data, self.texts, outputs)
        elif self.decoder is not None or self.approximate:
            shown = data.test.spaced(self.examples)
            outputs = trainer.predict(shown.inputs)
            self._print_texts(data, shown.input_texts or [f"row {row}" for row in range(len(shown))], outputs)
        else:
            outputs = _print_examples(trainer, data, data.test.spaced(self.examples), self.top)
        if self.output is not None:
            _save_outputs(self.output, outputs)

    def _print_texts(self, data: PairData, names: Sequence[str], outputs: Tensor) -> None:
        if self.decoder is not None:
            found = TextGenerator.load(self.decoder).to(DeviceManager(self.device).device).generate(outputs)
        elif data.bank is None:
            raise ValueError(f"data = {data.name!r} has no texts to decode to; give one that has, such as shipped")
        else:
            search = ApproximateTexts if self.approximate else NearestTexts
            nearest = search(data.bank.texts, data.bank.embeddings)(outputs, self.top)
            found = [", ".join(f"{match.text} ({match.score:.3f})" for match in matches) for matches in nearest]
        for name, text in zip(names, found, strict=True):
            console.print(f"{name}: {text}", highlight=False, markup=False)


@dataclass(frozen=True)
class Info:
    """Show what a preset is and costs: parameters, sites, memory and FLOPs."""

    preset: str = "debug"
    """tiny, debug, experiment or optimized"""
    config: Path | None = None
    """.json or .yaml file with fields of the configuration"""
    settings: tyro.conf.OmitArgPrefixes[EnergyConfig] = field(default_factory=EnergyConfig)

    def __call__(self) -> None:
        """Print the tables."""
        config, cost = self.settings, measure_cost(self.settings)
        size = f"{config.lattice_width} x {config.lattice_height} x {config.lattice_depth}"
        console.print(cost_table(f"{self.preset}: parameters and work", cost.parameters, cost.forward_flops))
        console.print(f"lattice            {size} = {config.num_cells:,} cells, never materialised")
        console.print(
            f"sites              {config.sites[0]} x {config.sites[1]} = {config.num_sites} flows launched per sample,"
        )
        console.print(
            f"                   at most {config.max_active_flows} live, {config.energy_dim} energy channels each"
        )
        console.print(f"flow-steps         {cost.launched_flow_steps:,} per sample before splits, on an untrained path")
        console.print(f"memory             {cost.state_bytes:,} bytes of state per live flow (float32)")
        kept, least = (kept_bytes(config, 2, checkpointed) for checkpointed in (False, True))
        console.print(f"                   {kept:,} bytes kept for the backward pass per flow-step (bfloat16),")
        console.print(f"                   {least:,} with checkpointing")
        console.print(f"                   {4 * sum(cost.parameters.values()) / 2**20:,.1f} MiB of weights")


def _show_data_commands() -> None:
    """Build data sets: see `energy-flow data --help`."""
    parse(["data", "--help"])


CONFIGURED: dict[str, Any] = {"train": Train, "info": Info}
COMMANDS: dict[str, Any] = CONFIGURED | {
    "evaluate": Evaluate,
    "predict": Predict,
    "train-decoder": TrainDecoder,
    "data": _show_data_commands,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Exit codes: 1 where training broke, 2 for what the user can mend, 75 where training was stopped and saved (run it
    again with --resume auto), 130 for Ctrl-C elsewhere.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        parse(arguments)()
    except (ValueError, ImportError) as error:
        _fail(2, str(error))
    except NonFiniteError as error:
        _fail(1, str(error))
    except TrainingStopped as stop:
        _fail(STOPPED, str(stop))
    except KeyboardInterrupt:
        _fail(130, "interrupted")


def parse(arguments: Sequence[str]) -> Any:
    """The command that the arguments ask for, its configuration put together by precedence.

    Raises:
        ValueError: the arguments do not fit; one line.
    """
    name, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if name in CONFIGURED:
        default = _configured_default(CONFIGURED[name], rest)
        return _one_line_errors(lambda: tyro.cli(type(default), prog=f"energy-flow {name}", args=rest, default=default))
    commands = DATA_COMMANDS if name == "data" else COMMANDS
    prog, rest = ("energy-flow data", rest) if name == "data" else ("energy-flow", list(arguments))
    return _one_line_errors(lambda: subcommand_cli_from_dict(commands, prog=prog, args=rest or ["--help"]))


def _one_line_errors(parse_arguments: Callable[[], Any]) -> Any:
    """Turn tyro's boxed complaints into one line."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parse_arguments()
    except SystemExit as stop:
        if stop.code != 2:
            raise
        words = re.sub("[╭╮╰╯│─┌┐└┘]", " ", said.getvalue()).split("For full helptext")[0].split()
        raise ValueError(re.sub(r"^\w+ (error|options) (Error parsing settings: )?", "", " ".join(words))) from None


def _configured_default(command: Any, arguments: Sequence[str]) -> Any:
    """The command with the configuration that preset, data set and file give, before options are applied."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset")
    early.add_argument("--config", type=Path)
    early.add_argument("--data", default=SHIPPED)
    early.add_argument("--device", default="auto")
    early.add_argument("--run", "--run-folder", type=Path)
    early.add_argument("--resume")
    known, _ = early.parse_known_args(arguments)
    fields = read_fields(known.config, EnergyConfig) if known.config else {}
    if command is Info:
        preset = known.preset or Info.preset
        return Info(preset, known.config, create_config(preset, **fields))
    if known.resume is not None and known.run is not None and (known.run / "config.json").is_file():
        settings = EnergyConfig.load(known.run / "config.json")
        return Train(preset=known.preset, config=known.config, data=known.data, device=known.device, settings=settings)
    preset = known.preset or ("tiny" if DeviceManager(known.device).device.type == "cpu" else "debug")
    data = load_data(known.data)
    settings = create_config(preset, **(data_settings(data) | fields))
    return Train(preset=preset, config=known.config, data=known.data, device=known.device, settings=settings)


def _load_trainer(folder: Path, device: str) -> EnergyTrainer:
    processor = load_model(folder)
    return EnergyTrainer(processor, processor.config, devices=DeviceManager(device, processor.config.precision))


def _print_scores(
    trainer: EnergyTrainer, data: PairData, pairs: PairSet, title: str, miss: int | None = None, csls: bool = False
) -> None:
    inputs, targets = pairs.inputs[:], pairs.targets[:]
    systems = {"lattice": trainer.predict(inputs)}
    judges = {"lattice": Judge(data.bank, _hub_queries(trainer, data) if csls else None, miss)}
    if inputs.shape == targets.shape:
        systems = {"input itself": inputs} | systems
        judges["input itself"] = Judge(data.bank, None, miss)
    rows = {name: judges[name].measure(outputs, pairs).to_dict() for name, outputs in systems.items()}
    if data.task is not None:
        for name, outputs in systems.items():
            rows[name][TASKS[data.task].metric_name] = TASKS[data.task].metric(outputs, targets)
    intervals = {name: judges[name].confidence_intervals(outputs, pairs) for name, outputs in systems.items()}
    console.print(metrics_table(title, rows, intervals))
    console.print(f"{len(pairs)} rows; in brackets the 95 % interval, bootstrap over the rows")
    if data.bank is not None:
        beyond = "" if miss is None else f"; a rank of {miss} or more counts as {miss}"
        hubs = "; the lattice's by CSLS" if csls else ""
        console.print(f"ranks are 0-based, among {len(data.bank.texts)} candidate texts{beyond}{hubs}")


def _hub_queries(trainer: EnergyTrainer, data: PairData) -> Tensor:
    if data.bank is None:
        raise ValueError(f"--csls corrects ranks among texts, and {data.name} has none; leave it out")
    return trainer.predict(data.train.spaced(HUB_QUERIES).inputs)


def _embed_queries(path: Path, data: PairData) -> PairSet:
    queries = read_queries(path)
    if data.bank is None or data.encoders is None:
        raise ValueError(
            f"--queries looks words up in the set's bank, and {data.name} has no texts; give a set of texts"
        )
    definitions, words = [query.definition for query in queries], [query.word for query in queries]
    given, wanted = (TextEncoder(name) for name in data.encoders)
    return PairSet(given(definitions), wanted(words), definitions, words)


def _print_examples(trainer: EnergyTrainer, data: PairData, pairs: PairSet, top: int = 5) -> Tensor:
    outputs = trainer.predict(pairs.inputs)
    if data.bank is not None and pairs.input_texts:
        found = [
            [match.text for match in row] for row in NearestTexts(data.bank.texts, data.bank.embeddings)(outputs, top)
        ]
        rows = list(zip(pairs.input_texts, pairs.target_texts, found, strict=True))
        console.print(examples_table(f"{len(pairs)} test examples, decoded", rows))
    return outputs


def _save_outputs(path: Path, outputs: Tensor) -> None:
    from safetensors.torch import save_file

    save_file({"outputs": outputs.contiguous()}, path)
    console.print(f"wrote {path}")


def _fail(code: int, message: str) -> None:
    print(f"energy-flow: error: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
