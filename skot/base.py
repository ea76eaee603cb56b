"""Components: the pluggable parts of an estimator."""

import sys
from collections.abc import Callable
from itertools import takewhile
from typing import Any, ClassVar

import torch
from sklearn.base import BaseEstimator, clone

from skot.utils._sklearn import InvalidParameterError, remedy, validate_parameters

__all__ = ["Component", "ComponentParamsMixin", "check_component"]


class ComponentParamsMixin:
    """Make `set_params` explain how to reach into a component that is None.

    A component parameter defaults to None, which stands for a documented class, so there is
    nothing yet on which ``set_params(cost__p=1)`` could act.

    It also lets diagrams link to the documentation: to the page of the estimator, and from its
    parameters to their description. Subclasses that are defined outside skot show no link, since
    scikit-learn compares the names of the packages.

    Put it on the left of `BaseEstimator`.
    """

    _doc_link_module: ClassVar[str] = "skot"
    # The documentation's own build replaces it, so that its pages link to each other.
    _doc_link_template: ClassVar[str] = (
        "https://skot.readthedocs.io/en/stable/generated/{public_module}.{name}.html"
    )

    #: What to write in place of a plain function or a table; only used in messages.
    _remedy: ClassVar[str] = ""
    #: The class that None stands for, by name of the parameter; only used in messages.
    _default_components: ClassVar[dict[str, Any]] = {}

    def set_params(self: Any, **params: Any) -> Any:
        """Set the parameters of this estimator.

        Parameters
        ----------
        **params : dict
            Parameters, those of a component written as ``<component>__<parameter>``.

        Returns
        -------
        self : object
            The instance itself.

        Raises
        ------
        ValueError
            If a parameter does not exist, or belongs to a component that is not there.
        """
        own_params = self.get_params(deep=False)
        for key in params:
            name, nested, sub_key = key.partition("__")
            if not nested or name not in own_params:
                continue
            value = params.get(name, own_params[name])
            if value is None or isinstance(value, str):
                raise ValueError(self._no_component_message(name, value, sub_key))
        return super().set_params(**params)  # type: ignore[misc]

    def _validate_params(self) -> None:
        # What the decorator of ``fit`` calls, with messages that name what users can import.
        validate_parameters(self)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Read the signature of a class once, not whenever its parameters are asked for."""
        names = cls.__dict__.get("_names_of_parameters")
        if names is None:
            names = tuple(super()._get_param_names())  # type: ignore[misc]
            cls._names_of_parameters = names  # type: ignore[attr-defined]
        return list(names)

    def _doc_link_url_param_generator(self) -> dict[str, Any]:
        return {"public_module": public_module(type(self)), "name": type(self).__name__}

    def _no_component_message(self, name: str, value: str | None, sub_key: str) -> str:
        default = self._default_components.get(name)
        if default is not None:
            example = f"{default.__name__}()"
            stands_for = f", which stands for {example}" if value is None else ""
        else:
            example, stands_for = "<a component>", ""
        return (
            f"Cannot set parameter {sub_key!r} of {name!r} of {type(self).__name__}: {name!r} is "
            f"{value!r}{stands_for}, which has no parameters to set. Pass an instance, for example "
            f"{type(self).__name__}({name}={example}), and set {name}__{sub_key} then."
        )


def public_module(cls: type) -> str:
    """Name of the shortest module that offers the class: what users import it from."""
    public = list(takewhile(lambda part: not part.startswith("_"), cls.__module__.split(".")))
    names = [".".join(public[: i + 1]) for i in range(len(public))]
    offering = (name for name in names if getattr(sys.modules[name], cls.__name__, None) is cls)
    return next(offering, names[-1])


class Component(ComponentParamsMixin, BaseEstimator):
    """Base class of everything that plugs into an estimator.

    A component holds hyper-parameters and computes. It has no data, no weights, no seed and no
    `fit`, so that it can be cloned, compared, printed and searched over like any scikit-learn
    parameter. An estimator never uses the instance it was given: it works on the validated clone
    that `check_component` returns.

    Subclasses store their parameters in ``__init__`` unchanged and may declare
    ``_parameter_constraints``, in scikit-learn's terms.

    Examples
    --------
    >>> from skot.base import Component
    >>> class Scaled(Component):
    ...     _parameter_constraints = {"factor": [float]}
    ...     def __init__(self, factor=1.0):
    ...         self.factor = factor
    >>> Scaled(factor=2.0).set_params(factor=3.0)
    Scaled(factor=3.0)
    >>> Scaled(factor="big").validate()
    Traceback (most recent call last):
    ...
    sklearn.utils._param_validation.InvalidParameterError: The 'factor' parameter of Scaled must \
be an instance of 'float'. Got 'big' instead.
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {}

    def validate(self) -> None:
        """Check the parameters, and those of the components among them.

        Raises
        ------
        InvalidParameterError
            A `ValueError`, worded as scikit-learn does.
        """
        validate_parameters(self)
        for value in self.get_params(deep=False).values():
            if isinstance(value, Component):
                value.validate()


def check_component(
    value: Any,
    *,
    default: Callable[[], Any] | None,
    kind: type | str | tuple[type | str, ...],
    name: str,
) -> Any:
    """Return the validated clone of a component parameter.

    Parameters
    ----------
    value : object or None
        What the user passed. None means ``default()``.
    default : callable or None
        Makes the component that None stands for. None if the parameter is required.
    kind : type, str or tuple of them
        What is accepted: instances of a class, or objects that have a method of that name (which
        lets users bring an object of their own). One match is enough.
    name : str
        Name of the parameter, for messages.

    Returns
    -------
    component : object
        A clone, which the caller may keep as ``<name>_``.

    Raises
    ------
    InvalidParameterError
        If `value` is not of that kind, is a class instead of an instance, holds the weights of a
        network, or has bad parameters.

    Examples
    --------
    >>> from skot.base import Component, check_component
    >>> class Step(Component):
    ...     def __init__(self, size=1.0):
    ...         self.size = size
    >>> check_component(None, default=Step, kind=Step, name="step")
    Step()
    """
    if value is None and default is not None:
        value = default()
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if isinstance(value, type):
        raise InvalidParameterError(
            f"The {name!r} parameter must be an instance, not a class. Got {value.__name__}; "
            f"pass {value.__name__}() instead."
        )
    if isinstance(value, torch.nn.Module):
        raise InvalidParameterError(
            f"The {name!r} parameter must hold hyper-parameters only. Got an instance of the "
            f"torch.nn.Module {type(value).__name__}; pass an object that builds it instead."
        )
    if not any(_is_kind(value, one) for one in kinds):
        expected = " or ".join(_describe(one) for one in kinds)
        raise InvalidParameterError(
            f"The {name!r} parameter must be {expected}. Got {value!r} instead."
            f"{remedy(value, kinds)}"
        )
    component = clone(value, safe=False)
    if isinstance(component, Component):
        component.validate()
    return component


def _is_kind(value: Any, kind: type | str) -> bool:
    if isinstance(kind, str):
        return callable(getattr(value, kind, None))
    return isinstance(value, kind)


def _describe(kind: type | str) -> str:
    if isinstance(kind, str):
        return f"an object with the method {kind!r}"
    return f"an instance of {kind.__module__.split('._')[0]}.{kind.__qualname__}"
