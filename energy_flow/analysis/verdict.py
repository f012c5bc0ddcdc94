"""What lesion and transplant say, in words."""

from __future__ import annotations

from .causal import Lesion, Transplant
from .intervals import NOTABLE, Effect


def verdict(score: float, lesion: Lesion | None, transplant: Transplant) -> str:
    """Whether routes carry anything, and by what one sees it.

    Args:
        score: the mean score with the model's own routes, 1 at best.
        lesion: None where it could not be done.
        transplant: the other experiment.
    """
    if score < NOTABLE:
        return f"The model's score is {score:.3f}: there is nothing to lose, so the experiments decide nothing."
    hurts = [
        name
        for name, effect in (
            (f"the routes of another sample cost {_cost(transplant.other)}", transplant.other),
            (f"the most common routes cost {_cost(transplant.common)}", transplant.common),
        )
        if effect.hurts
    ]
    if hurts:
        carried = f"Routes carry content: {' and '.join(hurts)} of a score of {score:.3f}."
        return f"{carried} {_of_lesion(lesion)}"
    nothing = f"Other routes cost next to nothing: those of another sample {_cost(transplant.other)}."
    if transplant.changed == 0:
        nothing = f"Flows arrive at the same sites whatever the sample is, and {nothing[0].lower()}{nothing[1:]}"
    if lesion is not None and lesion.difference.hurts:
        return (
            f"{nothing} {_of_lesion(lesion)} So some places matter more than others, and which sample took which route "
            "does not."
        )
    return f"{nothing} {_of_lesion(lesion)} Routes carry nothing here."


def _of_lesion(lesion: Lesion | None) -> str:
    if lesion is None:
        return "No lesion could be compared, as a few edges carry more than half of the flux."
    words = "more" if lesion.difference.hurts else "no more worth speaking of"
    return (
        f"A lesion of the busiest edges costs {words} than one of random others with as much flux: the difference is "
        f"{_cost(lesion.difference)}."
    )


def _cost(effect: Effect) -> str:
    return f"{effect.mean:.3f} ({effect.low:.3f} to {effect.high:.3f})"
