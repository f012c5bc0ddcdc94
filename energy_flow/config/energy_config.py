"""Every choice of an Energy Flow model and its training, in one frozen object."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .base_config import BaseConfig
from .registry import FACES, MOVERS, PIECES, READERS

Optimizer = Literal["adam", "adamw"]
Precision = Literal["auto", "float32", "bfloat16"]
Nonfinite = Literal["stop", "skip"]
Switch = Literal["auto", "on", "off"]
Compile = Literal["auto", "on", "off", "graphs"]
BestBy = Literal["loss", "mse", "cosine", "centred_cosine", "median_rank", "acc_1", "acc_10", "acc_100"]


@dataclass(frozen=True)
class EnergyConfig(BaseConfig):
    """The configuration of lattice, flows, carrier, faces and training.

    The defaults are those of the preset `optimized`.

    Raises:
        ValueError: a value of the wrong type or out of range, or two that do not go together.
    """

    lattice_width: int = 100
    """Cells along x."""
    lattice_height: int = 100
    """Cells along y."""
    lattice_depth: int = 50
    """Cells along z; the input face is z = 0, the output face z = depth - 1."""
    sites: tuple[int, int] = (32, 24)
    """Columns and rows of equal patches of a face; one flow starts and one output is read per site."""

    input_embedding_dim: int = 768
    """Length of an input embedding."""
    output_embedding_dim: int = 768
    """Length of an output embedding."""
    energy_dim: int = 16
    """Energy channels: the length of a flow's energy vector."""
    mapping: str = "local"
    """The faces: local (each site gets its own chunk of the embedding), mixed (a random view of the whole), tied (its
    own chunk, through one pair of matrices that all sites share), or a face of your own."""
    learn_faces: bool = True
    """Whether the maps between embeddings and sites train."""

    max_active_flows: int = 1000
    """Most flows that live at once in one sample."""
    energy_threshold: float = 0.1
    """Least level (RMS of the energy) with which a flow goes on."""
    spawn_threshold: float = 0.8
    """Least level at which a flow may start children."""
    max_spawn_per_step: int = 10
    """Most children that start in one sample and step."""
    max_children: int = 2
    """Most children that one flow starts in one step."""
    initial_steps: int = 8
    """Steps that an untrained flow takes to the output face, at most the depth - 1."""
    max_jump: int | None = None
    """Most cells that a flow may move along z in one step; null is no limit."""
    features: tuple[str, ...] = ("coordinates", "energy", "neighbours", "sample")
    """What a neuron perceives, piece by piece: coordinates, energy, site (mean energy and mass of its site column),
    neighbours (those of the 3 x 3 columns around), sample (those of the whole sample), or pieces of your own."""
    mover: str = "free"
    """How a flow moves: free (sideways and ahead, as its carrier decides), straight (ahead only), or your own."""
    reader: str = "bilinear"
    """How the output face is read: bilinear (an arrival goes to the four nearest sites), nearest, or your own."""

    carrier_hidden_size: int = 1024
    """Hidden size of the carrier's GRU."""
    carrier_num_layers: int = 3
    """Layers of the carrier's GRU."""
    neuron_hidden_dim: int = 64
    """Hidden width of the neuron."""
    neuron_output_dim: int = 128
    """Output width of the neuron, the carrier's input beside the energy."""

    batch_size: int = 32
    """Pairs in one training step."""
    epochs: int = 10
    """Passes over the training set."""
    optimizer: Optimizer = "adamw"
    """Adam, or AdamW with decoupled weight decay."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    weight_decay: float = 0.0
    """Weight decay of matrices; biases, norms and offsets have none."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises to its peak."""
    final_learning_rate_ratio: float = 0.05
    """Learning rate at the end of the cosine decay, as a share of the peak."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    loss_mse: float = 0.0
    """Weight of the mean squared error."""
    loss_cosine: float = 1.0
    """Weight of 1 - cosine."""
    loss_contrastive: float = 0.0
    """Weight of the in-batch contrastive loss."""
    loss_cross_entropy: float = 0.0
    """Weight of the cross-entropy over groups of target_classes outputs."""
    contrastive_temperature: float = 0.05
    """Temperature of the contrastive loss."""
    target_classes: int | None = None
    """Outputs in one group of the cross-entropy."""
    precision: Precision = "auto"
    """Arithmetic of the dense parts (weights, energies and positions stay float32); auto: bfloat16 on CUDA."""
    compile: Compile = "auto"
    """Compile the dense part with torch.compile; auto: on CUDA where Triton is installed (on a CPU it gains little);
    graphs: replay CUDA graphs as well, for small models that wait for kernel launches."""
    checkpointing: Switch = "auto"
    """Keep a step's inputs alone and compute the rest again in the backward pass: slower, in a sixth of the memory;
    auto: where the memory there is asks for it."""
    adaptive_budget: bool = False
    """In training, let the most live flows of a sample follow the share that reaches the output and the memory there
    is, between the flows launched and max_active_flows."""
    log_every: int = 10
    """Steps between two looks at the figures; between them nothing waits for the device."""
    accumulation: int = 1
    """Micro-batches whose gradients make one step, where a whole batch does not fit into memory."""
    loader_workers: int = 0
    """Threads that read the next batches while a step runs: for a slow disk or a GPU; on a CPU they compete with it."""
    shard_optimizer: bool = False
    """Where several processes train: each keeps the optimizer's moments of its part of the weights alone."""
    nonfinite: Nonfinite = "stop"
    """What NaN or infinity in loss or gradient does: stop the run, or skip the batch. Nothing is updated either way."""
    nonfinite_budget: int = 10
    """Batches that may be skipped in a run before it stops."""
    detect_anomaly: bool = False
    """Let autograd name the operation whose gradient became NaN; slow."""
    deterministic: bool = False
    """Same seed, same bits, run after run on one machine; refused where that cannot be kept."""
    seed: int = 0
    """Seed of the weights and of the order of the data."""
    best_by: BestBy = "loss"
    """Figure of the validation set by which the best weights are kept; a rank counts only where targets are texts."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints; 0 goes by the clock alone."""
    checkpoint_minutes: float = 10.0
    """Minutes between two checkpoints; 0 goes by the steps alone."""
    keep_checkpoints: int = 3
    """How many checkpoints are kept, the newest."""
    time_limit_minutes: float | None = None
    """Minutes after which training saves and stops; null is no limit."""

    def __post_init__(self) -> None:
        if isinstance(self.features, str):  # one word, as in configurations of version 0.1
            object.__setattr__(self, "features", FEATURE_SETS.get(self.features, (self.features,)))
        super().__post_init__()

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
        if self.max_jump is not None:
            _require(self.max_jump >= 1, "max_jump", self.max_jump, "give at least 1, or null for no limit")

    def _validate_training(self) -> None:
        _require(
            self.final_learning_rate_ratio <= 1,
            "final_learning_rate_ratio",
            self.final_learning_rate_ratio,
            "give a share of at most 1",
        )
        for name in ("learning_rate", "gradient_clip", "contrastive_temperature"):
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
        """Input width of the GRU: the neuron's output and the energy."""
        return self.neuron_output_dim + self.energy_dim

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
)
"""Fields that no number of a model depends on: a run may go on with others."""

_AT_LEAST = {
    "keep_checkpoints": 2,
    "checkpoint_every checkpoint_minutes": 0,
    "lattice_depth": 2,
    "lattice_width lattice_height input_embedding_dim output_embedding_dim energy_dim initial_steps": 1,
    "carrier_hidden_size carrier_num_layers neuron_hidden_dim neuron_output_dim": 1,
    "max_active_flows batch_size epochs log_every accumulation": 1,
    "nonfinite_budget loader_workers": 0,
    "max_spawn_per_step max_children energy_threshold weight_decay warmup_steps final_learning_rate_ratio seed": 0,
    "loss_mse loss_cosine loss_contrastive loss_cross_entropy": 0,
}


def _require(holds: bool, name: str, value: object, fix: str) -> None:
    if not holds:
        raise ValueError(f"{name} = {value!r}; {fix}")
