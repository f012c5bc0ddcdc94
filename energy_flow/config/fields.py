"""The fields of a configuration, in the groups in which the help of the command line shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Optimizer = Literal["adam", "adamw"]
Precision = Literal["auto", "float32", "bfloat16"]
Nonfinite = Literal["stop", "skip"]
Switch = Literal["auto", "on", "off"]
Compile = Literal["auto", "on", "off", "graphs"]


@dataclass(frozen=True)
class LatticeFields:
    """The box, and how flows move in it."""

    lattice_width: int = 100
    """Cells along x."""
    lattice_height: int = 100
    """Cells along y."""
    lattice_depth: int = 50
    """Cells along z; the input face is z = 0, the output face z = depth - 1."""
    sites: tuple[int, int] = (32, 24)
    """Columns and rows of equal patches of a face; one flow starts and one output is read per site."""
    initial_steps: int = 8
    """Steps that an untrained flow takes to the output face, at most the depth - 1."""
    max_jump: int | None = None
    """Most cells that a flow may move along z in one step; null is no limit."""
    mover: str = "free"
    """How a flow moves: free (sideways and ahead, as its carrier decides), bounded (as free, but never farther sideways
    than to the next site), straight (ahead only), pointer (ahead, and with the last step to any place of the face), or
    your own."""
    depth_exponent: float = 0.0
    """How the depth follows a face of another size, where a set has several: depth - 1 grows with the power of the
    longer side; 0 keeps the depth."""
    reader: str = "bilinear"
    """How the output face is read: bilinear (an arrival goes to the four nearest sites), aimed (in training to all
    sites, as its pointer says, otherwise as bilinear), nearest, or your own."""


@dataclass(frozen=True)
class EnergyFields:
    """What enters, flows, splits and is read."""

    input_embedding_dim: int = 768
    """Length of an input embedding."""
    output_embedding_dim: int = 768
    """Length of an output embedding."""
    energy_dim: int = 16
    """Energy channels: the length of a flow's energy vector."""
    mapping: str = "local"
    """The faces: local (each site gets its own chunk of the embedding), mixed (a random view of the whole), tied (its
    own chunk, through one pair of matrices that all sites share), or a face of your own."""
    center_inputs: bool = False
    """Take the inputs' measured mean off what enters, and add a learned offset to the energies of the sites."""
    energy_rule: str = "gated"
    """How a step changes the energy: gated (a gate's share of it, and what the carrier adds), column (it relaxes to
    what entered where the flow stands, changed by the carrier), origin (to what it was launched with), kept (it never
    changes), or your own."""
    gate_start: float | None = None
    """What is added to the gate of an untrained carrier; null is the rule's own: 5 gated, 0 the others."""
    coast: float = 0.0
    """Where a model does not train, flows go straight ahead without neuron and carrier while no number of the 3 x 3
    columns around them (of any column, where neurons see farther) changes by more than this in a step; 0 works every
    flow in every step."""
    learn_faces: bool = True
    """Whether the maps between embeddings and sites train."""
    output_scale: float = 1.0
    """Size of an untrained output beside the targets'. Logits of classes must become larger than the one-hot targets:
    6 lets them."""
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


@dataclass(frozen=True)
class CarrierFields:
    """Who carries a flow, and what it perceives."""

    features: tuple[str, ...] = ("coordinates", "energy", "neighbours", "sample")
    """What a neuron perceives, piece by piece: coordinates (in the box), relative (offset in the site, distance to the
    borders), energy, recall (what entered at the column where the flow stands), site (mean energy and mass of its site
    column), cross (those of the own column and of the four that share an edge), neighbours (those of the 3 x 3 columns
    around), sample (those of the whole sample), harmonics (the place as products of cosines), attention (what the
    column asks of all columns), associative (the same by linear attention), or your own."""
    place_harmonics: int = 3
    """Cosine waves along each axis of the face, where places are told by them: sites along a side, less 1."""
    exchange_dim: int = 8
    """Width of queries, keys and values of attention and associative, all heads together."""
    exchange_heads: int = 1
    """Heads of attention and associative: each asks its own question."""
    carrier_hidden_size: int = 1024
    """Hidden size of the carrier's GRU."""
    carrier_num_layers: int = 3
    """Layers of the carrier's GRU."""
    neuron_hidden_dim: int = 64
    """Hidden width of the neuron."""
    neuron_gate: bool = False
    """Multiply the neuron's hidden signals by a second linear layer of what it perceives."""
    carrier_reads_energy: bool = True
    """Whether the GRU reads the flow's energy beside the neuron's output."""
    neuron_output_dim: int = 128
    """Output width of the neuron, the carrier's input beside the energy."""


