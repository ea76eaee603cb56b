"""Checks that every transport has to pass, on top of scikit-learn's `check_estimator`.

They are meant for the authors of transports, inside and outside this package.
"""

import copy
import functools
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from unittest import SkipTest

import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skot.utils._stack import stack_domains

__all__ = ["check_transport", "parametrize_with_transport_checks", "yield_transport_checks"]


class _Problem(NamedTuple):
    X: np.ndarray
    Y: np.ndarray


def _gaussian_problem(n_source: int = 60, n_target: int = 45) -> _Problem:
    """Two Gaussians that differ by a shift, with sample means moved to the exact ones."""
    rng = np.random.RandomState(0)
    X, Y = rng.standard_normal((n_source, 2)), rng.standard_normal((n_target, 2))
    return _Problem(X - X.mean(axis=0), Y - Y.mean(axis=0) + [3.0, -2.0])


def _prepare(estimator: Any) -> Any:
    """Clone with a fixed seed, and without class regularisation, which changes training rows."""
    estimator = clone(estimator)
    params = estimator.get_params(deep=False)
    fixed = {"random_state": 0, "class_reg": 0.0, "verbose": False}
    return estimator.set_params(**{key: fixed[key] for key in fixed if key in params})


def _raises_value_error(call: Callable[[], Any], message: str) -> None:
    try:
        call()
    except ValueError:
        return
    raise AssertionError(f"A ValueError was expected: {message}.")


def check_target_of_another_length(estimator: Any) -> None:
    """`fit(X, Y)` takes a target with more or fewer rows than the source."""
    X, Y = _gaussian_problem()
    for target in (Y[:20], np.concatenate([Y, Y + 0.1])):
        moved = _prepare(estimator).fit(X, target).transform(X)
        assert moved.shape == X.shape
        assert np.isfinite(moved).all()


def check_target_equals_stacked_form(estimator: Any) -> None:
    """`fit(X, Y)` and `fit(stacked, sample_domain=d)` give the same map."""
    X, Y = _gaussian_problem()
    stacked, _, sample_domain = stack_domains(X, Y)
    expected = _prepare(estimator).fit(X, Y).transform(X)
    fitted = _prepare(estimator).fit(stacked, sample_domain=sample_domain)
    assert_allclose(fitted.transform(X), expected, rtol=1e-6, atol=1e-6)
    # Any sign will do, and several values of a sign are pooled.
    pooled = np.where(sample_domain > 0, np.arange(len(stacked)), -2)
    pooled[pooled > 0] %= 2
    fitted = _prepare(estimator).fit(stacked, sample_domain=pooled)
    assert_allclose(fitted.transform(X), expected, rtol=1e-6, atol=1e-6)


def check_target_rows_stay(estimator: Any) -> None:
    """With `sample_domain`, target rows come back as they are, every row in its place."""
    X, Y = _gaussian_problem()
    stacked, _, sample_domain = stack_domains(X, Y)
    is_source = sample_domain >= 0
    transport = _prepare(estimator).fit(stacked, sample_domain=sample_domain)
    moved = transport.transform(stacked, sample_domain=sample_domain)
    assert_array_equal(moved[~is_source], stacked[~is_source])
    assert_allclose(moved[is_source], transport.transform(X), rtol=1e-6, atol=1e-8)
    both = _prepare(estimator).fit_transform(stacked, sample_domain=sample_domain)
    assert_allclose(both, moved, rtol=1e-6, atol=1e-8)


def check_wrong_width(estimator: Any) -> None:
    """Rows of another width are refused, as a target and as new rows."""
    X, Y = _gaussian_problem()
    _raises_value_error(
        lambda: _prepare(estimator).fit(X, Y[:, :1]), "the target is narrower than the source"
    )
    transport = _prepare(estimator).fit(X, Y)
    methods = [transport.transform, getattr(transport, "inverse_transform", None)]
    for method in filter(None, methods):
        _raises_value_error(functools.partial(method, X[:, :1]), "new rows are narrower")


def check_shifted_gaussian(estimator: Any) -> None:
    """Reach the mean of a shifted Gaussian, to a tenth of the shift."""
    X, Y = _gaussian_problem(200, 150)
    moved = _prepare(estimator).fit(X, Y).transform(X)
    error = np.linalg.norm(moved.mean(axis=0) - Y.mean(axis=0))
    shift = np.linalg.norm(Y.mean(axis=0) - X.mean(axis=0))
    assert error <= 0.1 * shift, f"the mean is {error:.3g} off, for a shift of {shift:.3g}"


