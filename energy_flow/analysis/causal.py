"""Two experiments that decide whether routes carry anything: lesion and transplant.

Shapes: `N` samples, `B` samples of a batch, `E` edges in use, `V` random draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..core import FlowProcessor
from ..core.interventions import BlockEdges, GoStraight, Intervention, Replay
from .flux import BUSIEST, Flux, busiest_count
from .intervals import Effect, bootstrap
from .routes import Routes
from .samples import SampleBatch, Samples
from .trace import Trace

DRAWS = 5  # of a lesion
Intervene = Callable[[SampleBatch], Sequence[Intervention]]


class Lesion(NamedTuple):
    """The busiest edges blocked, against random other edges that carry as much."""

    edges: int  # of the busiest
    traffic: float  # the share of the flux that they carry
    random_edges: float  # of a random draw, on average
    random_traffic: float  # the share that these carry, on average
    busiest: Effect  # loss of score
    random: Effect  # loss of score
    difference: Effect  # busiest less random


class Transplant(NamedTuple):
    """Other routes under the same energies: loss of score."""

    own: Effect  # a sample's own routes, replayed: the control
    other: Effect  # the routes of another sample, of another class where there is one
    common: Effect  # of every origin, the route that most samples take
    straight: Effect  # straight ahead
    changed: float  # share of the launched flows that arrive elsewhere with the other sample's routes


def scores_under(processor: FlowProcessor, samples: Samples, intervene: Intervene | None = None) -> Tensor:
    """(N,) float64 scores of a model whose flows are interfered with.

    Args:
        processor: in the box that it runs in, not training.
        samples: N.
        intervene: from a batch to the interventions of its run.
    """
    found = []
    for batch in samples.batches(processor):
        with torch.no_grad():
            hands = () if intervene is None else intervene(batch)
            found.append(samples.score(batch, processor.run(batch.inputs, intervene=hands).output))
    return torch.cat(found)


def lesion(
    processor: FlowProcessor, samples: Samples, flux: Flux, scores: Tensor, draws: int = DRAWS, seed: int = 0
) -> Lesion | None:
    """Block the busiest 5 % of the edges, and random others that carry as much in all; both `draws` times.

    Where the busiest carry more than half of the flux, fewer are blocked, so that there are others to compare with.
    Among equally busy edges lot decides, so the busiest may be others in every draw.

    Args:
        processor: in the box that it runs in, not training.
        samples: N.
        flux: of these samples.
        scores: (N,) without lesion.
        draws: V.
        seed: of the draws.

    Returns:
        None where no edge leaves others that carry as much.
    """
    random = torch.Generator().manual_seed(seed)
    busiest = [busiest_edges(flux.mass, random) for _ in range(draws)]
    if not len(busiest[0]):
        return None
    others = [random_edges(flux.mass, chosen, random) for chosen in busiest]
    known: dict[tuple[int, ...], Tensor] = {}

    def loss(chosen: Tensor) -> Tensor:
        numbers = tuple(chosen.sort().values.tolist())
        if numbers not in known:
            block = BlockEdges(flux.edges(chosen))
            known[numbers] = scores - scores_under(processor, samples, lambda _: [block])
        return known[numbers]

    of_busiest, of_others = (torch.stack([loss(chosen) for chosen in drawn]) for drawn in (busiest, others))
    traffic = [sum(float(flux.mass[chosen].sum()) for chosen in drawn) / draws for drawn in (busiest, others)]
    return Lesion(
        edges=len(busiest[0]),
        traffic=traffic[0] / float(flux.mass.sum()),
        random_edges=sum(map(len, others)) / draws,
        random_traffic=traffic[1] / float(flux.mass.sum()),
        busiest=bootstrap(of_busiest),
        random=bootstrap(of_others),
        difference=bootstrap(of_busiest - of_others),
    )


def busiest_edges(mass: Tensor, random: torch.Generator) -> Tensor:
    """(K,) int64 the busiest 5 % of E edges, fewer where these carry more than half of the flux.

    Args:
        mass: (E,) that moved over each.
        random: of the choice among edges that are equally busy.
    """
    drawn = torch.randperm(len(mass), generator=random)
    busy = (mass[drawn] / mass.max()).round(decimals=9)  # equal but for rounding is equal
    order = drawn[busy.argsort(descending=True, stable=True)][: busiest_count(len(mass), BUSIEST)]
    return order[: int((mass[order].cumsum(0) <= mass.sum() / 2).sum())]


def random_edges(mass: Tensor, without: Tensor, random: torch.Generator) -> Tensor:
    """(K,) int64 edges drawn at random until they carry as much as others do, at least.

    Args:
        mass: (E,) that moved over each.
        without: int64, those others, which are not drawn.
        random: of the draw.
    """
    order = torch.randperm(len(mass), generator=random)
    order = order[~torch.isin(order, without)]
    carried = mass[order].cumsum(0)
    return order[: int((carried < mass[without].sum() * (1 - 1e-9)).sum()) + 1]


def transplant(processor: FlowProcessor, samples: Samples, scores: Tensor) -> Transplant:
    """Every sample keeps its energies, and takes the routes of another, the most common ones, or none sideways.

    Launched flows are led: their numbers mean the same in all samples. Those of children do not, as they follow from
    who was born before; so children go as they wish, from where their parents are led.

    Args:
        processor: in the box that it runs in, not training.
        samples: N.
        scores: (N,) with their own routes.
    """
    common = most_common_routes(_trace(processor, next(samples.batches(processor))))
    launched = range(processor.config.num_sites)
    elsewhere: list[Tensor] = []

    def of_another(batch: SampleBatch) -> list[Intervention]:
        trace, donors = _trace(processor, batch), donors_of(batch.labels)
        elsewhere.append(_arrive_elsewhere(trace, donors))
        return [Replay(trace, donors.tolist(), flows=launched)]

    hands: dict[str, Intervene] = {
        "own": lambda batch: [Replay(_trace(processor, batch), flows=launched)],
        "other": of_another,
        "common": lambda batch: [Replay(common, [0] * len(batch.labels), flows=launched)],
        "straight": lambda _: [GoStraight()],
    }
    losses = {name: bootstrap(scores - scores_under(processor, samples, hand)) for name, hand in hands.items()}
    return Transplant(**losses, changed=float(torch.cat(elsewhere).double().mean()))


def donors_of(labels: Tensor) -> Tensor:
    """(B,) int64 classes to (B,) int64: for each sample another, of another class where there is one."""
    numbers = torch.arange(len(labels))
    donors = (numbers + 1) % len(labels)
    for shift in range(1, len(labels)):
        same = labels[donors] == labels
        if not same.any():
            break
        donors = torch.where(same, (numbers + shift) % len(labels), donors)
    still = labels[donors] == labels
    return torch.where(still, (numbers + 1) % len(labels), donors)


def most_common_routes(trace: Trace) -> Trace:
    """Of every origin, the route that most samples take, as the trace of a single sample; children are left out."""
    routes = Routes.of(trace)
    launched = routes.parent < 0
    kept = torch.zeros(len(trace.step), dtype=torch.bool)
    for origin in range(routes.num_sites):
        rows = (launched & (routes.origin == origin)).nonzero().squeeze(1)
        _, kind, counts = routes.route[rows].unique(return_inverse=True, return_counts=True)
        sample = routes.sample[rows[int((kind == counts.argmax()).nonzero()[0])]]
        kept |= (trace.sample == sample) & (trace.flow_id == origin)
    found = trace.records(kept.nonzero().squeeze(1))
    return replace(found, sample=torch.zeros_like(found.sample))


def _trace(processor: FlowProcessor, batch: SampleBatch) -> Trace:
    with torch.no_grad():
        return Trace.of(processor.run(batch.inputs, record=True), processor.config)


def _arrive_elsewhere(trace: Trace, donors: Tensor) -> Tensor:
    """(B, S) bool: launched flows that arrive at another site in the donor's trace."""
    routes = Routes.of(trace)
    launched = routes.parent < 0
    arrival = torch.full((len(donors), routes.num_sites), -1)
    arrival[routes.sample[launched], routes.origin[launched]] = routes.arrival[launched]
    return arrival != arrival[donors]