@dataclass(frozen=True)
class TrainingFields:
    """How the weights are learned."""

    batch_size: int = 32
    """Pairs in one training step."""
    epochs: int = 10
    """Passes over the training set."""
    optimizer: Optimizer = "adamw"
    """Adam, or AdamW with decoupled weight decay."""
    learning_rate: float = 1e-4
    """Peak learning rate."""
    beta2: float = 0.999
    """Decay of the optimizer's second moments; 0.95 lets them follow gradients that change their size quickly."""
    weight_decay: float = 0.0
    """Weight decay of matrices; biases, norms and offsets have none."""
    warmup_steps: int | None = None
    """Steps over which the learning rate rises to its peak; null is 100, or a tenth of the run where that is less."""
    final_learning_rate_ratio: float = 0.05
    """Learning rate at the end of the cosine decay, as a share of the peak."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of the weights, such as 0.999, which is then what is evaluated and saved;
    0 is off."""
    freeze: tuple[str, ...] = ()
    """Parts that do not train: mapper, neuron, carrier, or the beginning of a parameter's name, such as carrier.gru."""
    aim_entropy: float = 0.0
    """Weight of the entropy of the pointers' aims, which is added to what is sought at the beginning of training: a
    pointer that decides early stays wrong. It falls to 0 by aim_entropy_until."""
    aim_entropy_until: float = 0.6
    """Share of the run by which the weight of the entropy has fallen to 0."""
    prelude_steps: int = 0
    """Most steps that a batch takes before those that learn: without gradient, in a box that is deeper by as much. So
    flows learn to work from the states of a long run, or, where a task has one, from a state of waiting."""
    prelude_share: float = 0.5
    """Share of the batches that have a prelude, each of a random length."""
    energy_noise: float = 0.0
    """Standard deviation of the noise that every step of training adds to the energies."""
    adaptive_budget: bool = False
    """In training, let the most live flows of a sample follow the share that reaches the output and the memory there
    is, between the flows launched and max_active_flows."""
    seed: int = 0
    """Seed of the weights and of the order of the rows."""


@dataclass(frozen=True)
class LossFields:
    """What is minimised."""

    loss_mse: float = 0.0
    """Weight of the mean squared error."""
    loss_cosine: float = 1.0
    """Weight of 1 - cosine."""
    loss_contrastive: float = 0.0
    """Weight of the in-batch contrastive loss."""
    loss_cross_entropy: float = 0.0
    """Weight of the cross-entropy over groups of target_classes outputs."""
    loss_along: float = 0.0
    """Share of an untrained path, from its end, in which every step is read out and has the loss, the mean of which
    counts; 0 is the output alone, 1 every step. It keeps flows of different paths honest on the way."""
    contrastive_temperature: float = 0.05
    """Temperature of the contrastive loss."""
    target_classes: int | None = None
    """Outputs in one group of the cross-entropy."""


@dataclass(frozen=True)
class ExecutionFields:
    """How it is computed on the machine."""

    precision: Precision = "auto"
    """Arithmetic of the dense parts (weights, energies and positions stay float32); auto: bfloat16 on CUDA."""
    compile: Compile = "auto"
    """Compile the dense part with torch.compile; auto: on CUDA where Triton is installed (on a CPU it gains little);
    graphs: replay CUDA graphs as well, for small models that wait for kernel launches."""
    checkpointing: Switch = "auto"
    """Keep a step's inputs alone and compute the rest again in the backward pass: slower, in a sixth of the memory;
    auto: where the memory there is asks for it."""
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


@dataclass(frozen=True)
class RunFields:
    """What a run looks at, keeps and ends by."""

    data_seed: int = 0
    """Seed of the rows that a task draws, and of a file's random split; another `seed` leaves them as they are."""
    best_by: str = "loss"
    """Figure of the validation set by which the best weights are kept: loss, train_loss, mse, cosine, centred_cosine,
    where targets are texts median_rank, rank_std or acc_10, a task's own, or one that you give."""
    patience: int | None = None
    """Looks at the validation set without a better figure after which training ends; null trains all epochs."""
    validate_every: int = 0
    """Steps between two looks at the validation set, in addition to the one after every epoch; 0: only that one."""
    log_every: int = 10
    """Steps between two looks at the figures; between them nothing waits for the device."""
    checkpoint_every: int = 1000
    """Steps between two checkpoints; 0 goes by the clock alone."""
    checkpoint_minutes: float = 10.0
    """Minutes between two checkpoints; 0 goes by the steps alone."""
    keep_checkpoints: int = 3
    """How many checkpoints are kept, the newest."""
    time_limit_minutes: float | None = None
    """Minutes after which training saves and stops; null is no limit."""
