"""LagrangianOT against closed forms, and what it promises beyond the common checks."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot import GaussianTransport, LagrangianOT
from skot.costs import (
    BoxObstacle,
    ConstantMetric,
    HarmonicWell,
    HillObstacle,
    Kinetic,
    KineticPotential,
    Lagrangian,
    PowerKinetic,
    RiemannianKinetic,
)
from skot.losses import EnergyAugmentation
from skot.metrics import l2_uvp
from skot.model_selection import DomainKFold
from skot.networks import MLPMap, MLPPotential, SplinePath
from skot.solvers.c_transform import AdamCTransform, LBFGSCTransform
from skot.training import Annealing
from skot.transport._lagrangian.coordinates import FramedLagrangian
from skot.transport._lagrangian.model import _least_action, _spread_out
from skot.transport._lagrangian.start import gaussian_start, solved_pairs
from skot.transport._neural import fit
from skot.utils import stack_domains

MATRIX = ((2.0, 0.9), (0.9, 0.6))


def gaussians(n=1000, shift=2.0, seed=0):
    """Samples whose covariances do not commute with each other or with the matrix."""
    rng = np.random.RandomState(seed)
    X = rng.multivariate_normal([0.0, 0.0], [[1.0, 0.5], [0.5, 0.6]], n)
    Y = rng.multivariate_normal([shift, 1.0], [[0.5, -0.3], [-0.3, 1.4]], n)
    return X, Y


def small(lagrangian=None, **params):
    networks = {
        "potential": MLPPotential((16, 16)),
        "amortizer": MLPMap((16, 16)),
        "path": SplinePath(6, hidden_layer_sizes=(16,)),
    }
    return LagrangianOT(
        lagrangian, **{**networks, "max_iter": 10, "batch_size": 128, "random_state": 0, **params}
    )


def gaussian_map_for(matrix, X, Y):
    """The optimal map between Gaussian fits for the cost of a constant metric."""
    root = np.linalg.cholesky(matrix)
    transport = GaussianTransport().fit(X @ root, Y @ root)
    return lambda rows: transport.transform(rows @ root) @ np.linalg.inv(root)


@pytest.fixture
def trained_in_a_well():
    X, Y = gaussians(600)
    transport = small(KineticPotential(HarmonicWell(1.0)), max_iter=40).fit(X, Y)
    return transport, X, Y


# --- closed forms ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["kinetic", "constant", "well"])
def test_maps_between_gaussians(kind):
    matrix = np.array(MATRIX) if kind == "constant" else np.eye(2)
    lagrangian = {
        "kinetic": Kinetic(),
        "constant": RiemannianKinetic(ConstantMetric(MATRIX)),
        "well": KineticPotential(HarmonicWell(1.0)),
    }[kind]
    X, Y = gaussians(2000)
    new = gaussians(500, seed=1)[0]
    transport = small(lagrangian, max_iter=60, batch_size=512).fit(X, Y)
    expected = gaussian_map_for(matrix, X, Y)(new)
    assert l2_uvp(expected, transport.transform(new)) <= 1.0
    back = transport.inverse_transform(expected)
    assert l2_uvp(new, back) <= 3.0


def test_cost_value_and_midpoints_in_a_well(trained_in_a_well):
    transport, X, _ = trained_in_a_well
    images, k = transport.transform(X), np.sqrt(2.0)
    squares = ((X**2 + images**2).sum(1) * np.cosh(k) - 2 * (X * images).sum(1)).mean()
    assert transport.cost_value_ == pytest.approx(k / (2 * np.sinh(k)) * squares, rel=0.01)
    middle = transport.transport_at(X, 0.5)
    expected = (X + images) / (2 * np.cosh(k / 2))
    assert np.abs(middle - expected).max() < 0.02 * np.abs(expected).max()


def test_costs_of_any_pairs_in_a_well(trained_in_a_well):
    transport, X, Y = trained_in_a_well
    k = np.sqrt(2.0)
    squares = (X**2 + Y**2).sum(1) * np.cosh(k) - 2 * (X * Y).sum(1)
    expected = k / (2 * np.sinh(k)) * squares
    assert_allclose(transport.path_cost(X, Y), expected, rtol=0.01)
    amortized = transport.path_cost(X, Y, amortized=True)
    assert (amortized >= transport.path_cost(X, Y) * (1 - 1e-3)).all()
    assert np.mean(amortized / expected - 1.0) < 0.05


def test_dual_value_is_near_the_cost(trained_in_a_well):
    transport, *_ = trained_in_a_well
    gap = transport.cost_value_ - transport.dual_value_
    assert transport.duality_gap_ == pytest.approx(gap)
    assert abs(gap) < 0.05 * transport.cost_value_


def test_powers_of_the_speed():
    rng = np.random.RandomState(0)
    X = rng.normal(size=(300, 2))
    transport = small(PowerKinetic(p=3.0), max_iter=60).fit(X, X + [3.0, 0.0])
    assert transport.cost_value_ == pytest.approx(9.0, rel=0.1)
    assert_allclose(transport.path_cost(X[:5], X[:5] + 1.0), 2**1.5 / 3, rtol=1e-5)


def test_straight_lines_need_no_path_network():
    X, Y = gaussians(100)
    transport = small(RiemannianKinetic(ConstantMetric(MATRIX))).fit(X, Y)
    assert "path" not in transport._learned.modules
    paths = transport.transport_paths(X, 3)
    assert_allclose(paths[:, 1], 0.5 * (paths[:, 0] + paths[:, 2]), atol=1e-9)


def test_the_start_is_the_solution_for_a_quadratic_cost():
    x, y = (torch.from_numpy(rows) for rows in gaussians(3000))
    pairs = x[:300], y[:300]
    matrix = torch.tensor(MATRIX, dtype=torch.float64)
    difference = pairs[0] - pairs[1]
    costs = 0.5 * ((difference @ matrix) * difference).sum(1) + pairs[1].square().sum(1)
    start = gaussian_start(x, y, (*pairs, costs))
    expected = gaussian_map_for(np.array(MATRIX), x.numpy(), y.numpy())(x.numpy())
    found = (x @ start.matrix + start.shift).numpy()
    assert l2_uvp(expected, found) < 0.1
    back = torch.from_numpy(found) @ start.inverse_matrix + start.inverse_shift
    assert_allclose(back.numpy(), x.numpy(), atol=0.05)
    # With g, the map is the minimiser of the c-transform: the gradients in y agree.
    slope = (torch.from_numpy(found) - x) @ matrix + 2.0 * torch.from_numpy(found)
    of_g = torch.from_numpy(found) @ start.target_hessian + start.target_slope
    assert_allclose(of_g.numpy(), slope.numpy(), atol=0.1)


# --- paths -----------------------------------------------------------------------------


def test_paths_begin_at_the_rows_and_end_at_their_images(trained_in_a_well):
    transport, X, _ = trained_in_a_well
    paths = transport.transport_paths(X[:20], n_times=7)
    assert paths.shape == (20, 7, 2)
    assert_allclose(paths[:, 0], X[:20], atol=1e-12)
    assert_allclose(paths[:, -1], transport.transform(X[:20]), atol=1e-9)
    assert_allclose(transport.transport_at(X[:20], 0.5), paths[:, 3], atol=1e-9)


def test_geodesics_join_their_ends(trained_in_a_well):
    transport, X, Y = trained_in_a_well
    paths = transport.geodesic(X[:20], Y[:20], n_times=5)
    assert paths.shape == (20, 5, 2)
    assert_allclose(paths[:, 0], X[:20], atol=1e-12)
    assert_allclose(paths[:, -1], Y[:20], atol=1e-12)


def test_a_hill_is_gone_around():
    rng = np.random.RandomState(0)
    X = rng.uniform([-1.25, -1.0], [-1.0, 1.0], size=(400, 2))
    lagrangian = KineticPotential(HillObstacle())
    transport = small(lagrangian, path=SplinePath(10), max_iter=60).fit(X, X + [2.25, 0.0])
    paths = transport.transport_paths(X[:100], 101)
    assert np.linalg.norm(paths, axis=2).min() > 0.3


def test_dtypes_and_tensors_of_paths(trained_in_a_well):
    transport, X, Y = trained_in_a_well
    single, other = X[:3].astype(np.float32), Y[:3].astype(np.float32)
    assert transport.transport_paths(single, 4).dtype == np.float32
    assert transport.path_cost(single, other).dtype == np.float32
    tensor = transport.transport_paths(torch.from_numpy(X[:3]), 4)
    assert isinstance(tensor, torch.Tensor)
    assert_allclose(tensor.numpy(), transport.transport_paths(X[:3], 4), atol=1e-9)
    assert isinstance(transport.geodesic(torch.from_numpy(X[:3]), Y[:3], 4), torch.Tensor)


@pytest.mark.parametrize("call, match", [
    (lambda t, X, Y: t.transport_at(X, 1.5), "between 0 and 1"),
    (lambda t, X, Y: t.transport_paths(X, 0), "positive integer"),
    (lambda t, X, Y: t.path_cost(X, Y[:-1]), "inconsistent numbers of samples"),
    (lambda t, X, Y: t.path_cost(X, Y[:, :1]), "features"),
    (lambda t, X, Y: t.geodesic(X, None), "two-dimensional"),
])  # fmt: skip
def test_bad_calls(trained_in_a_well, call, match):
    transport, X, Y = trained_in_a_well
    with pytest.raises(ValueError, match=match):
        call(transport, X, Y)


def test_paths_that_were_not_found_are_warned_of(trained_in_a_well):
    transport, X, Y = trained_in_a_well
    twin = pickle.loads(pickle.dumps(transport))
    twin.geodesic_solver_.set_params(max_iter=1, tol=1e-12, n_starts=0)
    with pytest.warns(ConvergenceWarning, match="geodesic_solver"):
        twin.path_cost(X, Y)
    twin.c_transform_solver_.set_params(max_iter=1, tol=1e-12)
    with pytest.warns(ConvergenceWarning, match="c_transform_solver"):
        twin.transform(X)


# --- what may be plugged in ------------------------------------------------------------


class Current(Lagrangian):
    """A Lagrangian of time: a wind that turns."""

    def __init__(self, speed=1.0):
        self.speed = speed

    def __call__(self, x, v, t):
        wind = torch.stack([torch.cos(3.0 * t), torch.sin(3.0 * t)], dim=-1)
        return 0.5 * (v - self.speed * wind).square().sum(-1)


def test_a_lagrangian_of_ones_own_that_depends_on_time():
    X, Y = gaussians(300)
    transport = small(Current(), max_iter=30).fit(X, Y)
    # Only the mean of the wind matters to the cost, but paths follow it.
    mean = np.array([np.sin(3.0) / 3.0, (1.0 - np.cos(3.0)) / 3.0])
    expected = 0.5 * ((Y - X - mean) ** 2).sum(1)
    assert_allclose(transport.path_cost(X, Y), expected, rtol=0.01, atol=1e-3)
    straight = 0.5 * (X + Y)[:50]
    assert np.abs(transport.geodesic(X[:50], Y[:50], 3)[:, 1] - straight).max() > 0.1


def speed_limit(x, v, t):
    """A plain function."""
    return 0.5 * v.square().sum(-1) + 0.1 * v.square().sum(-1) ** 2


def test_a_function_is_a_lagrangian():
    X, Y = gaussians(200)
    transport = small(speed_limit).fit(X, Y)
    assert transport.lagrangian_ is speed_limit
    assert np.isfinite(pickle.loads(pickle.dumps(transport)).transform(X)).all()


def test_adam_as_a_solver():
    X, Y = gaussians(200)
    solver = AdamCTransform(max_iter=30, tol=1e-2)
    assert small(c_transform_solver=solver).fit(X, Y).score(X) > -1.0


def test_nested_grid_search():
    X, Y = gaussians(60)
    stacked, _, domain = stack_domains(X, Y)
    pipe = make_pipeline(
        StandardScaler(),
        small(
            KineticPotential(HillObstacle(1.0)),
            c_transform_solver=LBFGSCTransform(max_iter=5),
            max_iter=2,
        ),
    )
    grid = {
        "lagrangianot__lagrangian__potential__strength": [0.1, 1.0],
        "lagrangianot__c_transform_solver__proximity": [0.0, 1.0],
    }
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(pipe, grid, cv=DomainKFold(2)).fit(stacked, sample_domain=domain)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    wholes = {"lagrangian": [Kinetic(), RiemannianKinetic(ConstantMetric(MATRIX))]}
    assert np.isfinite(GridSearchCV(small(max_iter=2), wholes, cv=2).fit(X).best_score_)


# --- bad input -------------------------------------------------------------------------


def nan_at_the_right(x):
    return torch.where(x[..., 0] > 2.0, torch.nan, -x.square().sum(-1))


def indefinite(x):
    matrix = torch.eye(2, dtype=x.dtype).expand(*x.shape, 2).clone()
    matrix[..., 1, 1] = 1.0 - x[..., 0]
    return matrix


@pytest.mark.parametrize("lagrangian, match", [
    (KineticPotential(nan_at_the_right), "nan_at_the_right"),
    (RiemannianKinetic(indefinite), "not positive definite"),
    (lambda x, v, t: v.sum(), "shape"),
    (lambda x, v, t: v[..., 0] * torch.inf, "inf at row"),
])  # fmt: skip
def test_lagrangians_that_are_not_defined(monkeypatch, lagrangian, match):
    def train(*args, **options):
        raise AssertionError("trained")

    monkeypatch.setattr(fit, "train", train)
    X, Y = gaussians(100)
    with pytest.raises(ValueError, match=match):
        small(lagrangian).fit(X, Y)


@pytest.mark.parametrize("params, match", [
    ({"lagrangian": 3}, "lagrangian"),
    ({"lagrangian": KineticPotential}, "lagrangian"),
    ({"lagrangian": KineticPotential(HillObstacle(strength="high"))}, "strength"),
    ({"path": SplinePath(0)}, "n_knots"),
    ({"c_transform_solver": LBFGSCTransform(max_iter=0)}, "max_iter"),
    ({"annealing": Annealing(share=2.0)}, "share"),
    ({"geodesic_solver": LBFGSCTransform()}, "geodesic_solver"),
])  # fmt: skip
def test_parameters_are_checked_before_any_work(params, match):
    X, Y = gaussians(50)
    with pytest.raises(ValueError, match=match):
        small(**params).fit(X, Y)


def test_nested_parameters_of_nothing():
    with pytest.raises(ValueError, match="LBFGSCTransform"):
        LagrangianOT().set_params(c_transform_solver__tol=1.0)


# --- going on --------------------------------------------------------------------------


def test_partial_fit_goes_on():
    X, Y = gaussians(256)
    transport = small(KineticPotential(HillObstacle(1.0)))
    for _ in range(3):
        transport.partial_fit(X, Y)
    assert transport.n_iter_ == 6
    assert np.isfinite(transport.transform(X)).all()


@pytest.mark.parametrize(
    "change", [{"lagrangian": Kinetic()}, {"lagrangian__potential__strength": 5.0}]
)
def test_training_does_not_go_on_with_another_lagrangian(change):
    X, Y = gaussians(64)
    transport = small(KineticPotential(HillObstacle(1.0)), warm_start=True, max_iter=1).fit(X, Y)
    before = transport.transform(X)
    with pytest.raises(ValueError, match="lagrangian was KineticPotential"):
        transport.set_params(**change).fit(X, Y)
    assert_array_equal(transport.transform(X), before)


def test_end_points_are_looked_for_where_new_rows_are():
    X, Y = gaussians(256)
    transport = small(warm_start=True, max_iter=60).fit(X, Y)
    with pytest.warns(UserWarning, match="target rows are .* times as far"):
        moved = transport.fit(X, Y + [6.0, 0.0]).transform(X)
    assert moved[:, 0].max() > Y[:, 0].max() + 4.0
    stream = small().partial_fit(X[:5], Y[:5])
    before = stream._learned.target_bounds
    stream.partial_fit(X, Y)
    assert (stream._learned.target_bounds[1] >= before[1]).all()
    assert (stream._learned.target_bounds[1] > before[1]).any()


def test_no_row_of_a_batch_is_left_alone():
    seen = []

    class Watched(EnergyAugmentation):
        def evaluate(self, images, y):
            seen.append((len(images), len(y)))
            return super().evaluate(images, y)

    X, Y = gaussians(129)
    small(augmentation=Watched(), batch_size=129, max_iter=1).fit(X, Y)
    assert min(min(pair) for pair in seen) >= 64


def test_random_pairs_are_not_neighbours():
    rows = torch.arange(100.0)[:, None]
    from skot.numerics.splines import path_basis

    framed = FramedLagrangian(Kinetic(), torch.zeros(1), 1.0)
    x, y, _ = solved_pairs(framed, rows, rows, path_basis(0))
    assert ((x - y).abs() > 10.0).double().mean() > 0.5


def test_checkpoints_resume(tmp_path):
    from skot.training import Checkpoint

    X, Y = gaussians(128)
    lagrangian = KineticPotential(HillObstacle(1.0))
    whole = small(lagrangian, max_iter=8).fit(X, Y)
    path = tmp_path / "run.pt"
    kept = small(lagrangian, max_iter=8, checkpoint=Checkpoint(path, every=3)).fit(X, Y)
    again = small(lagrangian, max_iter=8, checkpoint=Checkpoint(path, every=3)).fit(X, Y)
    for other in (kept, again):
        assert_array_equal(other.transform(X), whole.transform(X))


def test_early_stopping_looks_at_held_out_rows():
    from skot.training import EarlyStopping

    X, Y = gaussians(200)
    stopping = EarlyStopping(check_every=2, patience=1)
    transport = small(max_iter=40, stopping=stopping).fit(X, Y)
    assert transport.converged_
    assert transport.n_iter_ < 40


def test_a_class_of_settings():
    X, Y = gaussians(128)
    for params in (
        {"preconditioning": "identity"},
        {"augmentation": EnergyAugmentation(0.0)},
        {"reference": "uniform"},
    ):
        assert np.isfinite(small(**params).fit(X, Y).transform(X)).all()


# --- pure functions --------------------------------------------------------------------


def test_frames_change_units_only():
    lagrangian = KineticPotential(BoxObstacle())
    mean = torch.tensor([0.3, -0.2], dtype=torch.float64)
    framed = FramedLagrangian(lagrangian, mean, 2.0, 5.0)
    x, v = torch.randn(2, 6, 2, dtype=torch.float64)
    t = torch.zeros(6, dtype=torch.float64)
    assert_allclose(framed(x, v, t), lagrangian(mean + 2.0 * x, 2.0 * v, t) / 5.0)
    soft = framed.annealed(0.5, 10.0)
    assert soft.lagrangian.potential.strength == pytest.approx(1.8)
    assert framed.annealed(1.0, 1.0) is framed


def test_solved_pairs_are_costs():
    x, y = (torch.from_numpy(rows) for rows in gaussians(50))
    framed = FramedLagrangian(Kinetic(), torch.zeros(2, dtype=torch.float64), 1.0)
    from skot.numerics.splines import path_basis

    one, other, costs = solved_pairs(framed, x, y, path_basis(0))
    assert_allclose(costs, 0.5 * (one - other).square().sum(1))


def test_the_best_path_counts_row_by_row():
    from skot.numerics.splines import path_basis

    x, y = torch.zeros(2, 2), torch.ones(2, 2)
    paths = [torch.zeros(2, 2, 3), torch.zeros(2, 2, 3)]
    paths[0][0], paths[1][1] = 1.0, 1.0
    best = _least_action(Kinetic(), x, y, paths, path_basis(3).to(x))
    assert best.abs().max() == 0.0


def test_points_are_spread_out():
    points = torch.tensor([[0.0], [0.1], [5.0], [0.2], [-4.0]])
    assert _spread_out(points, 3).tolist() == [0, 2, 4]
    assert len(_spread_out(points, 9)) == 5
