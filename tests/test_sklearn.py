"""The scikit-learn estimator: what their own checks ask for, and what people do with estimators."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from energy_flow.config import EnergyConfig
from energy_flow.integrations.sklearn import EnergyFlowRegressor

SMALL: dict[str, Any] = {
    "sites": (2, 2),
    "lattice_width": 4,
    "lattice_height": 4,
    "lattice_depth": 3,
    "max_active_flows": 4,
    "max_children": 0,
    "max_spawn_per_step": 0,
    "initial_steps": 2,
    "neuron_hidden_dim": 8,
    "neuron_output_dim": 8,
}
random = np.random.RandomState(0)
ROWS = random.randn(48, 6) + 3
TARGETS = ROWS @ random.randn(6, 2) - 5


def regressor(**changes: Any) -> EnergyFlowRegressor:
    options = {"random_state": 0, "epochs": 15, "learning_rate": 1e-2, "hidden_size": 8, "settings": SMALL}
    return EnergyFlowRegressor(**options | changes)


@pytest.fixture(scope="module")
def fitted() -> EnergyFlowRegressor:
    return regressor().fit(ROWS, TARGETS)


@pytest.mark.slow
def test_it_passes_the_checks_of_scikit_learn() -> None:
    results = check_estimator(regressor(), on_skip=None)
    assert len(results) > 50
    assert {one["check_name"] for one in results if one["status"] != "passed"} <= {"check_array_api_input"}  # not on


def test_it_learns_and_gives_the_same_twice(fitted: EnergyFlowRegressor) -> None:
    assert fitted.score(ROWS, TARGETS) > 0.5
    np.testing.assert_array_equal(fitted.transform(ROWS), fitted.predict(ROWS))
    np.testing.assert_array_equal(regressor().fit(ROWS, TARGETS).predict(ROWS), fitted.predict(ROWS))
    assert not np.allclose(regressor(random_state=1).fit(ROWS, TARGETS).predict(ROWS), fitted.predict(ROWS))


def test_a_row_gives_the_same_whatever_rows_are_beside_it(fitted: EnergyFlowRegressor) -> None:
    alone = np.concatenate([fitted.predict(row[None]) for row in ROWS])
    np.testing.assert_allclose(alone, fitted.predict(ROWS), rtol=1e-12, atol=1e-12)


def test_targets_of_one_column_are_predicted_as_one(fitted: EnergyFlowRegressor) -> None:
    one = regressor(epochs=1).fit(ROWS, TARGETS[:, 0])
    assert one.predict(ROWS).shape == (48,)
    assert one.transform(ROWS).shape == (48, 1)
    assert list(fitted.get_feature_names_out()) == ["energyflowregressor0", "energyflowregressor1"]


def test_it_is_pickled_with_its_model(fitted: EnergyFlowRegressor) -> None:
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(ROWS), fitted.predict(ROWS))


def test_it_works_in_a_pipeline_and_a_grid_search() -> None:
    steps = make_pipeline(StandardScaler(), regressor(epochs=2))
    grid = {"energyflowregressor__hidden_size": np.array([4, 8]), "energyflowregressor__learning_rate": [1e-3, 1e-2]}
    search = GridSearchCV(steps, grid, cv=2).fit(ROWS, TARGETS)
    assert set(search.best_params_) == set(grid)
    assert search.predict(ROWS).shape == TARGETS.shape


def test_without_centring_the_model_is_the_whole_map() -> None:
    import torch

    found = regressor(center=False, epochs=1).fit(ROWS, TARGETS)
    with torch.no_grad():
        np.testing.assert_array_equal(found.model_(torch.from_numpy(ROWS)).numpy(), found.predict(ROWS))


def test_where_nothing_varies_the_mean_is_predicted() -> None:
    for rows, targets in ((ROWS, np.full(48, 2.5)), (np.ones((48, 6)), TARGETS[:, 0])):
        np.testing.assert_allclose(regressor().fit(rows, targets).predict(ROWS), np.mean(targets))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preset": "none"}, "preset = 'none'; give one of tiny"),
        ({"epochs": 0}, "epochs"),
        ({"settings": {"carier": 1}}, "carier"),
        ({"learning_rate": -1.0}, "learning_rate"),
    ],
)
def test_parameters_that_do_not_fit_are_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        regressor(**changes).fit(ROWS, TARGETS)


def test_rows_that_do_not_fit_are_named(fitted: EnergyFlowRegressor) -> None:
    with pytest.raises(NotFittedError):
        regressor().predict(ROWS)
    with pytest.raises(ValueError, match="6 features"):
        fitted.predict(ROWS[:, :5])
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(np.full((1, 6), np.nan))
    with pytest.raises(ValueError, match="requires y"):
        regressor().fit(ROWS, None)


def test_a_grid_of_numpy_numbers_is_searched() -> None:
    rows, targets = np.random.default_rng(0).normal(size=(2, 24, 4))
    model = EnergyFlowRegressor(epochs=1, hidden_size=4, random_state=0, settings={"neuron_hidden_dim": np.int64(4)})
    search = GridSearchCV(model, {"learning_rate": np.logspace(-3, -2, 2)}, cv=2, error_score="raise")
    assert search.fit(rows, targets).best_params_["learning_rate"] in np.logspace(-3, -2, 2)


def test_presets_without_sites_of_their_own_are_taken() -> None:
    sites = EnergyConfig.sites[0] * EnergyConfig.sites[1]
    rows = np.random.default_rng(0).normal(size=(8, sites))
    model = EnergyFlowRegressor("grid", epochs=1, hidden_size=4, random_state=0, settings={"max_active_flows": sites})
    assert model.fit(rows, rows).predict(rows).shape == rows.shape
