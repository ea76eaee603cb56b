"""One small problem in NumPy: the same answers, the same rules, one thread."""

import threading

import numpy as np
import pytest
import torch
from _problems import random_pair, up_to_a_constant

from skot.costs import PrecomputedCost, SquaredEuclidean, check_cost
from skot.numerics.anderson import AndersonAcceleration
from skot.numerics.single_anderson import SingleAnderson
from skot.solvers import sinkhorn
from skot.solvers._entropic.acceleration import SafeguardedAcceleration
from skot.solvers._entropic.arrival import Arrival
from skot.solvers._entropic.lean import solve as lean_module
from skot.solvers._entropic.lean.kernel import LeanKernel, is_shared
from skot.solvers._entropic.lean.problem import plain_arrays, read_lean
from skot.solvers._entropic.lean.solve import SafeguardedStep
from skot.solvers._entropic.lean_logits import LeanLogits
from skot.solvers._entropic.settings import Settings
from skot.utils._threads import SerialBlas, _libraries

SETTINGS = Settings(0.1, 1e-9, 15, True, "auto", None)


class NotPlain(SquaredEuclidean):
    """The same cost, which the short way does not know."""


def without_lean(monkeypatch):
    monkeypatch.setattr(Settings, "allow_lean", lambda self, n_entries: False)


# The same answers


@pytest.mark.parametrize(
    "n, m, epsilon",
    [(1, 1, 0.1), (1, 7, 0.1), (30, 30, 1.0), (30, 30, 0.01), (60, 45, 0.02), (130, 150, 0.1)],
)
def test_three_ways_to_one_answer(n, m, epsilon, monkeypatch):
    x, y, a, b = random_pair(n, m, 3)
    options = {"epsilon": epsilon, "tol": 1e-10, "max_iter": 20_000}
    plain = sinkhorn(x, y, a, b, **options)
    general_reading = sinkhorn(x, y, a, b, cost=NotPlain(), **options)
    without_lean(monkeypatch)
    general = sinkhorn(x, y, a, b, **options)
    for result in (plain, general_reading, general):
        assert result.converged
        assert float(result.dual_value) == pytest.approx(float(general.dual_value), rel=1e-9)
        gap = up_to_a_constant(result.g, b) - up_to_a_constant(general.g, b)
        assert gap.abs().max() <= 1e-6
        torch.testing.assert_close(
            result.plan.toarray(), general.plan.toarray(), rtol=1e-6, atol=1e-12
        )
        assert result.cost_value == pytest.approx(general.cost_value, rel=1e-7)


