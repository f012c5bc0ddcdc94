"""Every choice of an Energy Flow model and its training, in one frozen object."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Self

from .base_config import BaseConfig
from .box import Box
from .fields import CarrierFields, EnergyFields, ExecutionFields, LatticeFields, LossFields, RunFields, TrainingFields
from .registry import ENERGY_RULES, FACES, MOVERS, PIECES, READERS

GROUPS: dict[str, type] = {
    "lattice": LatticeFields,
    "energy": EnergyFields,
    "carrier": CarrierFields,
    "training": TrainingFields,
    "loss": LossFields,
    "execution": ExecutionFields,
    "run": RunFields,
}
"""The fields by what they are about, in the order of a configuration."""


@dataclass(frozen=True)
class EnergyConfig(
    RunFields, ExecutionFields, LossFields, TrainingFields, CarrierFields, EnergyFields, LatticeFields, BaseConfig
):
    """The configuration of lattice, flows, carrier, faces and training.

    The defaults are those of the preset `optimized`.

    Raises:
        ValueError: a value of the wrong type or out of range, or two that do not go together.
    """

    def __post_init__(self) -> None:
        if isinstance(self.features, str):  # one word, as in configurations of version 0.1
            object.__setattr__(self, "features", FEATURE_SETS.get(self.features, (self.features,)))
        super().__post_init__()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse of `to_dict`; fields that are left out keep their default."""
        of_version_0_1 = "data_seed" not in values and set(_WRITTEN_BY_VERSION_0_1) <= values.keys()
        return super().from_dict(values | {"data_seed": values["seed"]} if of_version_0_1 else values)

    def validate(self) -> None:
        """Check ranges and the rules between fields."""
        for names, least in _AT_LEAST.items():
            for name in names.split():
                _require(getattr(self, name) >= least, name, getattr(self, name), f"give at least {least}")
        self._validate_names()
        self._validate_sites()
        self._validate_flows()
        self._validate_training()

    def _validate_names(self) -> None:
        for registry, names in (
            (PIECES, self.features),
            (FACES, (self.mapping,)),
            (MOVERS, (self.mover,)),
            (READERS, (self.reader,)),
            (ENERGY_RULES, (self.energy_rule,)),
        ):
            for name in names:
                registry.require(name)
        twice = [name for name in self.features if self.features.count(name) > 1]
        _require(not twice, "features", list(self.features), "name every piece once")
        _require(bool(self.features), "features", list(self.features), "name one piece at least, such as energy")

    def _validate_sites(self) -> None:
        columns, rows = self.sites
        fits = 1 <= columns <= self.lattice_width and 1 <= rows <= self.lattice_height
        face = f"{self.lattice_width} x {self.lattice_height}"
        _require(fits, "sites", self.sites, f"give columns and rows from 1 up to the face's {face} cells")
        _require(
            self.num_sites <= self.max_active_flows,
            "sites",
            self.sites,
            f"one flow starts per site: raise max_active_flows = {self.max_active_flows} to {self.num_sites}, "
            "or take fewer sites",
        )
        widest = max(self.input_embedding_dim, self.output_embedding_dim)
        needed = math.ceil(widest / self.num_sites)
        _require(
            self.energy_dim >= needed,
            "energy_dim",
            self.energy_dim,
            f"{self.num_sites} sites must hold {widest} numbers: give at least {needed}, or more sites",
        )

    def _validate_flows(self) -> None:
        _require(
            self.energy_threshold < self.spawn_threshold,
            "energy_threshold",
            self.energy_threshold,
            f"it must lie below spawn_threshold = {self.spawn_threshold}",
        )
        _require(
            self.exchange_dim % self.exchange_heads == 0,
            "exchange_dim",
            self.exchange_dim,
            f"{self.exchange_heads} heads share it: give a multiple",
        )
        if self.max_jump is not None:
            _require(self.max_jump >= 1, "max_jump", self.max_jump, "give at least 1, or null for no limit")

    def _validate_training(self) -> None:
        _require(
            self.final_learning_rate_ratio <= 1,
            "final_learning_rate_ratio",
            self.final_learning_rate_ratio,
            "give a share of at most 1",
        )
        for name in ("learning_rate", "gradient_clip", "contrastive_temperature", "output_scale"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "give a number above 0")
        weights = self.loss_weights
        _require(
            bool(weights),
            "loss_cosine",
            self.loss_cosine,
            "every loss weight is 0: give at least one of loss_* a weight",
        )
        if "cross_entropy" in weights:
            classes = self.target_classes
            fits = classes is not None and classes >= 2 and self.output_embedding_dim % classes == 0
            _require(
                fits,
                "target_classes",
                classes,
                f"cross-entropy needs 2 or more that divide output_embedding_dim = {self.output_embedding_dim}",
            )
        _require(
            self.accumulation <= self.batch_size,
            "accumulation",
            self.accumulation,
            f"a micro-batch holds a row at least: give at most batch_size = {self.batch_size}",
        )
        for name in ("seed", "data_seed"):
            _require(getattr(self, name) < LARGEST_SEED, name, getattr(self, name), f"give less than {LARGEST_SEED}")
        _require(self.ema_decay < 1, "ema_decay", self.ema_decay, "give a share below 1, such as 0.999, or 0 for none")
        _require(all(self.freeze), "freeze", list(self.freeze), "name parts, such as mapper or carrier.gru")
        for name in ("warmup_steps", "patience"):
            value, least = getattr(self, name), 0 if name == "warmup_steps" else 1
            _require(value is None or value >= least, name, value, f"give at least {least}, or null")
        _require(
            self.compile != "graphs" or self.accumulation == 1,
            "accumulation",
            self.accumulation,
            "compile = 'graphs' replays one batch a step: give accumulation = 1, or compile = 'on'",
        )
        _require(self.prelude_share <= 1, "prelude_share", self.prelude_share, "give a share of the batches, 0 to 1")
        until = self.aim_entropy_until
        _require(until <= 1, "aim_entropy_until", until, "give a share of the run, 0 to 1")
        _require(0 < self.beta2 < 1, "beta2", self.beta2, "give a share between 0 and 1, such as 0.999")
        _require(self.loss_along <= 1, "loss_along", self.loss_along, "give a share of the path, 0 to 1")
        limit = self.time_limit_minutes
        _require(limit is None or limit > 0, "time_limit_minutes", limit, "give minutes above 0, or null for no limit")
        if "contrastive" in weights:
            _require(
                self.batch_size >= 2,
                "batch_size",
                self.batch_size,
                "the contrastive loss compares pairs of a batch: give at least 2",
            )

    @property
    def box(self) -> Box:
        """The size of the lattice in cells."""
        return Box(self.lattice_width, self.lattice_height, self.lattice_depth)

    def in_box(self, box: Box | str) -> Self:
        """The same model in a box of another size: sites as dense as here, paths as steep, budgets in proportion.

        Raises:
            ValueError: the cells of a side do not make whole sites, or another number of sites, and the faces are made
                for one number.
        """
        box = Box.parse(box) if isinstance(box, str) else Box(*box)
        if box == self.box:
            return self
        sites = []
        for side, cells, own, number in zip(("width", "height"), box, self.box, self.sites, strict=False):
            _require(
                cells * number % own == 0,
                f"box: {side}",
                cells,
                f"a site has {own}/{number} cells here: give a multiple that makes whole sites",
            )
            sites.append(cells * number // own)
        factor = sites[0] * sites[1]
        return self.replace(
            lattice_width=box.width,
            lattice_height=box.height,
            lattice_depth=box.depth,
            sites=(sites[0], sites[1]),
            initial_steps=max(1, math.ceil((box.depth - 1) / self.initial_jump)),
            input_embedding_dim=self._in_proportion(self.input_embedding_dim, factor),
            output_embedding_dim=self._in_proportion(self.output_embedding_dim, factor),
            max_active_flows=self._in_proportion(self.max_active_flows, factor),
            max_spawn_per_step=self._in_proportion(self.max_spawn_per_step, factor),
        )

    def box_of(self, sites: tuple[int, int]) -> Box:
        """The box for a face of so many sites: cells in proportion, and the depth by `depth_exponent`.

        Raises:
            ValueError: there are no whole cells for so many sites.
        """
        cells = []
        for side, own, wanted, here in zip(("columns", "rows"), self.box, sites, self.sites, strict=False):
            _require(own * wanted % here == 0, f"sites: {side}", wanted, f"{here} sites lie on {own} cells here")
            cells.append(own * wanted // here)
        longer = max(sites) / max(self.sites)
        return Box(cells[0], cells[1], 1 + max(1, round((self.lattice_depth - 1) * longer**self.depth_exponent)))

    def deepened(self, steps: int) -> Box:
        """The box in which an untrained path takes so many steps more."""
        return self.box._replace(depth=self.lattice_depth + steps * self.initial_jump)

    def _in_proportion(self, number: int, sites: int) -> int:
        return -(-number * sites // self.num_sites)

    @property
    def num_sites(self) -> int:
        """S, sites of a face."""
        return self.sites[0] * self.sites[1]

    @property
    def num_cells(self) -> int:
        """Cells of the lattice."""
        return self.lattice_width * self.lattice_height * self.lattice_depth

    @property
    def can_split(self) -> bool:
        """Whether a flow may ever ask for a child."""
        return self.max_children > 0

    @property
    def carrier_input_dim(self) -> int:
        """Input width of the GRU: the neuron's output, and the energy where it is read."""
        return self.neuron_output_dim + (self.energy_dim if self.carrier_reads_energy else 0)

    @property
    def initial_jump(self) -> int:
        """Cells along z that an untrained flow moves in one step."""
        return max(1, math.ceil((self.lattice_depth - 1) / self.initial_steps))

    @property
    def untrained_path(self) -> int:
        """Steps that an untrained flow takes to the output face."""
        return math.ceil((self.lattice_depth - 1) / self.initial_jump)

    @property
    def max_steps(self) -> int:
        """Bound of the loop: z grows in each step of a flow, and a newborn moves before it splits."""
        return 2 * (self.lattice_depth - 1)

    @property
    def loss_weights(self) -> dict[str, float]:
        """The losses that count and their weights."""
        names = ("mse", "cosine", "contrastive", "cross_entropy")
        return {name: getattr(self, f"loss_{name}") for name in names if getattr(self, f"loss_{name}") > 0}


LARGEST_SEED = 2**32
FEATURE_SETS = {
    "none": ("coordinates", "energy"),
    "sample": ("coordinates", "energy", "sample"),
    "site": ("coordinates", "energy", "site", "sample"),
    "neighbours": ("coordinates", "energy", "neighbours", "sample"),
}
"""The lists of pieces that a single word stands for in `features`."""

RUN_ONLY = (
    "checkpointing",
    "log_every",
    "checkpoint_every",
    "checkpoint_minutes",
    "keep_checkpoints",
    "time_limit_minutes",
    "loader_workers",
    "shard_optimizer",
    "nonfinite",
    "nonfinite_budget",
    "detect_anomaly",
    "patience",
    "validate_every",
)
"""Fields that no number of a model depends on: a run may go on with others."""

MODEL_FIELDS = tuple(field.name for group in (LatticeFields, EnergyFields, CarrierFields) for field in fields(group))
"""Fields that say what a model is; the others say how it is trained and run."""

_WRITTEN_BY_VERSION_0_1 = ("lattice_width", "seed", "keep_checkpoints", "time_limit_minutes")  # with one seed for both

_AT_LEAST = {
    "keep_checkpoints": 2,
    "checkpoint_every checkpoint_minutes": 0,
    "lattice_depth": 2,
    "lattice_width lattice_height input_embedding_dim output_embedding_dim energy_dim initial_steps": 1,
    "carrier_hidden_size carrier_num_layers neuron_hidden_dim neuron_output_dim": 1,
    "max_active_flows batch_size epochs log_every accumulation": 1,
    "nonfinite_budget loader_workers": 0,
    "max_spawn_per_step max_children energy_threshold weight_decay final_learning_rate_ratio seed data_seed": 0,
    "ema_decay validate_every prelude_steps prelude_share energy_noise aim_entropy aim_entropy_until": 0,
    "place_harmonics exchange_dim exchange_heads": 1,
    "coast": 0,
    "loss_mse loss_cosine loss_contrastive loss_cross_entropy loss_along depth_exponent": 0,
}


def _require(holds: bool, name: str, value: object, fix: str) -> None:
    if not holds:
        raise ValueError(f"{name} = {value!r}; {fix}")
