"""`stack_domains`: two samples in one table, fit for plain cross-validation."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold, StratifiedKFold

from skot.utils import split_domains, stack_domains
from skot.utils.validation import known_labels

SOURCE = np.arange(14.0).reshape(7, 2)
TARGET = -np.arange(8.0).reshape(4, 2) - 1


@given(st.integers(1, 60), st.integers(1, 60))
def test_split_undoes_stack(n_source, n_target):
    X_source, X_target = np.arange(n_source)[:, None], -1 - np.arange(n_target)[:, None]
    X, y, sample_domain = stack_domains(X_source, X_target, np.arange(n_source))
    assert_array_equal(X[sample_domain > 0], X_source)
    assert_array_equal(X[sample_domain < 0], X_target)
    assert_array_equal(y[sample_domain > 0], np.arange(n_source))
    assert_array_equal(y[sample_domain < 0], -1)


@given(st.integers(5, 80), st.integers(5, 80), st.integers(2, 5))
def test_every_fold_holds_both_in_proportion(n_source, n_target, n_splits):
    X, _, sample_domain = stack_domains(np.zeros((n_source, 1)), np.zeros((n_target, 1)))
    for _, test in KFold(n_splits).split(X):
        fold = sample_domain[test]
        assert (fold > 0).any()
        assert (fold < 0).any()
        expected = len(fold) * n_source / len(X)
        assert abs((fold > 0).sum() - expected) <= 2


@pytest.mark.parametrize("with_target_labels", [False, True])
def test_stratified_folds_of_sorted_labels(with_target_labels):
    y_source, y_target = np.repeat([0, 1, 2], 20), np.repeat([0, 1, 2], [5, 15, 20])
    X_source, X_target = np.zeros((60, 1)), np.ones((40, 1))
    X, y, sample_domain = stack_domains(
        X_source, X_target, y_source, y_target if with_target_labels else None
    )
    for train, test in StratifiedKFold(5).split(X, y):
        assert set(sample_domain[train]) == set(sample_domain[test]) == {1, -1}
        assert set(y[train][sample_domain[train] > 0]) == {0, 1, 2}


@pytest.mark.parametrize(
    "y_source, mark",
    [
        (np.arange(7), -1),
        (np.arange(7, dtype=np.uint8), -1),
        ([True, False] * 3 + [True], -1),
        (list("abcdefg"), None),
        (np.array(list("abcdefg")), None),
    ],
)
def test_mark_of_unknown_labels(y_source, mark):
    _, y, sample_domain = stack_domains(SOURCE, TARGET, y_source)
    assert list(y[sample_domain > 0]) == list(y_source)
    assert list(y[sample_domain < 0]) == [mark] * 4
    assert_array_equal(known_labels(y[sample_domain < 0], y[sample_domain > 0]), False)


def test_mark_of_unknown_regression_targets():
    _, y, sample_domain = stack_domains(SOURCE, TARGET, np.linspace(0, 1, 7, dtype=np.float32))
    assert y.dtype == np.float32
    assert_array_equal(np.isnan(y), sample_domain < 0)


def test_target_labels_with_marks():
    _, y, sample_domain = stack_domains(SOURCE, TARGET, list("abcdefg"), ["a", None, -1, "long"])
    assert list(y[sample_domain < 0]) == ["a", None, None, "long"]


def test_round_trip_of_unknown_strings():
    X, y, sample_domain = stack_domains(SOURCE, TARGET, list("abcdefg"))
    parts = split_domains(BaseEstimator(), X, y, sample_domain)
    assert list(parts.y_source) == list("abcdefg")
    assert not parts.target_known.any()


def test_data_frames():
    frames = [pd.DataFrame(X, columns=["a", "b"]) for X in (SOURCE, TARGET)]
    X, _, sample_domain = stack_domains(*frames)
    assert list(X.columns) == ["a", "b"]
    assert list(X.index) == list(range(11))
    assert_array_equal(X[sample_domain > 0], SOURCE)
    X, _, sample_domain = stack_domains(*map(pl.from_pandas, frames))
    assert isinstance(X, pl.DataFrame)
    assert_array_equal(X.to_numpy()[sample_domain < 0], TARGET)
    X, _, sample_domain = stack_domains(frames[0], TARGET)
    assert isinstance(X, np.ndarray)
    with pytest.raises(ValueError, match="feature names of X_target should match"):
        stack_domains(frames[0], frames[1][["b", "a"]])


def test_tensors():
    X, y, sample_domain = stack_domains(
        torch.from_numpy(SOURCE).requires_grad_(), TARGET, torch.arange(7)
    )
    assert isinstance(X, torch.Tensor)
    assert isinstance(y, torch.Tensor)
    assert not X.requires_grad
    assert_array_equal(X[sample_domain < 0], TARGET)
    X, y, _ = stack_domains(SOURCE, torch.from_numpy(TARGET), np.arange(7))
    assert isinstance(X, np.ndarray)
    assert isinstance(y, np.ndarray)


def test_dtype():
    assert stack_domains(SOURCE.astype("f4"), TARGET.astype("f4"))[0].dtype == np.float32
    assert stack_domains(SOURCE.astype("f4"), TARGET)[0].dtype == np.float64


def test_labels_of_the_caller_are_not_written_to():
    y_source, y_target = np.arange(7), np.array([1, -1, -1, 0])
    _, y, _ = stack_domains(SOURCE, TARGET, y_source, y_target)
    y[:] = 9
    assert_array_equal(y_source, np.arange(7))
    assert_array_equal(y_target, [1, -1, -1, 0])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((SOURCE, TARGET[:, :1]), "X_target has 1 features, but X_source has 2 features"),
        ((SOURCE.tolist(), TARGET[:, :1].tolist()), "X_target has 1 features, but X_source has 2"),
        ((SOURCE, TARGET[0]), "Expected 2D array, got 1D array"),
        ((SOURCE, TARGET[:0]), "Found array with 0 sample"),
        ((SOURCE, torch.ones(3)), "Expected 2D array, got 1D array"),
        ((SOURCE, TARGET, [0, 1]), r"inconsistent numbers of samples: \[7, 2\]"),
        ((SOURCE, TARGET, np.arange(7), [0, 1]), r"inconsistent numbers of samples: \[4, 2\]"),
        ((SOURCE, TARGET, None, [0, 1, 0, 1]), "y_target was passed without y_source"),
        ((SOURCE, TARGET, np.arange(7) - 1), "-1 is a class of y_source"),
        ((SOURCE, TARGET, [0.5, np.nan] + [0.5] * 5), "Input y contains NaN"),
        ((SOURCE, TARGET, ["a", None] + ["b"] * 5), "Input y contains None"),
        ((SOURCE, TARGET, list("abcdefg"), [0, 1, 0, 1]), "uniformly strings or numbers"),
    ],
)
def test_bad(arguments, message):
    with pytest.raises(ValueError, match=message):
        stack_domains(*arguments)
