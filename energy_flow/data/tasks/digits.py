"""Digits: small images of handwriting, from scikit-learn.

Shapes: `N` rows, `E` = 64 input width (16 patches of 4 pixels), `T` = 10 target width.
"""

from __future__ import annotations

import importlib.util

import torch
from torch import Tensor

from .judging import CLASSES, accuracy
from .task import Task

DIGIT_CLASSES, HELD_OUT = 10, 180


def sample_digits(rows: int, split: str, fixed: torch.Generator, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose among 1 797 images of 8 x 8, from -1 (blank) to 1, as 4 x 4 patches of 2 x 2 pixels, (N, E).

    The class is one-hot, (N, T). Validation and test have 180 images each, and training the rest.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise ImportError("the task digits needs scikit-learn: pip install 'energy-flow[text]'")
    from sklearn.datasets import load_digits

    images, classes = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    patches = (images.float() / 8 - 1).view(-1, 4, 2, 4, 2).transpose(2, 3).flatten(1)
    order = torch.randperm(len(patches), generator=fixed)
    held_out = {"validation": order[:HELD_OUT], "test": order[HELD_OUT : 2 * HELD_OUT]}
    chosen = held_out.get(split, order[2 * HELD_OUT :])[:rows]
    return patches[chosen], torch.eye(DIGIT_CLASSES)[classes[chosen]]


def digit_of(inputs: Tensor, targets: Tensor) -> Tensor:
    """(N, E) inputs and their targets to (N,) int64: the digit."""
    return targets.argmax(1)


DIGITS = Task(
    "images of handwritten digits, 8 x 8 pixels in 4 x 4 patches; the digit, one-hot",
    sample_digits,
    "accuracy",
    accuracy,
    CLASSES | {"target_classes": DIGIT_CLASSES},
    licence="UCI Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998), CC BY 4.0; from scikit-learn",
    finite=True,
    label=digit_of,
)