def check_training_rows_are_new_rows(estimator: Any) -> None:
    """Rows seen in `fit` get the map that new rows get, alone or in company."""
    X, Y = _gaussian_problem()
    transport = _prepare(estimator)
    trained = transport.fit_transform(X, Y)
    assert_allclose(transport.transform(X), trained, rtol=1e-6, atol=1e-6)
    alone = np.concatenate([transport.transform(row[None]) for row in X[:5]])
    assert_allclose(alone, trained[:5], rtol=1e-6, atol=1e-6)
    far = np.concatenate([X[:5], 100.0 * X[5:8]])
    assert_allclose(transport.transform(far)[:5], trained[:5], rtol=1e-6, atol=1e-6)


def check_inverse_near_identity(estimator: Any) -> None:
    """`inverse_transform` after `transform` is near the identity: a tenth of the variance."""
    X, Y = _gaussian_problem(200, 150)
    transport = _prepare(estimator).fit(X, Y)
    if not hasattr(transport, "inverse_transform"):
        raise SkipTest("there is no inverse_transform")
    if hasattr(transport, "conditional_variance") and transport.conditional_variance(X).any():
        raise SkipTest("mass is split, and conditional means are not inverse to each other")
    back = transport.inverse_transform(transport.transform(X))
    error = np.mean((back - X) ** 2) / X.var()
    assert error <= 0.1, f"the inverse is off by {error:.3g} times the variance"


def check_transport_at(estimator: Any) -> None:
    """`transport_at` begins at the rows, ends where `transform` does, and takes times between."""
    X, Y = _gaussian_problem()
    transport = _prepare(estimator).fit(X, Y)
    if not hasattr(transport, "transport_at"):
        raise SkipTest("there is no transport_at")
    moved = transport.transform(X)
    size = max(np.abs(X).max(), np.abs(moved).max())
    assert_allclose(transport.transport_at(X, 0), X, atol=1e-6 * size)
    assert_allclose(transport.transport_at(X, 1.0), moved, atol=1e-6 * size)
    middle = transport.transport_at(X, 0.5)
    assert middle.shape == X.shape
    assert np.isfinite(middle).all()
    assert_allclose(transport.transport_at(X[:5], 0.5), middle[:5], rtol=1e-6, atol=1e-6)
    assert transport.transport_at(X.astype(np.float32), 0.5).dtype == np.float32
    tensor = transport.transport_at(torch.from_numpy(X), 0.5)
    assert isinstance(tensor, torch.Tensor), f"a tensor became a {type(tensor).__name__}"
    assert_allclose(tensor.numpy(), middle, rtol=1e-6, atol=1e-6)
    for time in (-0.1, 1.1, float("nan"), [0.0, 1.0]):
        _raises_value_error(functools.partial(transport.transport_at, X, time), f"time {time}")


def check_dual_below_primal(estimator: Any) -> None:
    """Weak duality: the dual value is at most the primal value of the plan, up to rounding."""
    X, Y = _gaussian_problem()
    transport = _prepare(estimator).fit(X, Y)
    if not hasattr(transport, "dual_value_") or not hasattr(transport, "cost_value_"):
        raise SkipTest("there are no dual_value_ and cost_value_")
    if hasattr(transport, "duality_gap_"):
        raise SkipTest("the dual value is an estimate, whose gap may have either sign")
    primal = transport.cost_value_
    if hasattr(transport, "epsilon_"):
        plan = np.asarray(transport.coupling_)
        assert_allclose(plan.sum(), 1.0, rtol=1e-3)
        ratio = np.where(plan > 0, plan * plan.size, 1.0)
        primal += transport.epsilon_ * float(np.sum(plan * np.log(ratio)))
    # A plan that misses its marginals by delta may lie below the dual by delta times the
    # oscillation of the potentials, which is of the order of the cost.
    slack = 1e-9 + 10.0 * getattr(transport, "marginal_error_", 0.0)
    assert transport.dual_value_ <= primal + slack * max(1.0, abs(primal)), (
        f"dual {transport.dual_value_!r} is above primal {primal!r}"
    )


def check_reference(estimator: Any) -> None:
    """Without a target the rows go to the normal reference, which has mean zero."""
    X, _ = _gaussian_problem(200)
    transport = _prepare(estimator)
    if transport.get_params(deep=False).get("reference") != "normal":
        raise SkipTest("there is no normal reference")
    moved = transport.fit(X + 5.0).transform(X + 5.0)
    assert np.linalg.norm(moved.mean(axis=0)) <= 0.5
    labels = np.arange(len(X)) % 2
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # they are of no use here, and may be warned of
        transport.fit(X + 5.0, labels)
    assert_array_equal(transport.transform(X + 5.0), moved)


