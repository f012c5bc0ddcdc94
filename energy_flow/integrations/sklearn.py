"""A scikit-learn estimator (extra sklearn): rows to rows, trained by the lattice's own trainer.

Shapes: `N` rows, `E` input width, `T` target width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from ..config import PRESETS, EnergyConfig
from ..core import FlowProcessor, create_processor
from ..training import EnergyTrainer
from ..utils import DeviceManager, batch_slices

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, RegressorMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as missing:
    raise ImportError("the estimator needs scikit-learn: pip install 'energy-flow[sklearn]'") from missing

PREDICTED_AT_ONCE = 1024  # rows


class EnergyFlowRegressor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RegressorMixin, BaseEstimator):
    """Learns to map rows to rows: `predict` and `transform` give the same, a column for each target.

    The lattice has no bias, so the means of inputs and targets are taken off before it and put back after it. Numbers
    are trained in float32 and predicted in float64, so that what a row gives does not depend on the rows beside it.

    Args:
        preset: what the lattice and its training start from.
        epochs: passes over the rows.
        batch_size: rows of a training step.
        learning_rate: the peak.
        hidden_size: of the flows' GRU, which has one layer.
        settings: further fields of `EnergyConfig`, over all that is said here; `loss_mse` is the loss unless one of
            `loss_*` is given.
        center: take the means off. Without it `model_` alone is the whole map.
        random_state: of the weights and the order of rows: an int, a `numpy.random.RandomState`, or None for another
            one each time.
        device: cpu, cuda or mps.

    Attributes:
        model_: the trained `FlowProcessor`, in float64 and in `eval()`.
        input_mean_: (E,) what is taken off.
        target_mean_: (T,) what is put back.
        n_features_in_: E.
    """

    def __init__(
        self,
        preset: str = "tiny",
        *,
        epochs: int = 50,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        hidden_size: int = 32,
        settings: Mapping[str, Any] | None = None,
        center: bool = True,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
    ) -> None:
        self.preset = preset
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.hidden_size = hidden_size
        self.settings = settings
        self.center = center
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803  (as scikit-learn names it)
        """Train a new model.

        Args:
            X: (N, E) numbers, two rows at least.
            y: (N, T) targets, or (N,).

        Raises:
            ValueError: rows that are no finite numbers, or a parameter that does not fit; it names the parameter.
        """
        checked: Any = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        rows, wanted = checked
        targets = np.asarray(wanted, dtype=np.float64).reshape(len(rows), -1)
        self._one_column, self._n_features_out = np.ndim(wanted) == 1, targets.shape[1]
        self.input_mean_ = rows.mean(axis=0) if self.center else np.zeros(rows.shape[1])
        self.target_mean_ = targets.mean(axis=0) if self.center else np.zeros(targets.shape[1])
        inputs, outputs = rows - self.input_mean_, targets - self.target_mean_
        processor = create_processor(self._config(*(matrix.shape[1] for matrix in (inputs, outputs))))
        self._constant = not (inputs.any() and outputs.any())  # then the mean is all there is to learn
        processor = processor.to(DeviceManager(self.device).device)
        if not self._constant:
            trainer = EnergyTrainer(processor, processor.config)
            trainer.train(torch.from_numpy(inputs).float(), torch.from_numpy(outputs).float())
            processor = trainer.judged_model()
        self.model_: FlowProcessor = processor.double().eval()
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """(N, E) rows to (N, T) float64 predictions, or (N,) where the targets of `fit` were one column."""
        outputs = self.transform(X)
        return outputs[:, 0] if self._one_column else outputs

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """(N, E) rows to (N, T) float64 predictions."""
        check_is_fitted(self)
        checked: Any = validate_data(self, X, dtype=np.float64, reset=False)
        rows = checked - self.input_mean_
        if self._constant:
            return np.tile(self.target_mean_, (len(rows), 1))
        device = next(self.model_.parameters()).device
        with torch.no_grad():
            parts = [
                self.model_(torch.from_numpy(rows[part]).to(device)).cpu().numpy()
                for part in batch_slices(len(rows), PREDICTED_AT_ONCE)
            ]
        return np.concatenate(parts) + self.target_mean_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.non_deterministic = self.random_state is None
        return tags

    def _config(self, width_in: int, width_out: int) -> EnergyConfig:
        """The configuration, with room on every site for inputs and targets."""
        if self.preset not in PRESETS:
            raise ValueError(f"preset = {self.preset!r}; give one of {', '.join(PRESETS)}")
        own = dict(self.settings or {})
        fields: dict[str, Any] = PRESETS[self.preset] | {
            "input_embedding_dim": width_in,
            "output_embedding_dim": width_out,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "carrier_hidden_size": self.hidden_size,
            "carrier_num_layers": 1,
            "seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
        }
        if not any(name.startswith("loss_") for name in own):
            fields |= {"loss_mse": 1.0, "loss_cosine": 0.0, "loss_contrastive": 0.0}
        fields |= own
        if "energy_dim" not in own:
            columns, lines = fields.get("sites", EnergyConfig.sites)
            least = math.ceil(max(width_in, width_out) / (columns * lines))
            fields["energy_dim"] = max(least, fields.get("energy_dim", 1))
        return EnergyConfig.from_dict(fields)