@pytest.mark.parametrize("size", [1e-90, 1e-60, 1.0, 1e60, 1e90])
def test_clouds_of_every_size(size):
    x, y, a, b = random_pair(20, 16, 2)
    result = sinkhorn(size * x, size * y, a, b, epsilon=0.1 * size**2, tol=1e-9)
    expected = sinkhorn(x, y, a, b, epsilon=0.1, tol=1e-9)
    assert result.converged
    torch.testing.assert_close(result.f / size**2, expected.f, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", [np.float64, np.float32, torch.float64, torch.float32])
def test_arrays_and_tensors_are_read_without_a_copy_being_kept(kind):
    x, y, a, b = random_pair(20, 16, 2)
    inputs = [t.to(kind) if isinstance(kind, torch.dtype) else t.numpy().astype(kind)
              for t in (x, y, a, b)]  # fmt: skip
    assert plain_arrays(None, *inputs, SETTINGS) is not None
    before = [t.copy() if isinstance(t, np.ndarray) else t.clone() for t in inputs]
    result = sinkhorn(*inputs, epsilon=0.1, tol=1e-9)
    plan = result.plan.toarray()
    for values, kept in zip(inputs, before, strict=True):
        assert (values == kept).all()
        values[:] = 7.0
    torch.testing.assert_close(result.plan.toarray(), plan, rtol=0, atol=0)


def test_what_is_not_plain_takes_the_general_way():
    x, y, a, b = random_pair(20, 16, 2)
    plain = (x.numpy(), y.numpy(), a.numpy(), b.numpy())
    zero, negative = plain[2].copy(), plain[3].copy()
    zero[3], negative[2] = 0.0, -1.0
    not_finite = plain[0].copy()
    not_finite[3, 1] = np.nan
    cases = [
        ("euclidean", *plain),
        (NotPlain(), *plain),
        (None, plain[0].tolist(), *plain[1:]),
        (None, plain[0].astype(int), *plain[1:]),
        (None, plain[0], plain[1][:, :1], *plain[2:]),
        (None, plain[0][:0], *plain[1:]),
        (None, x.clone().requires_grad_(True), *plain[1:]),
        (None, plain[0], plain[1], zero, plain[3]),
        (None, plain[0], plain[1], plain[2], negative),
        (None, plain[0], plain[1], plain[2], plain[3][:-1]),
        (None, plain[0], plain[1], np.stack([plain[2]] * 2), plain[3]),
    ]
    assert plain_arrays(None, *plain, SETTINGS) is not None
    for case in cases:
        assert plain_arrays(*case, SETTINGS) is None
    for points in (not_finite, np.zeros_like(not_finite), np.full_like(not_finite, 1e200)):
        assert read_lean(points, points, plain[2], plain[2]) is None


# The same rules


def test_the_same_anderson_steps():
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(12, generator=generator, dtype=torch.float64)
    matrix = 0.9 * torch.linalg.qr(torch.randn(12, 12, generator=generator).double())[0]
    batch, single = AndersonAcceleration(weights[None], 5), SingleAnderson(weights.numpy(), 5)
    h = torch.ones(12, dtype=torch.float64)
    for i in range(20):
        image = matrix @ h + 1.0
        expected = batch.step(h[None], (image - h)[None])[0]
        found = single.step(image.numpy(), (image - h).numpy())
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-7, atol=1e-9)
        h = expected
        if i == 11:
            batch.restart()
            single.restart()


@pytest.mark.parametrize("memory", [0, 5])
@pytest.mark.parametrize("seed", range(8))
def test_the_same_safeguards(memory, seed):
    # Residuals that shrink, stay and jump, so that steps are kept, cut and taken back.
    rng = np.random.default_rng(seed)
    weights = rng.random(12) + 0.1
    batch = SafeguardedAcceleration(torch.from_numpy(weights)[None], memory)
    single = SafeguardedStep(weights, memory)
    h, size, n_returns = np.zeros(12), 1.0, 0
    for _ in range(250):
        size *= rng.choice([0.7, 1.0, 1.0, 1.2, 40.0], p=[0.4, 0.2, 0.2, 0.15, 0.05])
        size = min(size, 1e3)
        residual = size * rng.standard_normal(12)
        expected = batch.step(torch.from_numpy(h)[None], torch.from_numpy(residual)[None])
        found = single.step(h, h + residual)
        np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-6, atol=1e-7 * size)
        n_returns += memory > 0 and bool(np.abs(found - h - residual).max() > 1e-9)
        h = found
    assert memory == 0 or n_returns > 10


def test_steps_stay_near_the_plain_ones():
    # A direction that the residual hardly sees: the extrapolation has no bounds.
    weights = np.array([1.0, 1e-30])
    step = SafeguardedStep(weights, 5)
    h = np.zeros(2)
    for i in range(20):
        plain = h + np.array([0.5**i, 1.0])
        h = step.step(h, plain)
        assert np.abs(h - plain).max() <= 30.0


def test_not_a_number_is_no_arrival():
    arrival = Arrival(1e-3, 10.0)
    assert arrival.reached(1e-4, 1e-3)
    for pair in ((np.nan, 0.0), (0.0, np.nan), (np.inf, 0.0), (0.0, np.inf), (2e-3, 0.0)):
        assert not arrival.reached(*pair)
    errors, distances = torch.tensor([1e-4, torch.nan]), torch.tensor([torch.nan, 0.0])
    assert not arrival.reached(errors, distances).any()


