"""The measures by name: title, unit, and what a value means in one sentence.

Formulas and sources are in `docs/emergence.md` and in the docstrings of the functions.
"""

from __future__ import annotations

from typing import NamedTuple


class Measure(NamedTuple):
    """How a measure is shown."""

    title: str
    unit: str
    sentence: str  # {value} and {chance} are filled in
    less_chance: bool = False  # whether the value counts less what chance gives
    undefined: str = "There is no value here."  # the sentence where it has none


MEASURES: dict[str, Measure] = {
    "effective_channels": Measure(
        "effective channels", "share of sites", "Flux uses the sites of a plane as if {value:.0%} of them shared it."
    ),
    "concentration": Measure(
        "concentration", "share of flux", "The busiest 5 % of the edges in use carry {value:.0%} of the flux."
    ),
    "entropy_rate": Measure(
        "entropy rate", "bits a move", "On average a move is a choice among {choices:.2f} equal ways."
    ),
    "information_arrival": Measure(
        "route-content information, arrival",
        "bits",
        "Where a flow arrives tells {excess:.3f} bits about the sample's class, beyond what chance gives (p {p:.2g}).",
        less_chance=True,
    ),
    "information_route": Measure(
        "route-content information, whole route",
        "bits",
        "The whole route of a flow tells {excess:.3f} bits about the class, beyond what chance gives (p {p:.2g}).",
        less_chance=True,
    ),
    "specialisation": Measure(
        "specialisation",
        "bits",
        "The flux maps of the classes differ by {excess:.3f} bits more than those of classes drawn by lot (p {p:.2g}).",
        less_chance=True,
    ),
    "modularity": Measure(
        "modularity",
        "0 to 1",
        "The flux graph falls into parts with modularity {value:.2f}; graphs of the same degrees reach {chance:.2f}.",
        less_chance=True,
        undefined="There are too many edges to look for parts.",
    ),
    "reach": Measure(
        "reach d_90",
        "sites",
        "90 % of what a change at one site does lies within {value:.2f} sites of it.",
        undefined="No change at a site changed the output.",
    ),
    "work_difficulty": Measure(
        "work against difficulty",
        "Spearman",
        "Harder samples {more} work: rank correlation {value:+.2f}.",
        undefined="Every sample takes as much work, or is as hard.",
    ),
    "stability": Measure(
        "stability between runs",
        "correlation",
        "Two runs' flux maps correlate by {value:.2f} at best over the face's symmetries; with sites in random order "
        "by {chance:.2f}.",
        undefined="The flux of the runs is even: there is nothing to compare.",
    ),
    "steps": Measure("steps of a flow", "moves", "A flow makes {value:.2f} moves."),
    "drift": Measure("drift of a flow", "sites", "A flow ends {value:.2f} sites beside the place where it began."),
    "sideways": Measure("sideways, a move", "sites", "A move leads {value:.2f} sites sideways."),
    "jump": Measure("jump, mean", "cells", "A move leads {value:.2f} cells ahead."),
    "longest_jump": Measure("jump, longest", "cells", "No move leads farther along z than by {value:.0f}."),
    "children": Measure("children", "a launched flow", "A launched flow and its descendants start {value:.2f} flows."),
    "tree_depth": Measure("depth of trees", "splits", "At most {value:.0f} splits lie between a launch and a flow."),
    "faded": Measure("faded", "share of flows", "{value:.1%} of the flows fade before they arrive."),
}


def sentence_of(name: str, found: dict[str, float | None]) -> str:
    """What a value means, in one sentence.

    Args:
        name: a key of `MEASURES`.
        found: value, chance and p_value, as in `Value`.
    """
    value, chance = found.get("value"), found.get("chance")
    if value is None:
        return MEASURES[name].undefined
    more = "take more" if value > 0.1 else "take less" if value < -0.1 else "take about as much"
    return MEASURES[name].sentence.format(
        value=value,
        chance=0.0 if chance is None else chance,
        excess=value - (chance or 0.0),
        p=1.0 if found.get("p_value") is None else found["p_value"],
        choices=2**value if name == "entropy_rate" else 0.0,
        more=more,
    )
