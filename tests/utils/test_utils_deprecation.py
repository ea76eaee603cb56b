"""Deprecations: warnings in the same words, from the line of the user."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone

from skot.utils.deprecation import DEPRECATED, deprecated, renamed_parameter

INSIDE_SKOT = """
from sklearn.base import BaseEstimator, TransformerMixin
from skot.utils._sklearn import fit_context
from skot.utils.deprecation import DEPRECATED, renamed_parameter


class Wrapped(TransformerMixin, BaseEstimator):
    _parameter_constraints = {}

    def __init__(self, epsilon=0.05, reg=DEPRECATED):
        self.epsilon = epsilon
        self.reg = reg

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X=None, y=None):
        self.epsilon_ = renamed_parameter(
            self, "reg", "epsilon", default=0.05, since="0.2", removal="0.4"
        )
        return self

    def transform(self, X):
        return X
"""


@deprecated(since="0.2", removal="0.4", instead="`add`")
def plus(x, y):
    """Add."""
    return x + y


@deprecated(since="0.2", removal="0.4", instead="`Adder`")
class Plus:
    """An adder."""


class Holder:
    @deprecated(since="0.2", removal="0.4", instead="`total_`")
    @property
    def sum_(self):
        return 3


class Smoother(BaseEstimator):
    def __init__(self, epsilon=0.05, reg=DEPRECATED):
        self.epsilon = epsilon
        self.reg = reg

    def fit(self, X=None, y=None):
        self.epsilon_ = renamed_parameter(
            self, "reg", "epsilon", default=0.05, since="0.2", removal="0.4"
        )
        return self


@pytest.mark.parametrize(
    ("use", "value", "instead"),
    [
        (lambda: plus(1, 2), 3, "`add`"),
        (lambda: type(Plus()).__name__, "Plus", "`Adder`"),
        (lambda: Holder().sum_, 3, "`total_`"),
    ],
    ids=["function", "class", "property"],
)
def test_deprecated(use, value, instead):
    message = rf"since skot 0\.2, and removed in 0\.4\. Use {instead} instead"
    with pytest.warns(FutureWarning, match=message):
        assert use() == value


def test_new_name():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Smoother().fit().epsilon_ == 0.05
        assert Smoother(epsilon=0.1).fit().epsilon_ == 0.1


def test_old_name():
    smoother = Smoother(reg=0.1)
    with pytest.warns(FutureWarning, match=r"'reg' of Smoother .* Use 'epsilon'") as caught:
        smoother.fit()
    assert smoother.epsilon_ == 0.1
    # Parameters stay as they were given: a clone warns again.
    assert smoother.get_params() == {"epsilon": 0.05, "reg": 0.1}
    assert clone(smoother).get_params() == smoother.get_params()
    assert caught[0].filename == __file__


@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_the_line_of_the_user_is_named(method):
    """Through skot's own frames, and the wrappers that scikit-learn puts around methods."""
    inside = {"__name__": "skot.transport._made_up"}
    exec(compile(INSIDE_SKOT, "_made_up.py", "exec"), inside)
    with pytest.warns(FutureWarning) as caught:
        getattr(inside["Wrapped"](reg=0.1), method)(np.zeros((3, 2)))
    assert caught[0].filename == __file__


def test_values_that_are_arrays():
    with pytest.raises(ValueError, match="got both"):
        Smoother(epsilon=np.ones(2), reg=0.2).fit()
    with pytest.warns(FutureWarning):
        assert_array_equal(Smoother(reg=np.ones(2)).fit().epsilon_, np.ones(2))


def test_both_names():
    with pytest.raises(ValueError, match="both 'epsilon' and its deprecated name 'reg'"):
        Smoother(epsilon=0.1, reg=0.2).fit()
