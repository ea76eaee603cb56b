"""Whether two parameters mean the same: what a warm start asks of those of the fit before."""

import functools
import types
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from numbers import Number
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch import Tensor, nn

#: Kinds that are equal or not, whatever they could be taken for.
_WORDS = (str, bytes, type, types.NoneType)


def is_same(one: Any, other: Any) -> bool:
    """Whether two parameters mean the same, as far as can be told.

    Parameters are clones, so identity says little: components and estimators are compared by class
    and parameters, other objects by what they hold, functions by their code, arrays and numbers by
    value, whatever their kind. What cannot be compared counts as the same.
    """
    return _Comparison().is_same(one, other)


class _Comparison:
    """One comparison; it remembers the pairs under way, since objects may hold themselves."""

    def __init__(self) -> None:
        self._open: set[tuple[int, int]] = set()

    def is_same(self, one: Any, other: Any) -> bool:
        """Compare two values of any kind."""
        if one is other or (id(one), id(other)) in self._open:
            return True
        self._open.add((id(one), id(other)))
        try:
            return self._compare(one, other)
        finally:
            self._open.discard((id(one), id(other)))

    def _compare(self, one: Any, other: Any) -> bool:
        if any(isinstance(each, (Tensor, np.ndarray)) for each in (one, other)):
            return _are_same_numbers(one, other)
        if any(isinstance(each, _WORDS) for each in (one, other)):
            return type(one) is type(other) and bool(one == other)
        if isinstance(one, Number) and isinstance(other, Number):
            return bool(one == other) or (one != one and other != other)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            return self._have_same_items(one, other)
        if isinstance(one, Sequence) and isinstance(other, Sequence):
            return len(one) == len(other) and all(map(self.is_same, one, other))
        return type(one) is type(other) and self._hold_the_same(one, other)

    def _have_same_items(self, one: Mapping, other: Mapping) -> bool:
        return one.keys() == other.keys() and all(self.is_same(one[key], other[key]) for key in one)

    def _hold_the_same(self, one: Any, other: Any) -> bool:
        """Compare two objects of one class."""
        if isinstance(one, types.FunctionType):
            return self.is_same(_parts_of_function(one), _parts_of_function(other))
        if isinstance(one, types.CodeType):
            # Not its line: a cell that is run again defines the same function elsewhere.
            names = ("co_code", "co_names", "co_varnames", "co_freevars", "co_consts")
            return all(self.is_same(getattr(one, n), getattr(other, n)) for n in names)
        if isinstance(one, types.MethodType):
            return one.__func__ is other.__func__ and self.is_same(one.__self__, other.__self__)
        if isinstance(one, functools.partial):
            parts = ((each.func, each.args, each.keywords) for each in (one, other))
            return self.is_same(*parts)
        if isinstance(one, nn.Module):
            return self.is_same(dict(one.state_dict()), dict(other.state_dict()))
        if isinstance(one, BaseEstimator):
            held = (_params_and_fitted(each) for each in (one, other))
            return self.is_same(*held)
        if not is_dataclass(one) and _has_equality(one):
            try:
                return bool(one == other)
            except Exception:  # such as those of data frames, which compare by entry
                return True
        held = (_held(each) for each in (one, other))
        return self.is_same(*held)


def _are_same_numbers(one: Any, other: Any) -> bool:
    """Compare arrays, tensors and lists of numbers by value."""
    try:
        first, second = (_as_array(each) for each in (one, other))
    except (RuntimeError, TypeError, ValueError):  # sparse tensors, ragged lists
        return type(one) is type(other)
    if first.dtype.kind == "O" or second.dtype.kind == "O":
        return first.shape == second.shape
    are_floats = first.dtype.kind in "fc" and second.dtype.kind in "fc"
    return bool(np.array_equal(first, second, equal_nan=are_floats))


def _as_array(values: Any) -> np.ndarray:
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.double() if values.is_floating_point() else values).numpy()


def _parts_of_function(function: types.FunctionType) -> tuple:
    """What a function does depends on, but for globals: code, closure and defaults."""
    cells = function.__closure__ or ()
    closure = [cell.cell_contents for cell in cells]
    return function.__code__, closure, function.__defaults__, function.__kwdefaults__


def _params_and_fitted(estimator: BaseEstimator) -> dict[str, Any]:
    fitted = {k: v for k, v in vars(estimator).items() if k.endswith("_") and k[0] != "_"}
    return {**fitted, **estimator.get_params(deep=False)}


def _held(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in slots too."""
    slots = {
        name
        for base in type(value).__mro__
        for name in np.atleast_1d(getattr(base, "__slots__", ())).tolist()
        if hasattr(value, name)
    }
    return {**{name: getattr(value, name) for name in slots}, **getattr(value, "__dict__", {})}


def _has_equality(value: Any) -> bool:
    return any("__eq__" in vars(base) for base in type(value).__mro__[:-1])
