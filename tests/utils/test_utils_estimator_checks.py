"""The checks for third parties pass a sound transport and catch unsound ones."""

import re

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skot.utils import split_domains
from skot.utils._points import check_time
from skot.utils.estimator_checks import (
    check_dual_below_primal,
    check_transport,
    parametrize_with_transport_checks,
    yield_transport_checks,
)
from skot.utils.tensors import resolve_dtype, to_numpy, to_tensor


class MeanShift(TransformerMixin, BaseEstimator):
    """Optimal among translations, in float64 tensors: the smallest honest transport."""

    __metadata_request__fit = {"sample_domain": True}
    __metadata_request__transform = {"sample_domain": True}
    __metadata_request__score = {"sample_domain": True}

    def __init__(self, reference="normal", random_state=None):
        self.reference = reference
        self.random_state = random_state

    def fit(self, X, y=None, *, sample_domain=None):
        split = split_domains(self, X, y, sample_domain)
        source = to_tensor(split.X_source, dtype=torch.float64, device="cpu").mean(0)
        self.stacked_ = sample_domain is not None
        self.target_mean_ = torch.zeros_like(source)
        if split.X_target is not None:
            self.target_mean_ = to_tensor(split.X_target, dtype=torch.float64).mean(0)
        self.shift_ = self.target_mean_ - source
        self.cost_value_ = float(self.shift_.square().sum())
        self.dual_value_ = self.cost_value_
        return self

    def _move(self, rows, sign):
        return to_tensor(rows, dtype=torch.float64) + sign * self.shift_

    def _return(self, moved, like):
        moved = moved.to(resolve_dtype(like))
        return moved if isinstance(like, torch.Tensor) else moved.numpy()

    def transform(self, X, *, sample_domain=None):
        check_is_fitted(self)
        split = split_domains(self, X, None, sample_domain, reset=False)
        if split.source_mask is None:
            return self._return(self._move(split.X_source, 1), X)
        out = to_tensor(X)
        out[split.source_mask] = self._move(split.X_source, 1).to(out.dtype)
        return self._return(out, X)

    def fit_transform(self, X, y=None, *, sample_domain=None):
        self.fit(X, y, sample_domain=sample_domain)
        return self.transform(X, sample_domain=sample_domain)

    def inverse_transform(self, X):
        return self._return(self._move(split_domains(self, X, reset=False).X_source, -1), X)

    def transport_at(self, X, t):
        split = split_domains(self, X, reset=False)
        return self._return(self._move(split.X_source, check_time(t)), X)

    def score(self, X, y=None, sample_weight=None, *, sample_domain=None):
        split = split_domains(self, X, y, sample_domain, sample_weight, reset=False)
        if not len(split.X_source):
            raise ValueError("score needs source rows.")
        if split.X_target is not None:
            target = to_tensor(split.X_target, dtype=torch.float64).mean(0)
        elif self.stacked_:
            raise ValueError("score needs sample_domain: set enable_metadata_routing=True.")
        else:
            target = self.target_mean_
        return -float((self._move(split.X_source, 1).mean(0) - target).square().sum())


@parametrize_with_transport_checks([MeanShift()])
def test_sound_transport(estimator, check):
    check(estimator)


def test_check_transport_reports_every_check():
    results = check_transport(MeanShift())
    assert list(results) == [check.__name__ for check in yield_transport_checks()]
    assert set(results.values()) == {"passed"}


class OneWay(MeanShift):
    def __getattribute__(self, name):
        if name in ("inverse_transform", "dual_value_", "transport_at"):
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_missing_ability_is_skipped():
    results = check_transport(OneWay(reference="uniform"))
    skipped = {name for name, result in results.items() if result.startswith("skipped: ")}
    assert skipped == {
        "check_inverse_near_identity",
        "check_transport_at",
        "check_dual_below_primal",
        "check_reference",
    }


class Entropic(MeanShift):
    """Plan of two diagonal blocks, so that the relative entropy is log 2."""

    gap = 0.0

    def fit(self, X, y=None, *, sample_domain=None):
        super().fit(X, y, sample_domain=sample_domain)
        if y is not None and np.ndim(y) == 2 and sample_domain is None:
            n, m = len(X), len(y)
            same = np.equal.outer(np.arange(n) < n / 2, np.arange(m) < m / 2)
            self.coupling_ = same / same.sum()
            self.epsilon_ = 1.0
            entropy = np.log(n * m / same.sum())
            self.dual_value_ = self.cost_value_ + entropy + self.gap
        return self


class EntropicDualAbove(Entropic):
    gap = 1e-6


def test_entropy_counts_in_the_primal_value():
    check_dual_below_primal(Entropic())
    with pytest.raises(AssertionError, match="is above primal"):
        check_dual_below_primal(EntropicDualAbove())


