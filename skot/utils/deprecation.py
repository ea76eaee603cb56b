"""How public names and parameters go: with a warning, for two minor versions, in the same words."""

import warnings
from numbers import Number
from typing import Any

from sklearn.utils import deprecated as sklearn_deprecated

from skot.utils._warnings import level_of_the_user

__all__ = ["DEPRECATED", "deprecated", "renamed_parameter"]

#: Default of a parameter that is on its way out, so that a use of it shows.
DEPRECATED = "deprecated"


def deprecated(*, since: str, removal: str, instead: str) -> Any:
    """Mark a function, a class or a property as deprecated.

    Calling it, making an instance, or reading the property gives a `FutureWarning`.

    Parameters
    ----------
    since, removal : str
        The version with which it is deprecated, and the one in which it is removed: two minor
        versions later.
    instead : str
        What to use in its place.

    Returns
    -------
    decorator : sklearn.utils.deprecated
        For a property, apply it above ``@property``.

    See Also
    --------
    renamed_parameter : The same for a parameter of an estimator.

    Examples
    --------
    >>> import warnings
    >>> from skot.utils.deprecation import deprecated
    >>> @deprecated(since="0.2", removal="0.4", instead="`new_cost`")
    ... def old_cost(x, y):
    ...     return x * y
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     value = old_cost(2, 3)
    >>> value
    6
    >>> print(caught[0].message)
    Function old_cost is deprecated; since skot 0.2, and removed in 0.4. Use `new_cost` instead.
    """
    return sklearn_deprecated(
        f"since skot {since}, and removed in {removal}. Use {instead} instead."
    )


def renamed_parameter(
    estimator: Any, old: str, new: str, *, default: Any, since: str, removal: str
) -> Any:
    """Resolve a parameter of an estimator that has an old and a new name.

    The constructor keeps both and only stores them; the default of the old one is ``DEPRECATED``.
    ``fit`` asks here which value counts.

    Parameters
    ----------
    estimator : estimator
        The estimator, whose parameters are left as they are.
    old, new : str
        Both names.
    default : object
        The default of the new name, by which it shows whether it was set.
    since, removal : str
        The version with which the old name is deprecated, and the one in which it is removed.

    Returns
    -------
    value : object
        The value to use.

    Raises
    ------
    ValueError
        If both were set.

    Warns
    -----
    FutureWarning
        If the old name was set.

    See Also
    --------
    deprecated : The same for functions, classes and properties.

    Examples
    --------
    >>> import warnings
    >>> from sklearn.base import BaseEstimator
    >>> from skot.utils.deprecation import DEPRECATED, renamed_parameter
    >>> class Smoother(BaseEstimator):
    ...     def __init__(self, epsilon=0.05, reg=DEPRECATED):
    ...         self.epsilon = epsilon
    ...         self.reg = reg
    ...     def fit(self, X, y=None):
    ...         self.epsilon_ = renamed_parameter(
    ...             self, "reg", "epsilon", default=0.05, since="0.2", removal="0.4"
    ...         )
    ...         return self
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     Smoother(reg=0.1).fit(None).epsilon_
    0.1
    >>> print(caught[0].message)
    The parameter 'reg' of Smoother is deprecated since skot 0.2, and removed in 0.4. ...
    """
    old_value, new_value = getattr(estimator, old), getattr(estimator, new)
    if isinstance(old_value, str) and old_value == DEPRECATED:
        return new_value
    name = type(estimator).__name__
    # Arrays have no one answer to being equal.
    plain = isinstance(new_value, str | Number)
    if new_value is not default and not (plain and new_value == default):
        raise ValueError(f"{name} got both {new!r} and its deprecated name {old!r}. Pass {new!r}.")
    warnings.warn(
        f"The parameter {old!r} of {name} is deprecated since skot {since}, and removed in "
        f"{removal}. Use {new!r} instead.",
        FutureWarning,
        stacklevel=level_of_the_user(),
    )
    return old_value