def check_leaves_no_trace(estimator: Any) -> None:
    """`fit` and `transform` leave the caller's arrays, parameters and global state as found."""
    X, Y = _gaussian_problem()
    stacked, y, sample_domain = stack_domains(X, Y, np.arange(len(X)) % 2)
    transport = _prepare(estimator)
    arrays = [X, Y, stacked, y, sample_domain]
    params = transport.get_params(deep=False)
    before = [array.tobytes() for array in arrays], _global_state()
    transport.fit(stacked, y, sample_domain=sample_domain)
    transport.transform(stacked, sample_domain=sample_domain)
    transport.fit(X, Y).transform(X)
    after = [array.tobytes() for array in arrays], _global_state()
    assert before[0] == after[0], "an array of the caller was written to"
    assert before[1] == after[1], "a global state of NumPy or torch changed"
    now = transport.get_params(deep=False)
    changed = [key for key in params if now[key] is not params[key]]
    assert not changed, f"fit changed the parameters {changed}"


def _global_state() -> tuple:
    _, keys, position, *_ = np.random.get_state()  # noqa: NPY002
    return (
        np.asarray(keys).tobytes(),
        position,
        torch.random.get_rng_state().numpy().tobytes(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        tuple(sorted(np.geterr().items())),
    )


def check_same_seed_same_result(estimator: Any) -> None:
    """Two fits with one seed agree bit by bit."""
    X, Y = _gaussian_problem()
    first = _prepare(estimator).fit(X, Y).transform(X)
    assert_array_equal(_prepare(estimator).fit(X, Y).transform(X), first)


def check_copies_transform_identically(estimator: Any) -> None:
    """Pickled and deep-copied estimators transform identically."""
    X, Y = _gaussian_problem()
    transport = _prepare(estimator).fit(X, Y)
    expected = transport.transform(X)
    for twin in (pickle.loads(pickle.dumps(transport)), copy.deepcopy(transport)):
        assert_array_equal(twin.transform(X), expected)


def check_bad_sample_domain(estimator: Any) -> None:
    """Values of `sample_domain` that cannot be meant are refused in `fit`."""
    X, Y = _gaussian_problem()
    stacked, _, sample_domain = stack_domains(X, Y)
    bad = {
        "source rows only": np.ones_like(sample_domain),
        "target rows only": -np.ones_like(sample_domain),
        "booleans": sample_domain >= 0,
        "unsigned": np.abs(sample_domain).astype(np.uint8),
        "strings": np.where(sample_domain >= 0, "source", "target"),
        "too short": sample_domain[1:],
    }
    for what, domain in bad.items():
        _raises_value_error(
            functools.partial(_prepare(estimator).fit, stacked, sample_domain=domain),
            f"sample_domain holds {what}" if what != "too short" else "sample_domain is too short",
        )


def check_score(estimator: Any) -> None:
    """`score` is better for the fitted target than for a far one, and never guesses a target."""
    X, Y = _gaussian_problem()
    transport = _prepare(estimator).fit(X, Y)
    near, far = transport.score(X), transport.score(X, Y + 10.0)
    assert np.isfinite([near, far]).all()
    assert near > far, "a far target scores better than the target of fit"
    assert_allclose(transport.score(X, Y), near, rtol=1e-6, atol=1e-9)
    stacked, _, sample_domain = stack_domains(X, Y)
    assert_allclose(transport.score(stacked, sample_domain=sample_domain), near, rtol=1e-6)
    weights = np.ones(len(stacked))
    weighted = transport.score(stacked, sample_weight=weights, sample_domain=sample_domain)
    assert_allclose(weighted, near, rtol=1e-6)
    _raises_value_error(
        lambda: transport.score(Y, sample_domain=-np.ones(len(Y), dtype=int)),
        "score has no source row",
    )
    transport = _prepare(estimator).fit(stacked, sample_domain=sample_domain)
    _raises_value_error(
        lambda: transport.score(stacked), "score after a stacked fit needs sample_domain or 2-D y"
    )


def check_array_layouts(estimator: Any) -> None:
    """Read-only, reversed, big-endian and column-major arrays and lists give the same map."""
    X, Y = _gaussian_problem()
    expected = _prepare(estimator).fit(X, Y).transform(X)
    layouts: dict[str, Callable] = {
        "read-only": _read_only,
        "negative strides": lambda array: array[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": lambda array: array.astype(">f8"),
        "column-major": np.asfortranarray,
        "list": np.ndarray.tolist,
    }
    for name, lay_out in layouts.items():
        moved = _prepare(estimator).fit(lay_out(X), lay_out(Y)).transform(lay_out(X))
        assert_allclose(moved, expected, rtol=1e-6, atol=1e-8, err_msg=name)


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def check_dtypes(estimator: Any) -> None:
    """float32 in gives float32 out; every other number gives float64."""
    X, Y = _gaussian_problem()
    for dtype, expected in (("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("f2", "f8")):
        transport = _prepare(estimator).fit((4 * X).astype(dtype), (4 * Y).astype(dtype))
        assert transport.transform((4 * X).astype(dtype)).dtype == expected
        if hasattr(transport, "inverse_transform"):
            assert transport.inverse_transform((4 * Y).astype(dtype)).dtype == expected


def check_torch_input(estimator: Any) -> None:
    """Tensors in give tensors out, with the numbers that arrays give."""
    X, Y = _gaussian_problem()
    tensors = [torch.from_numpy(X).requires_grad_(), torch.from_numpy(Y)]
    expected = _prepare(estimator).fit(X, Y)
    transport = _prepare(estimator).fit(*tensors)
    moved = transport.transform(tensors[0])
    assert isinstance(moved, torch.Tensor), f"a tensor became a {type(moved).__name__}"
    assert moved.device == tensors[0].device
    assert moved.dtype == torch.float64
    assert not moved.requires_grad
    assert_allclose(moved.numpy(), expected.transform(X), rtol=1e-6, atol=1e-8)
    # The fitted state does not know where it came from.
    assert isinstance(transport.transform(X), np.ndarray)
    assert_allclose(transport.transform(X), moved.numpy(), rtol=1e-6, atol=1e-8)
    assert_allclose(transport.score(tensors[0]), expected.score(X), rtol=1e-5, atol=1e-8)
    single = torch.from_numpy(X.astype(np.float32))
    assert _prepare(estimator).fit(single, tensors[1].float()).transform(single).dtype == (
        torch.float32
    )
    _raises_value_error(
        lambda: _prepare(estimator).fit(tensors[0] * float("nan"), tensors[1]), "NaN in a tensor"
    )


_CHECKS = (
    check_target_of_another_length,
    check_target_equals_stacked_form,
    check_target_rows_stay,
    check_wrong_width,
    check_shifted_gaussian,
    check_training_rows_are_new_rows,
    check_inverse_near_identity,
    check_transport_at,
    check_dual_below_primal,
    check_reference,
    check_leaves_no_trace,
    check_same_seed_same_result,
    check_copies_transform_identically,
    check_bad_sample_domain,
    check_score,
    check_array_layouts,
    check_dtypes,
    check_torch_input,
)


def yield_transport_checks() -> Iterator[Callable[[Any], None]]:
    """Yield the checks, one function of an unfitted estimator each.

    Yields
    ------
    check : callable
        ``check(estimator)`` raises if the estimator fails, and `unittest.SkipTest` if it lacks
        the optional ability that is checked.
    """
    yield from _CHECKS


def check_transport(estimator: Any) -> dict[str, str]:
    """Run every check on a transport.

    The estimator is cloned, never fitted. A transport that is trained at length should come with
    parameters that make it fast: each check fits it a few times on at most 200 rows.

    Parameters
    ----------
    estimator : estimator
        An instance. Run `sklearn.utils.estimator_checks.check_estimator` as well.

    Returns
    -------
    results : dict of str to str
        ``"passed"`` or the reason for which it was skipped, by name of the check.

    Raises
    ------
    Exception
        Whatever the first failing check raises.

    See Also
    --------
    parametrize_with_transport_checks : The same as a pytest decorator.
    """
    results = {}
    for check in yield_transport_checks():
        try:
            check(estimator)
        except SkipTest as skip:
            results[check.__name__] = f"skipped: {skip}"
        else:
            results[check.__name__] = "passed"
    return results


def parametrize_with_transport_checks(estimators: Iterable[Any]) -> Callable:
    """Decorate a pytest test with every pair of an estimator and a check.

    Parameters
    ----------
    estimators : iterable of estimators
        Instances.

    Returns
    -------
    decorator : callable
        It parametrises the arguments ``estimator`` and ``check`` of the test.

    Examples
    --------
    >>> from skot.utils.estimator_checks import parametrize_with_transport_checks
    >>> def test_transport(estimator, check):
    ...     check(estimator)
    >>> decorator = parametrize_with_transport_checks([])
    """
    import pytest

    pairs = [(estimator, check) for estimator in estimators for check in yield_transport_checks()]
    ids = [f"{estimator}-{check.__name__}".replace("\n", "") for estimator, check in pairs]
    return pytest.mark.parametrize("estimator, check", pairs, ids=ids)