class AllTheWay(MeanShift):
    def transport_at(self, X, t):
        return self.transform(X)


class ShortTarget(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        if y is not None and np.ndim(y) == 2 and len(y) != len(X):
            raise ValueError("inconsistent numbers of samples")
        return super().fit(X, y, sample_domain=sample_domain)


class IgnoresDomain(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        return super().fit(X, y)


class MovesTarget(MeanShift):
    def transform(self, X, *, sample_domain=None):
        return super().transform(X)


class AnyWidth(MeanShift):
    def transform(self, X, *, sample_domain=None):
        return np.asarray(X)


class HalfWay(MeanShift):
    def _move(self, rows, sign):
        return to_tensor(rows, dtype=torch.float64) + 0.5 * sign * self.shift_


class BatchCentred(MeanShift):
    def _move(self, rows, sign):
        moved = super()._move(rows, sign)
        return moved - 0.01 * moved.mean(0)


class NoInverse(MeanShift):
    def inverse_transform(self, X):
        return X


class DualAbove(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        super().fit(X, y, sample_domain=sample_domain)
        self.dual_value_ = 1.01 * self.cost_value_
        return self


class AwayFromReference(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        super().fit(X, y, sample_domain=sample_domain)
        if y is None or np.ndim(y) == 1:
            self.shift_ = self.shift_ + 1.0
        return self


class WritesToCaller(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        super().fit(X, y, sample_domain=sample_domain)
        if isinstance(X, np.ndarray) and X.flags.writeable:
            X += 0.0 * X + 1e-300
            X[0, 0] = np.nextafter(X[0, 0], 1.0)
        return self


class SeedsTorch(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        torch.manual_seed(torch.initial_seed() + 1)
        return super().fit(X, y, sample_domain=sample_domain)


class Unrepeatable(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        super().fit(X, y, sample_domain=sample_domain)
        self.shift_ = self.shift_ + 1e-9 * np.random.default_rng().random()
        return self


class Forgetful(MeanShift):
    def __getstate__(self):
        state = dict(super().__getstate__())
        return state | {"shift_": state["shift_"] + 1e-9}


class AnyDomain(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        if sample_domain is not None:
            return super().fit(X, y, sample_domain=np.where(np.arange(len(X)) % 2, 1, -1))
        return super().fit(X, y)


class ConstantScore(MeanShift):
    def score(self, X, y=None, sample_weight=None, *, sample_domain=None):
        return 0.0


class RefusesReadOnly(MeanShift):
    def fit(self, X, y=None, *, sample_domain=None):
        if isinstance(X, np.ndarray) and not X.flags.writeable:
            raise TypeError("read-only")
        return super().fit(X, y, sample_domain=sample_domain)


class DoubleOnly(MeanShift):
    def _return(self, moved, like):
        return moved if isinstance(like, torch.Tensor) else moved.numpy()


class NumpyOnly(MeanShift):
    def _return(self, moved, like):
        return to_numpy(moved.to(resolve_dtype(like)))


@pytest.mark.parametrize(
    "broken, check",
    [
        (ShortTarget, "check_target_of_another_length"),
        (IgnoresDomain, "check_target_equals_stacked_form"),
        (MovesTarget, "check_target_rows_stay"),
        (AnyWidth, "check_wrong_width"),
        (HalfWay, "check_shifted_gaussian"),
        (BatchCentred, "check_training_rows_are_new_rows"),
        (NoInverse, "check_inverse_near_identity"),
        (DualAbove, "check_dual_below_primal"),
        (AwayFromReference, "check_reference"),
        (WritesToCaller, "check_leaves_no_trace"),
        (SeedsTorch, "check_leaves_no_trace"),
        (Unrepeatable, "check_same_seed_same_result"),
        (Forgetful, "check_copies_transform_identically"),
        (AnyDomain, "check_bad_sample_domain"),
        (ConstantScore, "check_score"),
        (RefusesReadOnly, "check_array_layouts"),
        (DoubleOnly, "check_dtypes"),
        (AllTheWay, "check_transport_at"),
        (NumpyOnly, "check_torch_input"),
    ],
)
def test_unsound_transport_is_caught(broken, check):
    """Each check fails the transport that breaks just its promise."""
    checks = {one.__name__: one for one in yield_transport_checks()}
    with pytest.raises((AssertionError, ValueError, TypeError)):
        checks.pop(check)(broken())


def test_every_check_has_an_unsound_transport():
    marks = test_unsound_transport_is_caught.pytestmark
    covered = {check for _, check in marks[0].args[1]}
    assert covered == {check.__name__ for check in yield_transport_checks()}


def test_message_says_what_was_expected():
    checks = {one.__name__: one for one in yield_transport_checks()}
    with pytest.raises(AssertionError, match=re.escape("sample_domain holds source rows only")):
        checks["check_bad_sample_domain"](AnyDomain())
