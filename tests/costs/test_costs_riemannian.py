"""Riemannian metrics: the matrices, their quadratic forms, and what is not a metric."""

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone

from skot.costs import (
    CircleMetric,
    ConformalMetric,
    ConstantMetric,
    CrossingPathsMetric,
    HyperbolicHalfPlane,
    MassSplittingMetric,
    MetricTensor,
    RiemannianKinetic,
    StereographicSphere,
    check_lagrangian,
)


def growing(x):
    return 1.0 + x[..., 0] ** 2


def one_by_one(matrix):
    """Evaluate a formula for one point at many."""
    return lambda x: np.stack([matrix(row) for row in x])


def along(e, cheap=1e-3):
    return np.eye(2) - (1 - cheap) * np.outer(e, e)


def x_paths(x):
    a = 1.25 * np.tanh(max(x[0] * x[1], 0.0))
    b = -1.25 * np.tanh(max(-x[0] * x[1], 0.0))
    return along((a * np.array([1, 1]) + b * np.array([1, -1])) / (1.25 * np.sqrt(2)))


CASES = [
    (ConstantMetric(((2.0, 0.5), (0.5, 1.0))), lambda x: np.array([[2.0, 0.5], [0.5, 1.0]])),
    (ConformalMetric(growing), lambda x: (1 + x[0] ** 2) * np.eye(2)),
    (HyperbolicHalfPlane(), lambda x: np.eye(2) / x[1] ** 2),
    (StereographicSphere(), lambda x: 4 / (1 + x @ x) ** 2 * np.eye(2)),
    (CircleMetric(), lambda x: along(np.array([-x[1], x[0]]) / np.linalg.norm(x))),
    (MassSplittingMetric(), lambda x: along(np.array([1, np.sign(x[1])]) / np.sqrt(2))),
    (CrossingPathsMetric(), x_paths),
]
IDS = [type(metric).__name__ for metric, _ in CASES]
CHEAP = [CircleMetric, MassSplittingMetric, CrossingPathsMetric]


def rows(metric, n=400, dtype=torch.float64):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2.0, 2.0, (n, 2))
    if isinstance(metric, HyperbolicHalfPlane):
        x[:, 1] = 0.1 + np.abs(x[:, 1])
    return torch.tensor(x, dtype=dtype), torch.tensor(rng.standard_normal((n, 2)), dtype=dtype)


