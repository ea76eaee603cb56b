"""How near to their predictions end points stay."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from skot import LagrangianOT
from skot.costs import HarmonicWell, HillObstacle, Kinetic, KineticPotential
from skot.networks import MLPMap, MLPPotential, SplinePath
from skot.solvers.c_transform import LBFGSCTransform
from skot.transport._lagrangian import estimator
from skot.transport._lagrangian.proximity import best_proximity


def fitted(lagrangian, **params):
    rng = np.random.RandomState(0)
    X = rng.uniform([-1.25, -1.0], [-1.0, 1.0], size=(200, 2))
    networks = {
        "potential": MLPPotential((16, 16)),
        "amortizer": MLPMap((16, 16)),
        "path": SplinePath(5, hidden_layer_sizes=(16,)),
    }
    transport = LagrangianOT(lagrangian, **networks, max_iter=5, random_state=0, **params)
    return transport.fit(X, X + [2.25, 0.0])


def test_it_is_chosen_after_a_fit_and_used(monkeypatch):
    monkeypatch.setattr(estimator, "best_proximity", lambda *problem: 10.0)
    transport = fitted(KineticPotential(HillObstacle()))
    assert transport.c_transform_solver_.proximity == 10.0
    assert transport._learned.solver is transport.c_transform_solver_
    # What was chosen stays when rows stream in.
    x, y = (rows.numpy() for rows in transport._learned.rows)
    transport.partial_fit(x, y)
    assert transport.c_transform_solver_.proximity == 10.0
    assert transport._learned.solver is transport.c_transform_solver_


@pytest.mark.parametrize("lagrangian", [Kinetic(), KineticPotential(HarmonicWell(1.0))])
def test_there_is_none_where_the_cost_settles_everything(lagrangian):
    transport = fitted(lagrangian, warm_start=True)
    assert transport.c_transform_solver_.proximity == 0.0
    x, y = (rows.numpy() for rows in transport._learned.rows)
    for train in (transport.fit, transport.partial_fit, transport.partial_fit):
        train(x, y)
        assert transport.c_transform_solver_.proximity == 0.0
        assert transport._learned.solver.proximity == 0.0


def test_a_new_lagrangian_is_not_taken_for_the_old_one():
    transport = fitted(KineticPotential(HarmonicWell(1.0)), warm_start=True)
    x, y = (rows.numpy() for rows in transport._learned.rows)
    transport.set_params(lagrangian=KineticPotential(HillObstacle()))
    with pytest.raises(ValueError, match="lagrangian was KineticPotential"):
        transport.fit(x, y)
    assert transport.set_params(warm_start=False).fit(x, y).c_transform_solver_.proximity > 0.0


def test_a_solver_that_was_passed_is_left_alone():
    solver = LBFGSCTransform(max_iter=5, proximity=3.0)
    transport = fitted(KineticPotential(HillObstacle()), c_transform_solver=solver)
    assert transport.c_transform_solver_.proximity == 3.0


class Potential(torch.nn.Module):
    """A potential in whose eyes the second feature of every end point should be zero."""

    def forward(self, y):
        return 0.5 * y[:, 0] - 50.0 * y[:, 1] ** 2


class Shifted(torch.nn.Module):
    """Moves every row alike."""

    def __init__(self, shift):
        super().__init__()
        self.shift = shift

    def forward(self, rows):
        return rows + self.shift


def test_predictions_that_follow_the_target_are_kept():
    transport = fitted(KineticPotential(HillObstacle()))
    learned = replace(transport._learned, solver=LBFGSCTransform(max_iter=20))
    source, target = (learned.frame.source_rows(rows) for rows in learned.rows)
    shift = target.mean(0) - source.mean(0)
    modules = {**learned.modules, "potential": Potential(), "amortizer": Shifted(shift)}
    assert best_proximity(learned.with_modules(modules)) == 100.0


def test_solutions_that_follow_the_target_win():
    transport = fitted(KineticPotential(HarmonicWell(1.0)))
    learned = transport._learned
    amortizer = learned.modules["amortizer"]
    shifted = torch.nn.Sequential(amortizer, Shifted(torch.tensor([0.0, 1.0]).double()))
    modules = {**learned.modules, "amortizer": shifted}
    assert best_proximity(learned.with_modules(modules)) == 0.0
