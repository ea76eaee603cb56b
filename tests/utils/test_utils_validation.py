"""What `fit` and its siblings make of their arguments, and of bad ones."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.estimator_checks import _NotAnArray

from skot.utils import split_domains
from skot.utils._points import float_types
from skot.utils.validation import check_points, check_sample_domain, known_labels

X = np.arange(12.0).reshape(6, 2)
DOMAIN = [1, 1, 0, -1, -2, -1]
TARGET = r"y \(the target sample\)"
NAN = float("nan")


class Estimator(BaseEstimator):
    pass


def split(*args, **kwargs):
    return split_domains(Estimator(), *args, **kwargs)


class TestForms:
    def test_reference(self):
        parts = split(X)
        assert_array_equal(parts.X_source, X)
        assert parts.X_target is parts.source_mask is parts.y_source is parts.weight_source is None

    def test_two_samples_of_two_lengths(self):
        parts = split(X, X[:3] + 1)
        assert_array_equal(parts.X_source, X)
        assert_array_equal(parts.X_target, X[:3] + 1)
        assert parts.source_mask is None

    def test_stacked(self):
        parts = split(X, sample_domain=DOMAIN)
        assert_array_equal(parts.X_source, X[:3])
        assert_array_equal(parts.X_target, X[3:])
        assert_array_equal(parts.source_mask, [1, 1, 1, 0, 0, 0])

    def test_labels(self):
        parts = split(X, [0, 1, 0, -1, 1, -1], DOMAIN)
        assert_array_equal(parts.y_source, [0, 1, 0])
        assert_array_equal(parts.y_target, [-1, 1, -1])
        assert_array_equal(parts.target_known, [False, True, False])
        assert split(X).target_known is None

    @pytest.mark.parametrize("wrap", [list, np.asarray, pd.Series, _NotAnArray, torch.tensor])
    def test_containers_of_labels_domains_and_weights(self, wrap):
        parts = split(X, wrap([0, 1, 0, 1, 1, 1]), wrap(DOMAIN), wrap([1.0] * 6))
        assert_array_equal(parts.y_source, [0, 1, 0])
        assert_array_equal(parts.X_target, X[3:])
        assert_allclose(parts.weight_target, 1 / 3)

    @pytest.mark.parametrize("wrap", [np.ndarray.tolist, np.asarray, pd.DataFrame, _NotAnArray])
    def test_containers_of_targets(self, wrap):
        parts = split(X, wrap(X[:3]))
        assert_array_equal(parts.X_target, X[:3])

    def test_one_feature_column_is_a_target(self):
        parts = split(X[:, :1], X[:, :1])
        assert parts.X_target.shape == (6, 1)
        assert parts.y_source is None

    def test_column_of_labels_in_the_stacked_form(self):
        with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
            parts = split(X, np.arange(6)[:, None], DOMAIN)
        assert_array_equal(parts.y_source, [0, 1, 2])

    @pytest.mark.parametrize(
        "dtype, expected", [("f4", "f4"), ("f8", "f8"), ("f2", "f8"), ("i8", "f8"), (">f8", "f8")]
    )
    def test_dtype(self, dtype, expected):
        parts = split(X.astype(dtype), sample_domain=DOMAIN)
        assert parts.dtype == parts.X_source.dtype == parts.X_target.dtype == np.dtype(expected)

    def test_dtype_of_a_data_frame(self):
        parts = split(pd.DataFrame(X.astype("f4")))
        assert parts.dtype == parts.X_source.dtype == np.float32

    def test_later_calls_may_lack_a_side(self):
        estimator = Estimator()
        split_domains(estimator, X)
        parts = split_domains(estimator, X, sample_domain=[-1] * 6, reset=False)
        assert parts.X_source.shape == (0, 2)
        parts = split_domains(estimator, X[:1], sample_domain=[1], sample_weight=[2.0], reset=False)
        assert_array_equal(parts.weight_source, [1.0])
        assert parts.weight_target.shape == (0,)

    def test_rules_of_fit_without_reset(self):
        estimator = Estimator()
        split_domains(estimator, X)
        with pytest.raises(ValueError, match="holds only target rows"):
            split_domains(estimator, X, sample_domain=[-1] * 6, reset=False, training=True)

    def test_caller_is_not_written_to(self):
        arrays = [X.copy(), np.array([0, 1, 0, -1, 1, -1]), np.array(DOMAIN), np.arange(1.0, 7.0)]
        for array in arrays:
            array.flags.writeable = False
        parts = split(*arrays)
        assert_allclose(parts.weight_source, [1 / 6, 2 / 6, 3 / 6])


class TestFeatures:
    frame = pd.DataFrame(X, columns=["a", "b"])

    def test_count_and_names(self):
        estimator = Estimator()
        split_domains(estimator, self.frame)
        assert estimator.n_features_in_ == 2
        assert list(estimator.feature_names_in_) == ["a", "b"]
        with pytest.raises(ValueError, match="The feature names should match those"):
            split_domains(estimator, self.frame[["b", "a"]], reset=False)
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            split_domains(estimator, torch.from_numpy(X), reset=False)
        split_domains(estimator, X)
        assert not hasattr(estimator, "feature_names_in_")
        with pytest.raises(ValueError, match="X has 3 features, but Estimator is expecting 2"):
            split_domains(estimator, np.ones((2, 3)), reset=False)

    def test_tensors_too(self):
        estimator = Estimator()
        split_domains(estimator, torch.from_numpy(X))
        assert estimator.n_features_in_ == 2
        with pytest.raises(ValueError, match="X has 3 features, but Estimator is expecting 2"):
            split_domains(estimator, torch.ones(2, 3), reset=False)

    def test_target_of_other_names(self):
        assert split(self.frame, self.frame).X_target.shape == (6, 2)
        assert split(self.frame, X).X_target.shape == (6, 2)
        with pytest.raises(ValueError, match="names of the target sample should match those of X"):
            split(self.frame, self.frame[["b", "a"]])

    @pytest.mark.parametrize("target", [X[:, :1], [["cat"]] * 6, np.ones((6, 3))])
    def test_target_of_another_width(self, target):
        message = rf"y has {np.shape(target)[1]} features, but Estimator is expecting 2 features"
        with pytest.raises(ValueError, match=message):
            split(X, target)


BAD_POINTS = {
    "nan": (X * NAN, "Input {} contains NaN"),
    "inf": (X + np.inf, r"Input {} contains infinity or a value too large for dtype\('float64'\)"),
    "complex": (X * 1j, "Complex data not supported"),
    "empty": (X[:0], r"Found array with 0 sample\(s\) \(shape=\(0, 2\)\) while a minimum of 2"),
    "one row": (X[:1], r"Found array with 1 sample\(s\) \(shape=\(1, 2\)\) while a minimum of 2"),
    "cube": (X[None], "Found array with dim 3, while dim <= 2 is required"),
}


class TestBadPoints:
    @pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
    @pytest.mark.parametrize("what", [*BAD_POINTS, "no column", "one dimension"])
    def test_source(self, what, wrap):
        more = {
            "no column": (X[:, :0], r"Found array with 0 feature\(s\) \(shape=\(6, 0\)\)"),
            "one dimension": (X[0], r"Expected 2D array, got 1D array instead:\narray=\[0. 1.\]"),
        }
        points, message = (BAD_POINTS | more)[what]
        with pytest.raises(ValueError, match=message.format("X")):
            split(wrap(points))

    @pytest.mark.parametrize("kind", ["numpy", "torch", "torch and numpy", "numpy and torch"])
    @pytest.mark.parametrize("what", BAD_POINTS)
    def test_target(self, what, kind):
        points, message = BAD_POINTS[what]
        source = torch.from_numpy(X) if kind.startswith("torch") else X
        target = torch.from_numpy(points) if kind.endswith("torch") else points
        with pytest.raises(ValueError, match=message.format(TARGET)):
            split(source, target)

    def test_sparse(self):
        message = "Sparse data was passed for {}, but dense data is required"
        for sparse in (scipy.sparse.csr_array(X), torch.from_numpy(X).to_sparse()):
            with pytest.raises(TypeError, match=message.format("X")):
                split(sparse)
        with pytest.raises(TypeError, match=message.format("y")):
            split(X, scipy.sparse.csr_array(X))
        with pytest.raises(TypeError, match=message.format(TARGET)):
            split(torch.from_numpy(X), torch.from_numpy(X).to_sparse())

    def test_strings(self):
        with pytest.raises(ValueError, match="could not convert string to float"):
            split([["a", "b"]] * 3)
        with pytest.raises(ValueError, match="could not convert string to float"):
            split(X, [["a", "b"]] * 3)

    @pytest.mark.parametrize("wrap", [np.asarray, torch.from_numpy])
    def test_one_row_on_one_side(self, wrap):
        for domain, side in (([1, -1, -1, -1, -1, -1], "source"), ([1, 1, 1, 1, 1, -1], "target")):
            message = rf"Found array with 1 sample\(s\) .* by Estimator on the {side} side"
            with pytest.raises(ValueError, match=message):
                split(wrap(X), sample_domain=domain)

    def test_target_given_twice(self):
        with pytest.raises(ValueError, match="pass one of the two"):
            split(X, X, DOMAIN)


class TestTensors:
    def test_stay_tensors_and_detach(self):
        tensor = torch.tensor(X, dtype=torch.float32, requires_grad=True)
        parts = split(tensor, [0, 1, 0, 1, 1, 1], DOMAIN, torch.ones(6))
        assert torch.equal(parts.X_source, tensor[:3].detach())
        assert torch.equal(parts.X_target, tensor[3:].detach())
        assert not parts.X_source.requires_grad
        assert parts.dtype == np.float32
        assert isinstance(parts.y_source, np.ndarray)
        assert isinstance(parts.weight_target, np.ndarray)

    def test_kind_of_X_decides(self):
        assert isinstance(split(torch.from_numpy(X), X[:2]).X_target, torch.Tensor)
        assert isinstance(split(X, torch.from_numpy(X[:2])).X_target, np.ndarray)

    @pytest.mark.parametrize("dtype", [torch.int32, torch.float16, torch.bfloat16, torch.bool])
    def test_other_dtypes_become_float64(self, dtype):
        parts = split(torch.from_numpy(X).to(dtype))
        assert parts.X_source.dtype == torch.float64
        assert parts.dtype == np.float64

    def test_finiteness_obeys_the_configuration(self):
        points = torch.full((2, 2), NAN)
        with config_context(assume_finite=True):
            assert check_points(points).isnan().all()
        with pytest.raises(ValueError, match=r"Input Z contains NaN\."):
            check_points(points, name="Z")

    def test_bad_half_precision(self):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            check_points(torch.full((2, 2), float("inf"), dtype=torch.bfloat16))

    @pytest.mark.gpu
    def test_stay_on_cuda(self):
        parts = split(torch.from_numpy(X).cuda(), X[:3])
        assert parts.X_source.is_cuda
        assert parts.X_target.is_cuda
        parts = split(torch.from_numpy(X).cuda(), sample_domain=DOMAIN)
        assert parts.X_target.is_cuda


class TestSampleDomain:
    @pytest.mark.parametrize("dtype", ["i1", "i2", "i8", ">i4", object])
    def test_signs(self, dtype):
        mask = check_sample_domain(np.array(DOMAIN, dtype=dtype), 6, require_both=True)
        assert_array_equal(mask, [True, True, True, False, False, False])

    @pytest.mark.parametrize(
        "domain, message",
        [
            ([True] * 6, "Got booleans"),
            ([True, 1, 1, -1, -1, -1], "Got booleans"),
            (np.array([True, False] * 3), "Got booleans"),
            (torch.tensor([True, False] * 3), "Got booleans"),
            (np.array([1, 0] * 3, dtype=np.uint8), "Got unsigned integers"),
            (["s", "t"] * 3, "Got strings"),
            (np.array(["s", "t"] * 3), "Got strings"),
            ([1.0, -1.0] * 3, "Got floating point numbers"),
            (np.array([1, NAN] * 3), "Got floating point numbers"),
            ([1, None] * 3, "Got missing values among them"),
            ([1, -1] * 2, r"inconsistent numbers of samples: \[6, 4\]"),
            ([], r"inconsistent numbers of samples: \[6, 0\]"),
            ([[1, -1]] * 6, "should be a 1d array"),
            (
                [1] * 6,
                r"holds only source rows \(>= 0\), its values are 1, but fit needs target",
            ),
            (
                [-1] * 6,
                r"holds only target rows \(< 0\), its values are -1, but fit needs source",
            ),
        ],
    )
    def test_bad(self, domain, message):
        with pytest.raises(ValueError, match=message):
            check_sample_domain(domain, 6, require_both=True)
        with pytest.raises(ValueError, match=message):
            split(X, sample_domain=domain)


class TestWeights:
    @given(
        st.lists(st.floats(0, 1.7e308), min_size=6, max_size=6).filter(
            lambda weights: max(weights[:3]) > 0 and max(weights[3:]) > 0
        )
    )
    def test_sum_to_one_on_each_side(self, weights):
        parts = split(X, None, DOMAIN, weights)
        for part, given_part in (
            (parts.weight_source, weights[:3]),
            (parts.weight_target, weights[3:]),
        ):
            assert part.dtype == np.float64
            assert_allclose(part.sum(), 1.0)
            assert (part >= 0).all()
            assert np.argmax(part) == np.argmax(given_part)

    def test_of_the_source_only_in_the_form_of_two_samples(self):
        parts = split(X, X[:3], sample_weight=np.arange(6))
        assert_allclose(parts.weight_source, np.arange(6) / 15)
        assert parts.weight_target is None

    def test_a_number_means_equal_weights(self):
        assert_allclose(split(X, sample_weight=3).weight_source, 1 / 6)

    @pytest.mark.parametrize(
        "weights, message",
        [
            ([-1, 1, 1, 1, 1, 1], "Negative values in data passed to `sample_weight`"),
            ([0] * 6, "Sample weights must contain at least one non-zero number"),
            ([1, 1, 1, 0, 0, 0], "at least one non-zero number. They are all zero on the target"),
            ([0, 0, 0, 1, 1, 1], "at least one non-zero number. They are all zero on the source"),
            ([1] * 5, r"sample_weight.shape == \(5,\), expected \(6,\)!"),
            ([NAN] * 6, "Input sample_weight contains NaN"),
            ([np.inf] * 6, "Input sample_weight contains infinity"),
            ([[1, 1]] * 6, "Sample weights must be 1D array or scalar"),
        ],
    )
    def test_bad(self, weights, message):
        with pytest.raises(ValueError, match=message):
            split(X, None, DOMAIN, weights)


class TestLabels:
    @pytest.mark.parametrize(
        "y, expected",
        [
            ([0, 1, -1], [1, 1, 0]),
            (np.array([0, 1, -1], dtype=np.int8), [1, 1, 0]),
            ([0.0, -1.0, NAN], [1, 1, 0]),
            ([0, 1, None], [1, 1, 0]),
            ([0, 1, NAN], [1, 1, 0]),
            (["a", "b", None], [1, 1, 0]),
            (["a", -1, NAN], [1, 0, 0]),
            (["a", "-1", "nan"], [1, 1, 1]),
            (np.array(["a", "b", None], dtype=object), [1, 1, 0]),
            (pd.Series(["a", "b", None]), [1, 1, 0]),
            (pd.Series(["a", "b", pd.NA], dtype=object), [1, 1, 0]),
            (pd.Series(["a", "b", None], dtype="category"), [1, 1, 0]),
            (pl.Series(["a", "b", None]), [1, 1, 0]),
            (np.array(["a", "b", "c"]), [1, 1, 1]),
            ([True, False, True], [1, 1, 1]),
            (np.array([0, 1, 255], dtype=np.uint8), [1, 1, 1]),
            (torch.tensor([0, 1, -1]), [1, 1, 0]),
            ([], []),
        ],
    )
    def test_known(self, y, expected):
        assert_array_equal(known_labels(y), np.array(expected, dtype=bool))

    def test_minus_one_is_a_class_if_the_source_has_it(self):
        assert known_labels([1, -1], y_source=[-1, 1]).all()
        assert not known_labels([1, -1], y_source=[0, 1]).all()
        parts = split(X, [1, -1, 1, 1, -1, 1], DOMAIN)
        assert parts.target_known.all()

    def test_strings_keep_their_marks(self):
        parts = split(X, ["a", "b", "a", -1, None, NAN], DOMAIN)
        assert list(parts.y_source) == ["a", "b", "a"]
        assert list(parts.y_target) == [None, None, None]

    @pytest.mark.parametrize(
        "y, message",
        [
            ([0, None, 1, 0, 1, 1], "Input y contains NaN"),
            ([0.5, NAN, 1.5, 0.5, 1.5, NAN], "Input y contains NaN"),
            ([0.5, np.inf, 1.5, 0.5, 1.5, NAN], "Input y contains infinity"),
            (["a", None, "b", "a", "b", "c"], "Input y contains None"),
            (["a", -1, "b", "a", "b", "c"], "Input y contains None"),
            (["a", 1, "b", "a", "b", "c"], "y mixes strings and numbers"),
            ([0, 1, 1], r"inconsistent numbers of samples: \[6, 3\]"),
            (np.ones((6, 3)), "should be a 1d array"),
        ],
    )
    def test_bad(self, y, message):
        with pytest.raises(ValueError, match=message):
            split(X, y, DOMAIN)

    def test_missing_label_without_a_target(self):
        with pytest.raises(ValueError, match=re.escape("Every source row needs a known label")):
            split(X, [0.0, NAN, 1.0, 0.0, 1.0, 1.0])

    def test_missing_label_is_no_matter_after_fit(self):
        assert split(X, [0.0] + [NAN] * 5, training=False).y_source.shape == (6,)

    @pytest.mark.parametrize("y", [None, X[:3]])
    def test_required(self, y):
        with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
            split(X, y, require_labels=True)

    def test_required_are_classes(self):
        with pytest.raises(ValueError, match="Unknown label type: continuous"):
            split(X, np.linspace(0.1, 1.1, 6), require_labels=True)
        parts = split(X, [0.5, 1.5, 2.5, 1, 1, 1], [-1, -1, -1, 1, 1, 1], require_labels=True)
        assert_array_equal(parts.y_source, [1, 1, 1])


F4, F8 = np.dtype("f4"), [np.float64, np.float32]


@pytest.mark.parametrize(
    "X, expected",
    [
        (np.zeros((2, 1), "f4"), F8),
        (np.zeros((2, 1), "f2"), F8),
        ([[1.0], [2.0]], F8),
        (pd.DataFrame({"u": [1.0]}), F8),
        (pd.DataFrame({"u": [1.0]}, dtype="Float32"), F4),
        (pd.DataFrame({"u": [1.0]}, dtype="Float64"), F8),
        (pd.DataFrame({"u": [1]}, dtype="Int8"), F8),
        (pd.DataFrame({"u": ["a"]}), F8),
        (pd.DataFrame({"u": [1.0], "v": ["a"]}).astype({"u": "Float32"}), F8),
        (pd.DataFrame({"u": [1.0], "v": [1]}).astype({"u": "Float32", "v": "Int8"}), F4),
        (pd.DataFrame(), F8),
        (pl.DataFrame({"u": [1.0], "v": [1.0]}).cast(pl.Float32), F4),
        (pl.DataFrame({"u": [1.0], "v": [True]}).cast({"u": pl.Float32}), F4),
        (pl.DataFrame({"u": [1.0], "v": [1]}).cast({"u": pl.Float32}), F8),
        (pl.DataFrame({"u": ["a"]}), F8),
    ],
)
def test_float_types(X, expected):
    assert float_types(X) == expected


def test_nothing_known_is_still_an_error_in_a_float32_frame():
    with pytest.raises(ValueError, match="NaN"):
        check_points(pd.DataFrame({"u": [1.0, None]}, dtype="Float32"))
    with pytest.raises(ValueError, match="NaN"):
        check_points(pl.DataFrame({"u": [1.0, None]}).cast(pl.Float32))


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_weights_of_bfloat16(kind):
    weights = torch.tensor([0.5, 0.25, 0.0, 1.0, 1.25, 1.0], dtype=torch.bfloat16)
    split = split_domains(BaseEstimator(), kind(X), kind(X), sample_weight=weights)
    assert_allclose(split.weight_source, weights.double() / 4.0)