@pytest.mark.parametrize(("metric", "formula"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_formula(metric, formula, dtype):
    x, v = rows(metric, dtype=dtype)
    expected = one_by_one(formula)(x.double().numpy())
    tolerance = 1e-10 if dtype == torch.float64 else 2e-6
    matrix, form = metric(x), metric.quadratic_form(x, v)
    assert matrix.dtype == form.dtype == dtype
    assert_allclose(matrix, expected, rtol=tolerance, atol=tolerance)
    contracted = np.einsum("ni,nij,nj->n", v.double(), expected, v.double())
    assert_allclose(form, contracted, rtol=30 * tolerance, atol=tolerance)
    assert_allclose(metric(x).mT, matrix, rtol=0, atol=0)
    assert torch.linalg.eigvalsh(matrix.double()).min() > 0


@pytest.mark.parametrize("cls", CHEAP)
def test_eigenvalues_of_the_cheap_direction(cls):
    x, _ = rows(cls())
    # Far out: tanh(16) is 1, and the smoothing of the circle metric at the origin is not felt.
    x = 4 * torch.sign(x)
    eigenvalues = torch.linalg.eigvalsh(cls(cheap=0.02)(x))
    assert_allclose(eigenvalues, np.broadcast_to([0.02, 1.0], eigenvalues.shape), rtol=1e-9)


@pytest.mark.parametrize("cls", CHEAP)
def test_price_along_the_cheap_direction_keeps_its_digits_in_float32(cls):
    x, _ = rows(cls(), dtype=torch.float64)
    x = 4 * torch.sign(x) if cls is CrossingPathsMetric else x
    direction = torch.linalg.eigh(cls()(x)).eigenvectors[..., 0]
    form = cls().quadratic_form(x.float(), direction.float())
    assert_allclose(form, 1e-3, rtol=1e-3)


@pytest.mark.parametrize(("metric", "formula"), CASES, ids=IDS)
def test_leading_dimensions(metric, formula):
    x, v = rows(metric, 24)
    shape = (2, 3, 4, 2)
    torch.testing.assert_close(metric(x.reshape(shape)), metric(x).reshape(*shape, 2))
    form = metric.quadratic_form(x, v)
    torch.testing.assert_close(
        metric.quadratic_form(x.reshape(shape), v.reshape(shape)), form.reshape(2, 3, 4)
    )
    torch.testing.assert_close(metric.quadratic_form(x[0], v[0]), form[0])
    assert metric.in_domain(x.reshape(shape)).shape == (2, 3, 4)


@pytest.mark.parametrize(("metric", "formula"), CASES, ids=IDS)
def test_gradient_in_x_agrees_with_differences(metric, formula):
    x, v = rows(metric, 200)
    x = x.requires_grad_(True)
    gradient = torch.autograd.grad(metric.quadratic_form(x, v).sum() + 0.0 * x.sum(), x)[0]
    step = 1e-6
    for k in range(2):
        shift = step * np.eye(2)[k]
        ends = [one_by_one(formula)(x.detach().numpy() + s * shift) for s in (1, -1)]
        difference = np.einsum("ni,nij,nj->n", v, (ends[0] - ends[1]) / (2 * step), v)
        assert_allclose(gradient[:, k], difference, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("metric", "formula"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_derivatives_are_finite_at_singular_places(metric, formula, dtype):
    x = torch.tensor([[0.0, 0.0], [1e-20, 0.0], [0.0, -1.0], [1.0, 0.0], [50.0, 50.0]], dtype=dtype)
    x.requires_grad_(True)
    v = torch.ones(5, 2, dtype=dtype, requires_grad=True)
    for value in (metric.quadratic_form(x, v), (metric(x) @ v.unsqueeze(-1)).sum((-2, -1))):
        assert torch.isfinite(value).all()
        gradients = torch.autograd.grad(value.sum() + 0.0 * x.sum(), (x, v), create_graph=True)
        for gradient in gradients:
            assert torch.isfinite(gradient).all()
        second = torch.autograd.grad(sum(g.sum() for g in gradients) + 0.0 * x.sum(), x)
        assert torch.isfinite(second[0]).all()


def test_circle_metric_is_the_identity_at_the_origin():
    x, v = torch.zeros(1, 2).double(), torch.tensor([[3.0, 4.0]]).double()
    assert_allclose(CircleMetric()(x)[0], np.eye(2))
    assert_allclose(CircleMetric().quadratic_form(x, v), 25.0)


@pytest.mark.parametrize("cls", [MassSplittingMetric, CrossingPathsMetric])
def test_matrix_and_form_agree_on_the_axes(cls):
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]).double()
    v = torch.tensor([1.0, -3.0]).double().expand(5, 2)
    contracted = torch.einsum("ni,nij,nj->n", v, cls()(x), v)
    torch.testing.assert_close(cls().quadratic_form(x, v), contracted)


def test_forms_of_known_paths():
    # A horizontal line at height 2 in the half-plane, a quarter turn on the circle.
    v = torch.tensor([[4.0, 0.0]]).double()
    form = HyperbolicHalfPlane().quadratic_form(torch.tensor([[1.0, 2.0]]).double(), v)
    assert_allclose(form, 4.0)
    angle = torch.linspace(0.0, np.pi / 2, 50).double()
    x = torch.stack([angle.cos(), angle.sin()], 1)
    v = np.pi / 2 * torch.stack([-angle.sin(), angle.cos()], 1)
    assert_allclose(CircleMetric(cheap=0.04).quadratic_form(x, v), 0.04 * (np.pi / 2) ** 2)


def test_half_plane_has_a_floor():
    metric = HyperbolicHalfPlane()
    x = torch.tensor([[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]])
    assert metric.in_domain(x).tolist() == [False, False, True]
    form = metric.quadratic_form(x, torch.ones(3, 2))
    assert torch.isfinite(form).all()
    assert form[:2].min() > 1e11


def test_half_space_and_sphere_in_three_dimensions():
    x = torch.tensor([[0.5, -1.0, 2.0]]).double()
    assert_allclose(HyperbolicHalfPlane()(x)[0], np.eye(3) / 4)
    assert_allclose(StereographicSphere()(x)[0], 4 / 6.25**2 * np.eye(3))


@pytest.mark.parametrize(("metric", "formula"), CASES, ids=IDS)
def test_copies(metric, formula):
    x, _ = rows(metric, 20)
    for copied in (clone(metric), pickle.loads(pickle.dumps(metric))):
        assert repr(copied) == repr(metric)
        torch.testing.assert_close(copied(x), metric(x))
        copied.validate()


@pytest.mark.parametrize("cls", CHEAP)
@pytest.mark.parametrize("cheap", [0.0, -1.0, 1.5, "a"])
def test_price_is_validated(cls, cheap):
    cls(cheap=1.0).validate()
    with pytest.raises(ValueError, match="cheap"):
        cls(cheap=cheap).validate()
    with pytest.raises(ValueError, match=rf"{cls.__name__} is defined on the plane.*Got 3"):
        cls()(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (((1.0, 2.0), (2.0, 1.0)), "positive definite. Its smallest eigenvalue is -1"),
        (((1.0, 2.0), (0.0, 1.0)), "symmetric"),
        (((1.0, 2.0),), "square"),
        (((1.0, np.nan), (np.nan, 1.0)), "finite"),
        (((1.0, 2.0), (2.0,)), "rows of numbers"),
        ((1.0, 2.0), "matrix"),
    ],
)
def test_constant_matrix_is_validated(matrix, message):
    with pytest.raises(ValueError, match=message):
        ConstantMetric(matrix).validate()
    with pytest.raises(ValueError, match=message):
        RiemannianKinetic(ConstantMetric(matrix)).validate()


def test_constant_matrix_has_as_many_rows_as_features():
    with pytest.raises(ValueError, match="2 rows.* 3 features"):
        ConstantMetric(((1.0, 0.0), (0.0, 1.0)))(torch.zeros(5, 3))


class Indefinite(MetricTensor):
    """Positive definite only where the first coordinate is positive."""

    def __call__(self, x):
        return torch.diag_embed(torch.stack([x[..., 0], torch.ones_like(x[..., 0])], -1))


def skewed(x):
    matrix = torch.eye(2, dtype=x.dtype).repeat(*x.shape[:-1], 1, 1)
    return matrix + torch.tensor([[0.0, 0.1], [0.0, 0.0]], dtype=x.dtype) * (x[..., :1, None] > 1)


def undefined(x):
    return torch.log(x[..., 0])[..., None, None] * torch.eye(2, dtype=x.dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (
            Indefinite(),
            r"Indefinite is not positive definite at row 2, x = \[-0\.25, 1\.0\].*is -0\.25",
        ),
        (skewed, r"skewed is not symmetric at row 3, x = \[3\.0, 0\.0\]"),
        (undefined, r"undefined is not finite at row 2, x = \[-0\.25, 1\.0\]"),
        (HyperbolicHalfPlane(), r"HyperbolicHalfPlane is not defined at row 3, x = \[3\.0, 0\.0\]"),
        (lambda x: x, r"one matrix for each point, shape \(4, 2, 2\).*Got shape \(4, 2\)"),
        (lambda x: 1.0, "must return a tensor. Got float"),
    ],
)
def test_what_is_not_a_metric_is_named_with_its_place(metric, message, dtype):
    x = torch.tensor([[1.0, 1.0], [0.5, 2.0], [-0.25, 1.0], [3.0, 0.0]], dtype=dtype)
    if metric is skewed or isinstance(metric, HyperbolicHalfPlane):
        x = x.abs()
    with pytest.raises(ValueError, match=message):
        check_lagrangian(RiemannianKinetic(metric), x, torch.ones_like(x), torch.zeros(4))


@pytest.mark.parametrize(("metric", "formula"), CASES, ids=IDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_metrics_pass_their_own_check(metric, formula, dtype):
    x, v = rows(metric, 60, dtype)
    lagrangian = RiemannianKinetic(metric)
    check_lagrangian(lagrangian, x.reshape(6, 10, 2), v.reshape(6, 10, 2), torch.rand(10))


def test_matrix_alone_is_enough():
    class OnlyMatrix(MetricTensor):
        def __call__(self, x):
            return CircleMetric()(x)

    x, v = rows(CircleMetric())
    expected = CircleMetric().quadratic_form(x, v)
    torch.testing.assert_close(OnlyMatrix().quadratic_form(x, v), expected)
    lagrangian = RiemannianKinetic(lambda x: CircleMetric()(x))
    torch.testing.assert_close(lagrangian(x, v, torch.zeros(())), 0.5 * expected)
    with pytest.raises(NotImplementedError, match="MetricTensor does not implement"):
        MetricTensor()(x)
