"""The configuration of a command: groups of options, and what they start from.

What is set counts in this order, the later over the earlier: preset, data set (its widths, and what a task needs),
`--config` file, options. A run that goes on starts from its own configuration, and what preset and file say is held
against it as options are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import tyro

from ..config import PRESETS, EnergyConfig, create_config
from ..config.base_config import read_fields
from ..config.energy_config import GROUPS, MODEL_FIELDS
from ..config.fields import (
    CarrierFields,
    EnergyFields,
    ExecutionFields,
    LatticeFields,
    LossFields,
    RunFields,
    TrainingFields,
)
from ..data import PairData, load_data
from ..data.sources import SHIPPED, data_settings, settings_with_room
from ..training.batches import box_of
from ..training.model_folder import CONFIG
from ..training.run.folder_lock import refuse_if_in_use
from ..training.run.opening import MAY_CHANGE, newest_checkpoint
from ..utils import DeviceManager
from ..utils.files import require_writable
from .found_models import model_folder


@lru_cache(maxsize=1)
def _loaded(source: str, seed: int, stamp: tuple[Path, int]) -> PairData:
    return load_data(source, seed)


def cached_data(source: str, seed: int = 0) -> PairData:
    """A data set; the parser and the command ask for the same, and it is loaded once."""
    path = Path(source).absolute()
    return _loaded(source, seed, (path, path.stat().st_mtime_ns if path.exists() else 0))


@dataclass(frozen=True)
class ModelOptions:
    """Options of every field that says what a model is and how it is trained, in groups."""

    lattice: tyro.conf.OmitArgPrefixes[LatticeFields] = field(default_factory=LatticeFields)
    energy: tyro.conf.OmitArgPrefixes[EnergyFields] = field(default_factory=EnergyFields)
    carrier: tyro.conf.OmitArgPrefixes[CarrierFields] = field(default_factory=CarrierFields)
    training: tyro.conf.OmitArgPrefixes[TrainingFields] = field(default_factory=TrainingFields)
    loss: tyro.conf.OmitArgPrefixes[LossFields] = field(default_factory=LossFields)
    execution: tyro.conf.OmitArgPrefixes[ExecutionFields] = field(default_factory=ExecutionFields)
    run: tyro.conf.OmitArgPrefixes[RunFields] = field(default_factory=RunFields)

    @property
    def settings(self) -> EnergyConfig:
        """The configuration that the groups say.

        Raises:
            ValueError: a value does not fit.
        """
        groups = {name: getattr(self, name) for name in GROUPS}
        return EnergyConfig(
            **{one.name: getattr(groups[name], one.name) for name, group in GROUPS.items() for one in fields(group)}
        )

    def check(self) -> None:
        """Refuse, with a ValueError, options that do not fit, before any work."""
        self.settings  # noqa: B018  (its values are checked as it is put together)


def in_groups(config: EnergyConfig) -> dict[str, Any]:
    """The values of a configuration by their groups; those of the run stay a mapping."""
    found = {name: {one.name: getattr(config, one.name) for one in fields(group)} for name, group in GROUPS.items()}
    return {name: values if name == "run" else GROUPS[name](**values) for name, values in found.items()}


@dataclass(frozen=True)
class Early:
    """What is read before the other options, as it decides their defaults."""

    preset: str | None
    config: Path | None
    data: str
    device: str
    run: Path | None
    resume: str | None
    init_from: Path | None


def read_early(arguments: Sequence[str]) -> Early:
    """Find the options that decide the defaults of the others.

    Raises:
        ValueError: one of them has no value.
    """
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    parser.add_argument("--config", type=_path)
    parser.add_argument("--data", default=SHIPPED)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--run", "--run-folder", type=_path)
    parser.add_argument("--resume")
    parser.add_argument("--init-from", type=_path)
    known, _ = parser.parse_known_args([_with_dashes(one) for one in arguments])
    return Early(**vars(known))


def _with_dashes(argument: str) -> str:
    """An option as it is declared, `--init-from=a_b` for `--init_from=a_b`; its value stays."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def _path(text: str) -> Path:
    """A path that is not empty, which would be this folder."""
    if not text:
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text).expanduser()


def defaults_of_training(early: Early) -> EnergyConfig:
    """The configuration that preset, data set, file, and the run or the weights that are gone on with, give.

    Raises:
        ValueError: one of them cannot be used.
    """
    given = read_fields(early.config, EnergyConfig) if early.config else {}
    if early.preset is not None:
        create_config(early.preset)  # names those that there are
    if early.run is not None:
        require_writable(early.run, "run folder")
        if os.environ.get("RANK", "0") == "0":  # of several processes the first alone will write there
            refuse_if_in_use(early.run)
    going_on = _configuration_that_goes_on(early)
    if going_on is not None:
        return _held_against(going_on, early, given)
    data = cached_data(early.data)
    if early.init_from is not None:
        return _from_weights(early, data, given)
    preset = early.preset or ("tiny" if DeviceManager(early.device).device.type == "cpu" else "debug")
    return create_config(preset, **(settings_with_room(PRESETS[preset], data) | given))


def _configuration_that_goes_on(early: Early) -> Path | None:
    if early.resume is None or early.run is None:
        return None
    folder = Path(early.resume).expanduser()
    if early.resume == "auto":
        folder = early.run
        with contextlib.suppress(ValueError):  # a run that was killed before it saved has its configuration alone
            folder = newest_checkpoint(early.run)
    return folder / CONFIG if (folder / CONFIG).is_file() else None


def _held_against(path: Path, early: Early, given: dict[str, Any]) -> EnergyConfig:
    """The run's own configuration with what preset and file say otherwise, which the run then refuses by name."""
    own = EnergyConfig.load(path)
    preset = {} if early.preset is None else PRESETS[early.preset]
    said = preset | (settings_with_room(preset, cached_data(early.data)) if preset else {}) | given
    for name in MAY_CHANGE:
        if name in said and said[name] < getattr(own, name):
            print(
                f"{name} stays {getattr(own, name)}, as planned; preset or --config say {said[name]}", file=sys.stderr
            )
            del said[name]
    return own.replace(**said)


def _from_weights(early: Early, data: PairData, given: dict[str, Any]) -> EnergyConfig:
    """The model is that of the weights; how it is trained is the preset's where there is one, else as it was."""
    assert early.init_from is not None
    folder = model_folder(early.init_from)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"--init-from {early.init_from}: no {CONFIG} there; give a model folder, such as RUN/best")
    weights = EnergyConfig.load(folder / CONFIG)
    wanted = data_settings(data)
    box = box_of(wanted.get("sites"), weights)
    there = weights if box is None else weights.in_box(box)
    for name in ("input_embedding_dim", "output_embedding_dim"):
        if wanted[name] != getattr(there, name):
            raise ValueError(
                f"{name} = {wanted[name]} in {data.name}, and {getattr(there, name)} in {early.init_from}; give data "
                "of the widths that the weights were trained on"
            )
    base = weights if early.preset is None else create_config(early.preset)
    model = {name: getattr(weights, name) for name in MODEL_FIELDS}
    training = {name: value for name, value in wanted.items() if name not in MODEL_FIELDS}
    return base.replace(**(training | {"freeze": ()} | model | given))


class _Parser(argparse.ArgumentParser):
    """Complains in one line, where argparse would print its usage and leave."""

    def error(self, message: str) -> NoReturn:
        """Raise what it complains of."""
        raise ValueError(message.removeprefix("argument "))
