"""The slow twin: the physics of the design, one flow at a time in plain Python, float64.

It shares no code with the engine: it reads the configuration's plain numbers and a state dict, and nothing else of
the package. Gradients come from autograd over scalars and small vectors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor


@dataclass(eq=False)
class Flow:
    energy: Tensor  # (C,)
    mass: float
    position: list[Tensor]  # x, y, z
    hidden: list[Tensor]  # L of (N,)
    flow_id: int
    origin: int  # the site of its launch, or of its first ancestor's
    parent_id: int = -1
    age: int = 0
    aim: Tensor | None = None  # (S,) with a pointer, once it has arrived


class Update(NamedTuple):
    """What a step makes of one flow before it splits."""

    energy: Tensor  # (C,)
    stride: list[Tensor]  # cells along x, y, z
    hidden: list[Tensor]  # L of (N,)
    shares: list[Tensor]  # of the children that it may start
    aim: Tensor | None  # (S,) with a pointer
    gate: Tensor | None = None  # (C,) share of the energy that is kept; None where the flow coasts


@dataclass
class SampleResult:
    output: Tensor
    records: list[dict[str, Any]] = field(default_factory=list)
    live: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    coasted: list[int] = field(default_factory=list)
    arrived: list[Flow] = field(default_factory=list)
    faded: list[Flow] = field(default_factory=list)
    site_mass: list[float] = field(default_factory=list)
    along: list[Tensor] = field(default_factory=list)  # what would be read after each step


class Reference:
    """The model, from a configuration and a state dict in float64."""

    def __init__(self, config: Any, weights: dict[str, Tensor], training: bool = True) -> None:
        self.config, self.training = config, training
        self.weights = weights
        self.columns, self.rows = config.sites
        self.nodes_x = self.nodes(config.lattice_width, self.columns)
        self.nodes_y = self.nodes(config.lattice_height, self.rows)
        self.jump = max(1, math.ceil(Fraction(config.lattice_depth - 1, config.initial_steps)))  # cells, untrained

    @staticmethod
    def nodes(cells: int, patches: int) -> list[int]:
        """The cell nearest to the middle of each patch, halves upwards, in exact fractions."""
        middles = [(Fraction(2 * patch + 1, 2) * cells) / patches - Fraction(1, 2) for patch in range(patches)]
        return [math.floor(middle + Fraction(1, 2)) for middle in middles]

    def run(self, embedding: Tensor) -> SampleResult:
        """One embedding (E,) through the lattice."""
        config = self.config
        sites = self.columns * self.rows
        flows = self.launch(embedding)
        next_id = sites
        result = SampleResult(output=embedding)
        self.record(result, 0, flows, "launched")
        step = 0
        while flows:
            step += 1
            assert step <= 2 * (config.lattice_depth - 1)
            survivors, children = self.step(flows, next_id, step, result)
            next_id += len(children)
            flows = survivors + children
            result.along.append(self.read_output(result, flows or None))
        result.output = self.read_output(result)
        return result

    def launch(self, embedding: Tensor) -> list[Flow]:
        config, weights = self.config, self.weights
        total = self.columns * self.rows * config.energy_dim
        gain = math.sqrt(total / config.input_embedding_dim)
        tied = config.mapping == "tied"
        width = config.input_embedding_dim // (self.columns * self.rows) if tied else config.input_embedding_dim
        parts = []
        for start in range(0, len(embedding), width):
            piece = embedding[start : start + width]
            if config.center_inputs:
                piece = (piece - weights["mapper.input_mean"]) / weights["mapper.input_rms"]
                parts.append((weights["mapper.input_weight"] @ piece + weights["mapper.input_offset"]) * gain)
            else:
                parts.append(weights["mapper.input_weight"] @ (piece / weights["mapper.input_rms"]) * gain)
        energies = torch.cat(parts)
        flows = []
        self.before: dict[int, Tensor] | None = None  # what the columns held one step ago
        self.entered = energies.reshape(self.rows * self.columns, config.energy_dim)
        for row in range(self.rows):
            for column in range(self.columns):
                site = row * self.columns + column
                energy = energies[site * config.energy_dim : (site + 1) * config.energy_dim]
                position = [
                    torch.tensor(float(c), dtype=torch.float64) for c in (self.nodes_x[column], self.nodes_y[row], 0)
                ]
                hidden = [
                    torch.zeros(config.carrier_hidden_size, dtype=torch.float64)
                    for _ in range(config.carrier_num_layers)
                ]
                flows.append(Flow(energy, 1.0, position, hidden, flow_id=site, origin=site))
        return flows

    def step(self, flows: list[Flow], next_id: int, step: int, result: SampleResult) -> tuple[list[Flow], list[Flow]]:
        """All flows by one step: those that go on, and their children, numbered from `next_id`."""
        updates = self.updates(flows, result)
        accepted, refused = self.accept(flows, updates, next_id, result)
        survivors, children = [], []
        for flow, update in zip(flows, updates, strict=True):
            kept, born = self.split(flow, update, accepted)
            children += born
            moved = replace(
                flow,
                energy=kept * update.energy,
                mass=flow.mass * float(kept.detach()),
                position=self.move(flow.position, update.stride),
                hidden=update.hidden,
                age=flow.age + 1,
                aim=update.aim,
            )
            event = self.outcome(flow, moved)
            {"faded": result.faded, "arrived": result.arrived, "moving": survivors}[event].append(moved)
            self.record(result, step, [moved], event)
            result.records[-1] |= self.decisions(flow, update, accepted, refused)
        self.record(result, step, children, "born")
        return survivors, children

    def updates(self, flows: list[Flow], result: SampleResult) -> list[Update]:
        """Perceive and update every flow, or let it coast."""
        field_of_site, whole = self.perceive(flows)
        coasting = self.coasting(flows, field_of_site)
        result.live.append(len(flows))
        result.coasted.append(sum(coasting))
        return [
            self.coast(flow) if coasts else self.update(flow, field_of_site, whole)
            for flow, coasts in zip(flows, coasting, strict=True)
        ]

    def accept(
        self, flows: list[Flow], updates: list[Update], next_id: int, result: SampleResult
    ) -> tuple[dict[tuple[int, int], int], set[tuple[int, int]]]:
        """The children that start, by parent and place among its children, and their numbers: the strongest first;
        and those that are refused.
        """
        config, candidates = self.config, []
        for flow, update in zip(flows, updates, strict=True):
            if level(update.energy) >= config.spawn_threshold and not (flow.age == 0 and flow.parent_id >= 0):
                for child, share in enumerate(update.shares):
                    if level(share * update.energy) >= config.energy_threshold:
                        candidates.append((-level(share * update.energy), flow.flow_id, child))
        candidates.sort()
        room = max(0, min(config.max_spawn_per_step, config.max_active_flows - len(flows)))
        result.refused.append(len(candidates) - len(candidates[:room]))
        ordered = [(flow_id, child) for _, flow_id, child in candidates]
        return {one: next_id + rank for rank, one in enumerate(ordered[:room])}, {*ordered[room:]}

    def decisions(
        self, flow: Flow, update: Update, accepted: dict[tuple[int, int], int], refused: set[tuple[int, int]]
    ) -> dict[str, list[float]]:
        """What a trace can keep of a step beside the flow that comes of it."""
        shares = [float(share.detach()) for share in update.shares] or [0.0] * self.config.max_children
        kept = [math.nan] * self.config.energy_dim if update.gate is None else update.gate.detach().tolist()
        of = {"shares": accepted, "refused": refused}
        taken = {
            name: [share * ((flow.flow_id, child) in those) for child, share in enumerate(shares)]
            for name, those in of.items()
        }
        return {"gate": kept} | taken

    def split(self, flow: Flow, update: Update, accepted: dict[tuple[int, int], int]) -> tuple[Tensor, list[Flow]]:
        """The share that a flow keeps, and its children, in the cell that it leaves."""
        kept, children = torch.ones((), dtype=torch.float64), []
        for child, share in enumerate(update.shares):
            if (flow.flow_id, child) not in accepted:
                continue
            kept = kept - share
            offset = self.weights["carrier.child_offset"][:, child]
            children.append(
                Flow(
                    energy=share * update.energy,
                    mass=flow.mass * float(share.detach()),
                    position=flow.position,
                    hidden=[state + offset[layer] for layer, state in enumerate(update.hidden)],
                    flow_id=accepted[flow.flow_id, child],
                    origin=flow.origin,
                    parent_id=flow.flow_id,
                )
            )
        return kept, children

    def outcome(self, before: Flow, moved: Flow) -> str:
        if level(moved.energy) < self.config.energy_threshold:
            return "faded"
        if float(moved.position[2].detach()) == self.config.lattice_depth - 1:
            return "arrived"
        return "moving"

    def coasting(self, flows: list[Flow], field_of_site: dict[int, Tensor]) -> list[bool]:
        """Whether each flow coasts: where the model does not train, and nothing around it has changed enough."""
        before, self.before = self.before, field_of_site
        if self.training or not self.config.coast or before is None:
            return [False for _ in flows]
        changed = {
            site: float((held - before[site]).detach().abs().max()) > self.config.coast
            for site, held in field_of_site.items()
        }
        return [
            not self.reaches_the_end(flow) and not any(changed[site] for site in self.seen_from(flow)) for flow in flows
        ]

    def seen_from(self, flow: Flow) -> list[int]:
        """The columns whose changes keep a flow awake: those around, or all where neurons see far."""
        if {"sample", "attention", "associative"} & {*self.config.features}:
            return list(range(self.columns * self.rows))
        column, row = self.patch(flow)
        return [
            y * self.columns + x
            for y in range(max(0, row - 1), min(self.rows, row + 2))
            for x in range(max(0, column - 1), min(self.columns, column + 2))
        ]

    def reaches_the_end(self, flow: Flow) -> bool:
        """Whether an untrained stride ends on the output face."""
        return float(flow.position[2].detach()) + self.jump >= self.config.lattice_depth - 1

    def coast(self, flow: Flow) -> Update:
        """Ahead by an untrained stride, with nothing changed and no child."""
        zero = torch.zeros((), dtype=torch.float64)
        return Update(flow.energy, [zero, zero, zero + self.jump], flow.hidden, [], None)

    def update(self, flow: Flow, field_of_site: dict[int, Tensor], whole: Tensor) -> Update:
        """Perceive, GRU, heads."""
        config, weights = self.config, self.weights
        features = self.features(flow, field_of_site, whole)
        signal = gelu(linear(features, weights, "neuron.perceive"))
        if config.neuron_gate:
            signal = signal * linear(features, weights, "neuron.gate")
        signal = linear(signal, weights, "neuron.project")
        inputs, hidden = torch.cat((signal, flow.energy)) if config.carrier_reads_energy else signal, []
        for layer in range(config.carrier_num_layers):
            inputs = self.gru_layer(layer, inputs, flow.hidden[layer])
            hidden.append(inputs)
        top = hidden[-1]
        normed = (top - top.mean()) / torch.sqrt(((top - top.mean()) ** 2).mean() + 1e-5)
        heads = linear(normed * weights["carrier.norm.weight"] + weights["carrier.norm.bias"], weights, "carrier.heads")
        channels, movement = config.energy_dim, self.movement_width()
        gate, delta = heads[:channels], heads[channels : 2 * channels]
        stride, aim = self.stride(flow, heads[2 * channels : 2 * channels + movement])
        split = heads[2 * channels + movement :]
        shares = [1 / (1 + torch.exp(-one)) / (config.max_children + 1) for one in split]
        return Update(self.energy_after(flow, gate, delta), stride, hidden, shares, aim, self.kept(gate))

    def movement_width(self) -> int:
        return {"straight": 1, "pointer": 2 + 2 * self.config.place_harmonics}.get(self.config.mover, 3)

    def stride(self, flow: Flow, head: Tensor) -> tuple[list[Tensor], Tensor | None]:
        """Cells along x, y, z, and the aim of a pointer."""
        config = self.config
        if config.mover == "pointer":
            return self.point(flow, head)
        move = [0.1 * number for number in head]
        if config.mover == "straight":
            move = [torch.zeros((), dtype=torch.float64)] * 2 + move
        if config.mover == "bounded":
            move = [torch.tanh(move[0]), torch.tanh(move[1]), move[2]]
        bias = math.log(math.exp(max(self.jump - 1, 0.05)) - 1)
        forward = 1 + torch.log1p(torch.exp(move[2] + bias))
        if config.max_jump is not None and float(forward.detach()) > config.max_jump:
            forward = torch.tensor(float(config.max_jump), dtype=torch.float64)
        sideways = [move[0] * config.lattice_width / self.columns, move[1] * config.lattice_height / self.rows]
        return [*sideways, forward], None

    def point(self, flow: Flow, query: Tensor) -> tuple[list[Tensor], Tensor]:
        """The stride to the mean of the nodes by the pointer's weights, and these weights."""
        nodes = [(x, y) for y in self.nodes_y for x in self.nodes_x]
        scale = torch.exp(self.weights["carrier.mover.log_scale"]) / math.sqrt(len(query))
        scores = torch.stack([scale * (query @ self.waves(x, y)) for x, y in nodes])
        weights = torch.exp(scores - scores.max().detach())
        weights = weights / weights.sum()
        one = torch.ones((), dtype=torch.float64) * self.jump
        if not self.reaches_the_end(flow):
            return [0 * one, 0 * one, one], weights
        goal = [sum(weight * node[axis] for weight, node in zip(weights, nodes, strict=True)) for axis in (0, 1)]
        return [goal[0] - flow.position[0], goal[1] - flow.position[1], one], weights

    def waves(self, x: int, y: int) -> Tensor:
        """Coordinates in [-1, 1], and the cosines along x and along y."""
        config = self.config
        sides = ((x, config.lattice_width), (y, config.lattice_height))
        scaled = [2 * where / (cells - 1) - 1 if cells > 1 else 2 * where - 1 for where, cells in sides]
        across, down = self.cosines(x, y)
        return torch.cat((torch.tensor(scaled, dtype=torch.float64), torch.stack(across[1:] + down[1:])))

    def harmonics(self, x: Tensor, y: Tensor) -> Tensor:
        """Products of cosines, that along y the faster to change, without the constant one."""
        across, down = self.cosines(x, y)
        return torch.stack([one * two for one in across for two in down][1:])

    def cosines(self, x: float | Tensor, y: float | Tensor) -> list[list[Tensor]]:
        config, count = self.config, self.config.place_harmonics + 1
        axes = []
        for where, cells in ((x, config.lattice_width), (y, config.lattice_height)):
            turn = (torch.as_tensor(where, dtype=torch.float64) + 0.5) / cells * math.pi
            axes.append([torch.cos(turn * k) * (math.sqrt(2) if k else 1.0) for k in range(count)])
        return axes

    def exchanged(self, name: str, flow: Flow, field_of_site: dict[int, Tensor]) -> Tensor:
        """What the column of the flow asks of all columns."""
        prefix = f"neuron.pieces.{self.config.features.index(name)}"
        nodes = [(x, y) for y in self.nodes_y for x in self.nodes_x]
        held = [field_of_site[site] for site in range(len(nodes))]
        known = [torch.cat((self.waves(x, y), one[:-1])) for (x, y), one in zip(nodes, held, strict=True)]
        column, row = self.patch(flow)
        query = linear(known[row * self.columns + column], self.weights, f"{prefix}.query")
        keys = [linear(one, self.weights, f"{prefix}.key") for one in known]
        values = [linear(one[:-1], self.weights, f"{prefix}.value") for one in held]
        size, found = len(query) // self.config.exchange_heads, []
        for start in range(0, len(query), size):
            part = slice(start, start + size)
            if name == "attention":
                scores = [query[part] @ key[part] / math.sqrt(size) for key in keys]
                most = max(float(score.detach()) for score in scores)
                raw = [torch.exp(score - most) for score in scores]
            else:
                raw = [positive(query[part]) @ positive(key[part]) for key in keys]
            weights = [weight * one[-1] for weight, one in zip(raw, held, strict=True)]
            found.append(sum(w / sum(weights) * value[part] for w, value in zip(weights, values, strict=True)))
        return torch.cat(found)

    def energy_after(self, flow: Flow, gate: Tensor, delta: Tensor) -> Tensor:
        rule, kept = self.config.energy_rule, self.kept(gate)
        if rule == "kept":
            return flow.energy
        if rule == "gated":
            return kept * flow.energy + delta
        column, row = self.patch(flow)
        here = self.entered[row * self.columns + column] if rule == "column" else self.entered[flow.origin] * flow.mass
        return kept * flow.energy + (1 - kept) * (here + delta)

    def kept(self, gate: Tensor) -> Tensor:
        rule, start = self.config.energy_rule, self.config.gate_start
        start = (5.0 if rule == "gated" else 0.0) if start is None else start
        return torch.ones_like(gate) if rule == "kept" else 1 / (1 + torch.exp(-(gate + start)))

    def relative(self, flow: Flow) -> Tensor:
        """Offset from the node in halves of a spacing; sites to the left, lower, right and upper border, at most 2."""
        config, (column, row) = self.config, self.patch(flow)
        sides = (
            (flow.position[0], config.lattice_width, self.columns, self.nodes_x[column]),
            (flow.position[1], config.lattice_height, self.rows, self.nodes_y[row]),
        )
        offsets = [2 * (where - node) / (cells / number) for where, cells, number, node in sides]
        before = [where / (cells / number) for where, cells, number, _ in sides]
        after = [(cells - 1 - where) / (cells / number) for where, cells, number, _ in sides]
        two = torch.tensor(2.0, dtype=torch.float64)
        return torch.stack([*offsets, *(one if float(one.detach()) <= 2 else two for one in before + after)])

    def gru_layer(self, layer: int, inputs: Tensor, hidden: Tensor) -> Tensor:
        weights, size = self.weights, self.config.carrier_hidden_size
        from_input = weights[f"carrier.gru.weight_ih_l{layer}"] @ inputs + weights[f"carrier.gru.bias_ih_l{layer}"]
        from_state = weights[f"carrier.gru.weight_hh_l{layer}"] @ hidden + weights[f"carrier.gru.bias_hh_l{layer}"]
        reset = 1 / (1 + torch.exp(-(from_input[:size] + from_state[:size])))
        update = 1 / (1 + torch.exp(-(from_input[size : 2 * size] + from_state[size : 2 * size])))
        new = torch.tanh(from_input[2 * size :] + reset * from_state[2 * size :])
        return (1 - update) * new + update * hidden

    def features(self, flow: Flow, field_of_site: dict[int, Tensor], whole: Tensor) -> Tensor:
        config = self.config
        extents = (config.lattice_width, config.lattice_height, config.lattice_depth)
        column, row = self.patch(flow)
        around = [(x, y) for y in (row - 1, row, row + 1) for x in (column - 1, column, column + 1)]
        pieces = {
            "coordinates": [
                torch.stack(
                    [
                        2 * c / (extent - 1) - 1 if extent > 1 else 2 * c - 1
                        for c, extent in zip(flow.position, extents, strict=True)
                    ]
                )
            ],
            "energy": [flow.energy],
            "relative": [self.relative(flow)],
            "recall": [self.entered[row * self.columns + column]],
            "site": [field_of_site[row * self.columns + column]],
            "neighbours": [
                field_of_site[y * self.columns + x]
                if 0 <= x < self.columns and 0 <= y < self.rows
                else torch.zeros_like(whole)
                for x, y in around
            ],
            "cross": [
                field_of_site[y * self.columns + x]
                if 0 <= x < self.columns and 0 <= y < self.rows
                else torch.zeros_like(whole)
                for x, y in around
                if column == x or row == y
            ],
            "sample": [whole],
        }
        if "harmonics" in config.features:
            pieces["harmonics"] = [self.harmonics(flow.position[0], flow.position[1])]
        for name in ("attention", "associative"):
            if name in config.features:
                pieces[name] = [self.exchanged(name, flow, field_of_site)]
        return torch.cat([part for name in config.features for part in pieces[name]])

    def perceive(self, flows: list[Flow]) -> tuple[dict[int, Tensor], Tensor]:
        """Mean energy by mass and mass, per site and for the sample (its mass per site)."""
        config, sites = self.config, self.columns * self.rows
        held: dict[int, list[Flow]] = {site: [] for site in range(sites)}
        for flow in flows:
            column, row = self.patch(flow)
            held[row * self.columns + column].append(flow)

        def mean(members: list[Flow], mass_unit: int) -> Tensor:
            mass = sum(flow.mass for flow in members)
            energy = torch.zeros(config.energy_dim, dtype=torch.float64)
            for flow in members:
                energy = energy + flow.energy
            return torch.cat((energy / max(1.0, mass), torch.tensor([mass / mass_unit], dtype=torch.float64)))

        return {site: mean(members, 1) for site, members in held.items()}, mean(flows, sites)

    def patch(self, flow: Flow) -> tuple[int, int]:
        """Column and row of the patch that holds the middle of the flow's cell."""
        found = []
        for coordinate, cells, patches in (
            (flow.position[0], self.config.lattice_width, self.columns),
            (flow.position[1], self.config.lattice_height, self.rows),
        ):
            middle = Fraction(math.floor(float(coordinate.detach()) + 0.5)) + Fraction(1, 2)
            found.append(next(p for p in range(patches) if middle < Fraction(cells * (p + 1), patches)))
        return found[0], found[1]

    def move(self, position: list[Tensor], stride: list[Tensor]) -> list[Tensor]:
        config = self.config
        target = []
        for coordinate, change, cells in zip(
            position, stride, (config.lattice_width, config.lattice_height, config.lattice_depth), strict=True
        ):
            goal = coordinate + change
            if float(goal.detach()) < 0 or float(goal.detach()) > cells - 1:
                goal = torch.tensor(min(max(float(goal.detach()), 0.0), cells - 1.0), dtype=torch.float64)
            target.append(goal)
        if math.floor(float(target[2].detach()) + 0.5) == config.lattice_depth - 1:
            return [target[0], target[1], torch.tensor(config.lattice_depth - 1.0, dtype=torch.float64)]
        return [goal + (math.floor(float(goal.detach()) + 0.5) - goal.detach()) for goal in target]

    def read_output(self, result: SampleResult, on_their_way: list[Flow] | None = None) -> Tensor:
        config = self.config
        energies, masses = [], []
        for row in range(self.rows):
            for column in range(self.columns):
                energy = torch.zeros(config.energy_dim, dtype=torch.float64)
                mass = torch.zeros((), dtype=torch.float64)
                for flow in result.arrived + (on_their_way or []):
                    if config.reader == "aimed" and self.training and flow.aim is not None and flow in result.arrived:
                        weight = flow.aim[row * self.columns + column]
                    elif config.reader == "nearest":
                        weight = torch.tensor(float(self.patch(flow) == (column, row)), dtype=torch.float64)
                    else:
                        weight = hat(flow.position[0], self.nodes_x, column) * hat(flow.position[1], self.nodes_y, row)
                    energy = energy + weight * flow.energy
                    mass = mass + (weight if on_their_way is None else weight.detach()) * flow.mass
                # from 1 on, not above it: at exactly 1 the value is the same, and the mass has its gradient
                energies.append(energy / mass if float(mass.detach()) >= 1 else energy)
                masses.append(float(mass.detach()))
        result.site_mass = masses
        total = self.columns * self.rows * config.energy_dim
        gain = math.sqrt(config.output_embedding_dim / total)
        gain = gain * config.output_scale * self.weights["mapper.output_rms"]
        if config.mapping == "tied":
            return torch.cat([self.weights["mapper.output_weight"] @ energy for energy in energies]) * gain
        return self.weights["mapper.output_weight"] @ torch.cat(energies) * gain

    def record(self, result: SampleResult, step: int, flows: list[Flow], event: str) -> None:
        nobody = [0.0] * self.config.max_children
        for flow in flows:
            result.records.append(
                {
                    "step": step,
                    "flow_id": flow.flow_id,
                    "parent_id": flow.parent_id,
                    "event": event,
                    "position": [float(c.detach()) for c in flow.position],
                    "level": level(flow.energy),
                    "mass": flow.mass,
                    "energy": flow.energy.detach().tolist(),
                    "gate": [math.nan] * self.config.energy_dim,
                    "shares": nobody,
                    "refused": nobody,
                }
            )


def hat(coordinate: Tensor, nodes: list[int], index: int) -> Tensor:
    """The linear finite-element weight of a node; constant beyond the first and the last."""
    where = float(coordinate.detach())
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    if len(nodes) == 1 or (where < nodes[0] and index == 0) or (where > nodes[-1] and index == len(nodes) - 1):
        return one
    if where < nodes[0] or where > nodes[-1]:
        return zero
    interval = max(i for i in range(len(nodes) - 1) if nodes[i] <= where)  # a node belongs to the interval on its right
    start, end = nodes[interval], nodes[interval + 1]
    share = (coordinate - start) / (end - start)
    return {interval: 1 - share, interval + 1: share}.get(index, zero)


def positive(one: Tensor) -> Tensor:
    """elu + 1."""
    return torch.where(one > 0, one + 1, torch.exp(torch.minimum(one, torch.zeros_like(one))))


def level(energy: Tensor) -> float:
    return math.sqrt(sum(float(e) ** 2 for e in energy.detach()) / len(energy))


def linear(inputs: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return weights[f"{name}.weight"] @ inputs + weights[f"{name}.bias"]


def gelu(inputs: Tensor) -> Tensor:
    return 0.5 * inputs * (1 + torch.erf(inputs / math.sqrt(2)))