@pytest.mark.parametrize("amplitude", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("epsilon", [0.5, 0.01])
def test_wild_starts_end_at_the_solution(amplitude, epsilon):
    x, y, a, b = random_pair(40, 35, 2)
    start = amplitude * torch.randn(35, generator=torch.Generator().manual_seed(1)).double()
    result = sinkhorn(x, y, a, b, epsilon=epsilon, tol=1e-8, initializer=start)
    expected = sinkhorn(x, y, a, b, epsilon=epsilon, tol=1e-8)
    assert result.converged
    error = float((result.plan.marginals()[1] - b).abs().sum())
    assert error <= 1.1e-8
    assert float(result.dual_value) == pytest.approx(float(expected.dual_value), rel=1e-7)


def test_a_block_of_passes_is_passes_one_by_one():
    problem = random_pair(30, 25, 2)
    lean = read_lean(*(part.numpy() for part in problem))
    kernel, other = (LeanKernel(lean.costs, lean.a, lean.b) for _ in range(2))
    start = np.zeros(25)
    kernel.absorb(start, 0.1)
    other.absorb(start, 0.1)
    h = start
    for _ in range(4):
        one = kernel.passes(h, 1)
        h = one.plain
    block = other.passes(start, 4)
    np.testing.assert_allclose(block.h, one.h, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(block.plain, one.plain, rtol=1e-12, atol=1e-12)
    assert block.error == pytest.approx(one.error, rel=1e-10)
    np.testing.assert_allclose(other.row_log(), kernel.row_log(), rtol=1e-12)


def test_plain_sinkhorn_is_seen_pass_by_pass():
    problem = random_pair(20, 16, 2)
    result = sinkhorn(*problem, epsilon=0.5, anderson_memory=0)
    assert len(result.errors) == result.n_iter
    assert len(sinkhorn(*problem, epsilon=0.5).errors) < result.n_iter


@pytest.mark.parametrize("relaxed", [False, True])
def test_the_ends_of_a_block_are_exact(relaxed):
    x, y, a, b = random_pair(30, 25, 2)
    lean = read_lean(*(part.numpy() for part in (x, y, a, b)))
    kernel = LeanKernel(lean.costs, lean.a, lean.b)
    start = np.linspace(-1.0, 1.0, 25)
    kernel.absorb(np.zeros(25), 0.1)
    reached = kernel.passes(start, 5, relaxed)
    plan = np.exp((2.0 * lean.x @ lean.y.T - lean.y_squares) / 0.1 + reached.h) * lean.b
    plan *= (lean.a / plan.sum(1))[:, None]
    assert reached.error == pytest.approx(np.abs(plan.sum(0) - lean.b).sum(), rel=1e-9)
    half_step = reached.h + np.log(lean.b / plan.sum(0))
    np.testing.assert_allclose(reached.plain, half_step, rtol=1e-9, atol=1e-9)
    again = kernel.passes(start, 5, relaxed)  # a function of the start alone
    np.testing.assert_array_equal(again.plain, reached.plain)


def test_longer_steps_arrive_earlier():
    x, y, a, b = random_pair(60, 50, 2)
    lean = read_lean(*(part.numpy() for part in (x, y, a, b)))
    kernel = LeanKernel(lean.costs, lean.a, lean.b)
    kernel.absorb(np.zeros(50), 0.1)
    plain, relaxed = (kernel.passes(np.zeros(50), 20, way).error for way in (False, True))
    assert relaxed < 0.3 * plain


def test_repeated_rows_take_the_way_of_weights_at_every_size():
    x, y, a, b = random_pair(290, 260, 2)
    counts = np.random.RandomState(0).randint(1, 4, size=290)
    options = {"epsilon": 0.05, "tol": 1e-4, "dtype": torch.float64}
    weighted = sinkhorn(x, y, counts / counts.sum(), b, **options)
    repeated = sinkhorn(np.repeat(x.numpy(), counts, axis=0), y, None, b, **options)
    assert len(repeated.f) > 500
    assert repeated.n_iter == weighted.n_iter
    torch.testing.assert_close(repeated.g, weighted.g, rtol=1e-8, atol=1e-8)


def test_exact_half_steps_where_the_exponentials_are_lost():
    generator = np.random.default_rng(0)
    cost = generator.random((6, 5))
    cost[:, 2] += 2000.0
    a, b = np.full(6, 1 / 6), np.full(5, 0.2)
    kernel = LeanKernel(LeanLogits.of_matrix(cost), a, b)
    kernel.absorb(np.zeros(5), 1.0)
    assert kernel.is_cut
    assert kernel.passes(np.zeros(5), 1).lost
    result = sinkhorn(a=a, b=b, cost=PrecomputedCost(cost), epsilon=1.0, tol=1e-10)
    assert result.converged
    marginal = result.plan.marginals()[1].numpy()
    np.testing.assert_allclose(marginal, b, atol=1e-10)


# Float32


@pytest.fixture
def precisions(monkeypatch):
    """The precisions of the kernels that a solve makes."""
    made = []

    class Watched(LeanKernel):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self.precision.dtype)

    monkeypatch.setattr(lean_module, "LeanKernel", Watched)
    return made


MEDIUM = random_pair(400, 380, 3, seed=2)


@pytest.mark.parametrize("share", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("cost", [None, "euclidean"])
def test_easy_tolerances_of_medium_problems_are_met_in_float32(share, cost, precisions):
    unit = check_cost(cost).scale(*MEDIUM)
    options = {"epsilon": share * unit, "cost": cost}
    result = sinkhorn(*MEDIUM, tol=1e-3, **options)
    assert precisions == [np.float32]
    assert result.converged
    error = float((result.plan.marginals()[1] - MEDIUM.b).abs().sum())
    assert error <= 1e-3
    assert result.marginal_error == pytest.approx(error, rel=0.02, abs=5e-6)
    exact = sinkhorn(*MEDIUM, tol=1e-8, **options)
    assert precisions[1:] == [np.float64]
    gap = float(exact.dual_value - result.dual_value)
    assert -1e-6 * unit <= gap <= 1e-3 * 30.0 * unit


def test_when_float32_is_not_asked_for(precisions):
    x, y, a, b = MEDIUM
    light = a.clone()
    light[3] = 1e-17
    sinkhorn(x, y, light, b, epsilon=1.0, tol=1e-3)
    sinkhorn(*MEDIUM, epsilon=1.0, tol=1e-3, dtype=torch.float64)
    sinkhorn(*MEDIUM, epsilon=1.0, tol=1e-4)
    sinkhorn(x[:100], y, None, b, epsilon=1.0, tol=1e-3)
    assert precisions == [np.float64] * 4


def test_what_float32_does_not_reach_is_finished_in_float64(precisions, monkeypatch):
    monkeypatch.setattr(lean_module, "_SLOW_PASSES", 2)
    result = sinkhorn(*MEDIUM, epsilon=0.1, tol=1e-3)
    assert precisions == [np.float32, np.float64]
    assert result.converged


# One thread


def test_blas_threads_are_put_back():
    found = [library.num_threads for library in _libraries()]
    assert found
    for library in _libraries():
        library.set_num_threads(2)
    try:
        with SerialBlas(True):
            inside = [library.num_threads for library in _libraries()]
            with SerialBlas(True), SerialBlas(False):
                pass
            still = [library.num_threads for library in _libraries()]
        assert inside == still == [1] * len(inside)
        assert [library.num_threads for library in _libraries()] == [2] * len(inside)
        with SerialBlas(False):
            assert [library.num_threads for library in _libraries()] == [2] * len(inside)
        with pytest.raises(RuntimeError, match="inside"), SerialBlas(True):
            raise RuntimeError("inside")
        x, y, a, b = random_pair(120, 110, 2)
        assert is_shared(120, 110, 2)
        threads = [
            threading.Thread(target=lambda: sinkhorn(x, y, a, b, epsilon=0.05)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [library.num_threads for library in _libraries()] == [2] * len(inside)
    finally:
        for library, n_threads in zip(_libraries(), found, strict=True):
            library.set_num_threads(n_threads)
