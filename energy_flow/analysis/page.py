"""The page of an analysis, in Markdown: a table of measures beside their nulls, the experiments, and both in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .catalogue import MEASURES, sentence_of
from .comparison import Comparison
from .emergence import Value
from .intervals import Effect
from .study import SYSTEMS, Analysis

HEADINGS = {
    "trained": "trained",
    "untrained": "untrained",
    "straight": "straight moves",
    "permuted": "moves permuted",
}
PLANES = "effective channels over the planes from the input face to the output face, as in the table below"
NULLS = (
    "*Untrained* is the same lattice with fresh weights. *Straight moves* are the trained energies of flows that go "
    "straight ahead. *Moves permuted* are the trained routes, dealt out anew among the samples for each origin; what "
    "does not ask for classes is the same there. `chance` is what the value is by chance alone: with classes drawn by "
    "lot, or in graphs of the same degrees. In brackets: 95 % intervals over samples, by bootstrap."
)


def page_of(
    title: str,
    analyses: Mapping[str, Analysis],
    comparison: Comparison | None = None,
    pictures: Mapping[str, str] | None = None,
) -> str:
    """The page of one run or of several.

    Args:
        title: what was analysed.
        analyses: by the name of the run.
        comparison: of the runs, where there are several.
        pictures: of the planes, an address for each run.
    """
    lines = [f"# {title}", ""]
    if comparison is not None:
        lines += _of_comparison(analyses, comparison)
    for name, analysis in analyses.items():
        lines += [f"## {name}", "", *_of_run(analysis, (pictures or {}).get(name))]
    return "\n".join(lines)


def _of_run(found: Analysis, picture: str | None) -> list[str]:
    return [
        f"{found.samples} samples; classes: {found.labels}. The score is: {found.score_name}, 1 at best.",
        "",
        f"**{found.verdict}**",
        "",
        "### Measures",
        "",
        *_table(["measure", "unit", *HEADINGS.values()], _measures(found)),
        NULLS,
        "",
        *(f"- {MEASURES[name].title}: {_sentence(name, value)}" for name, value in found.measures["trained"].items()),
        "",
        "### Experiments",
        "",
        *_table(["routes", "loss of score", "hurts"], _experiments(found)),
        *_notes(found),
        "### Effective channels by plane",
        "",
        *([] if picture is None else [f"![{PLANES}]({picture})", ""]),
        *_table(["z", *HEADINGS.values()], _planes(found)),
        *_of_growth(found),
    ]


def _of_comparison(analyses: Mapping[str, Analysis], found: Comparison) -> list[str]:
    lines = [f"- {name}: {one.verdict}" for name, one in analyses.items()]
    names = list(next(iter(analyses.values())).measures["trained"])
    rows = [
        [MEASURES[name].title, MEASURES[name].unit, *(range_cell(found.values[system].get(name)) for system in SYSTEMS)]
        for name in names
    ]
    alike = [cell_of(found.stability.get(system)) for system in SYSTEMS]
    rows.append([MEASURES["stability"].title, MEASURES["stability"].unit, *alike])
    trained = found.stability["trained"]
    return [
        f"## {len(analyses)} runs",
        "",
        *lines,
        "",
        *_table(["measure", "unit", *HEADINGS.values()], rows),
        "Means over runs, in brackets the least and the largest. What chance gives is taken off where it is known.",
        "",
        f"- {MEASURES['stability'].title}: {_sentence('stability', trained)}",
        "",
    ]


def _measures(found: Analysis) -> list[list[str]]:
    names = [name for name in MEASURES if name in found.measures["trained"]]
    return [
        [MEASURES[name].title, MEASURES[name].unit, *(cell_of(found.measures[one].get(name)) for one in SYSTEMS)]
        for name in names
    ]


def _experiments(found: Analysis) -> list[list[str]]:
    transplant = found.transplant
    rows = [
        ("own, replayed", transplant.own),
        ("of another sample", transplant.other),
        ("the most common of every origin", transplant.common),
        ("straight ahead", transplant.straight),
    ]
    if found.lesion is not None:
        rows += [
            ("without the busiest edges", found.lesion.busiest),
            ("without random edges of equal traffic", found.lesion.random),
            ("busiest less random", found.lesion.difference),
        ]
    return [[name, effect_cell(effect), "yes" if effect.hurts else "no"] for name, effect in rows]


def _notes(found: Analysis) -> list[str]:
    scores = ", ".join(f"{HEADINGS[name]} {effect_cell(effect)}" for name, effect in found.scores.items())
    lines = [f"Scores: {scores}. {found.transplant.changed:.0%} of the launched flows arrive elsewhere in the sample"]
    lines[0] += " that gave the routes. A loss hurts where its interval lies above 0 and its mean is 0.01 or more."
    if found.lesion is not None:
        one = found.lesion
        lines.append(
            f"The {one.edges} busiest edges carry {one.traffic:.1%} of the flux; draws of {one.random_edges:.1f} other "
            f"edges on average carry {one.random_traffic:.1%}. Flows that would take a blocked edge fade."
        )
    return [" ".join(lines), ""]


def _planes(found: Analysis) -> list[list[str]]:
    columns = [found.planes[system] for system in SYSTEMS]
    rows = enumerate(zip(*columns, strict=True))
    return [[str(z), *("-" if one is None else f"{one:.3f}" for one in row)] for z, row in rows if z]


def _of_growth(found: Analysis) -> list[str]:
    if len(found.growth) < 2:
        return []
    rows = [[str(step), f"{value:.4f}"] for step, value in sorted(found.growth.items())]
    return ["### Specialisation over training", "", *_table(["step", "bits beyond chance"], rows)]


def _sentence(name: str, value: Value | None) -> str:
    return sentence_of(name, {} if value is None else value._asdict())


def cell_of(value: Value | None) -> str:
    """A value with its interval and what chance gives."""
    if value is None or value.value is None:
        return "-"
    bounds = "" if value.low is None or value.high is None else f" ({value.low:.3f} to {value.high:.3f})"
    chance = "" if value.chance is None else f", chance {_short(value.chance)}"
    return f"{_short(value.value)}{bounds}{chance}"


def effect_cell(effect: Effect) -> str:
    """A mean with its interval."""
    return f"{effect.mean:.4f} ({effect.low:.4f} to {effect.high:.4f})"


def range_cell(values: Sequence[float] | None) -> str:
    """The mean of values, and the least and the largest in brackets."""
    if not values:
        return "-"
    ends = [_short(end) for end in (min(values), max(values))]
    return ends[0] if ends[0] == ends[1] else f"{_short(sum(values) / len(values))} ({ends[0]} to {ends[1]})"


def _short(value: float) -> str:
    """Four digits, and 0 for what rounding left."""
    return f"{round(value, 6) + 0.0:.4g}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)] + [""]
