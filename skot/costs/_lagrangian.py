r"""Lagrangians: what it takes to pass a point at a velocity.

They define the least-action costs of Lagrangian optimal transport,

.. math:: c(x, y) = \inf_{\gamma(0) = x,\ \gamma(1) = y}
          \int_0^1 L(\gamma(t), \dot\gamma(t), t)\, dt.

A Lagrangian is any callable ``(x, v, t)``; the components below are those with a name.
"""

from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from skot.base import Component
from skot.costs._checks import first_place, name_of
from skot.costs._riemannian import ConstantMetric, check_metric, quadratic_form
from skot.utils._sklearn import Interval, InvalidParameterError


class Lagrangian(Component):
    r"""Base class of Lagrangians :math:`L(x, v, t)`.

    A subclass stores its hyper-parameters in ``__init__`` and implements ``__call__`` with
    differentiable torch operations.

    See Also
    --------
    Kinetic : Squared Euclidean cost.
    KineticPotential : Obstacles and force fields.
    RiemannianKinetic : Squared geodesic distances.
    check_lagrangian : Looks for places where a Lagrangian is not defined.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Lagrangian
    >>> class Headwind(Lagrangian):
    ...     def __init__(self, wind=1.0):
    ...         self.wind = wind
    ...     def __call__(self, x, v, t):
    ...         return 0.5 * (v[..., 0] + self.wind) ** 2 + 0.5 * v[..., 1] ** 2
    >>> Headwind()(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.zeros(1))
    tensor([2.])
    """

    #: Whether straight lines at constant speed minimise the action between any two points.
    has_straight_geodesics = False

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """Lagrangian of each point, velocity and time.

        Parameters
        ----------
        x : Tensor of shape (..., n_features)
            Points.
        v : Tensor of shape (..., n_features)
            Velocities.
        t : Tensor that broadcasts to shape (...,)
            Times in [0, 1].

        Returns
        -------
        value : Tensor of shape (...,)
            ``L(x, v, t)``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement __call__.")

    def annealed(self, strength: float, sharpness: float) -> "Lagrangian":
        """Same Lagrangian with weaker and blurred barriers.

        Parameters
        ----------
        strength : float
            Factor of the strength of the barriers; 1 changes nothing.
        sharpness : float
            Factor of the width of their edges; 1 changes nothing.

        Returns
        -------
        lagrangian : Lagrangian
            The base class has no barriers and returns itself.
        """
        return self


class Kinetic(Lagrangian):
    r"""Kinetic energy, whose cost is half the squared Euclidean distance.

    .. math:: L(x, v, t) = \tfrac12 \|v\|^2, \qquad c(x, y) = \tfrac12 \|x - y\|^2

    See Also
    --------
    PowerKinetic : Other norms and powers.
    skot.costs.SquaredEuclidean : The cost without the factor 1/2, in closed form.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import Kinetic
    >>> Kinetic()(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), torch.zeros(1))
    tensor([12.5000])
    """

    has_straight_geodesics = True

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return 0.5 * (v * v).sum(-1)


class PowerKinetic(Lagrangian):
    r"""Power of a norm of the velocity.

    .. math:: L(x, v, t) = \tfrac1p \|v\|_q^p, \qquad c(x, y) = \tfrac1p \|x - y\|_q^p

    Parameters
    ----------
    p : float, default=2.0
        The power, at least 1. For p = 1 the cost is a distance: it has many minimisers, and no
        map follows from its potentials.
    norm : float, default=2.0
        The order q of the norm, at least 1; may be infinite.

    See Also
    --------
    Kinetic : The same with both parameters 2.
    skot.costs.PNorm : The cost without the factor 1/p, in closed form.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import PowerKinetic
    >>> PowerKinetic(p=3.0, norm=1.0)(torch.zeros(1, 2), torch.tensor([[1.0, 2.0]]), torch.zeros(1))
    tensor([9.])
    """

    has_straight_geodesics = True

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "p": [Interval(Real, 1, None, closed="left")],
        "norm": [Interval(Real, 1, None, closed="both")],
    }

    def __init__(self, p: float = 2.0, norm: float = 2.0):
        self.p = p
        self.norm = norm

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        if self.p == self.norm:
            # No root to take, so that it stays smooth at rest.
            return v.abs().pow(self.p).sum(-1) / self.p
        return torch.linalg.vector_norm(v, ord=self.norm, dim=-1).pow(self.p) / self.p


class KineticPotential(Lagrangian):
    r"""Kinetic minus potential energy: obstacles, wells and hills.

    .. math:: L(x, v, t) = \tfrac12 \|v\|^2 - U(x)

    U is zero or negative: where it is far below zero, passing is expensive [1]_.

    Parameters
    ----------
    potential : callable
        U, which takes points of shape (..., n_features) to values of shape (...,) by
        differentiable torch operations. With an attribute ``time_dependent = True`` it is called
        as ``potential(x, t)``. Must be picklable for the estimator to be.

    See Also
    --------
    BoxObstacle : One of the named potentials.

    References
    ----------
    .. [1] Pooladian, A.-A., Domingo-Enrich, C., Chen, R. T. Q. and Amos, B. (2024). Neural
       optimal transport with Lagrangian costs. UAI.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import HarmonicWell, KineticPotential
    >>> lagrangian = KineticPotential(HarmonicWell(strength=2.0))
    >>> lagrangian(torch.tensor([[1.0, 1.0]]), torch.tensor([[2.0, 0.0]]), torch.zeros(1))
    tensor([6.])
    >>> lagrangian.set_params(potential__strength=1.0).potential
    HarmonicWell(strength=1.0)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"potential": [callable]}

    def __init__(self, potential: Callable[..., Tensor]):
        self.potential = potential

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        InvalidParameterError
            If the potential is not callable, or is a class instead of an instance.
        """
        _check_not_a_class(self, "potential")
        super().validate()

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return 0.5 * (v * v).sum(-1) - _evaluate_potential(self.potential, x, t)

    def annealed(self, strength: float, sharpness: float) -> "Lagrangian":
        """Same Lagrangian with a weaker and blurred potential.

        Parameters
        ----------
        strength : float
            Factor of the strength of the potential.
        sharpness : float
            Factor of the width of its edges.

        Returns
        -------
        lagrangian : KineticPotential
            Itself if the potential has no method ``annealed(strength, sharpness)``, or one that
            changes nothing.
        """
        if not hasattr(self.potential, "annealed"):
            return self
        softened = self.potential.annealed(strength, sharpness)
        if softened is self.potential:
            return self
        return type(self)(**{**self.get_params(deep=False), "potential": softened})


class RiemannianKinetic(Lagrangian):
    r"""Kinetic energy under a Riemannian metric, whose cost is half the squared distance.

    .. math:: L(x, v, t) = \tfrac12 v^\top A(x) v, \qquad c(x, y) = \tfrac12 d_A(x, y)^2

    Parameters
    ----------
    metric : callable
        A, which takes points of shape (..., n_features) to symmetric positive definite matrices
        of shape (..., n_features, n_features) by differentiable torch operations. A method
        ``quadratic_form(x, v)``, which `MetricTensor` has, is used where there is one.

    See Also
    --------
    CircleMetric : One of the named metrics.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import HyperbolicHalfPlane, RiemannianKinetic
    >>> lagrangian = RiemannianKinetic(HyperbolicHalfPlane())
    >>> lagrangian(torch.tensor([[0.0, 2.0]]), torch.tensor([[2.0, 0.0]]), torch.zeros(1))
    tensor([0.5000])
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {"metric": [callable]}

    def __init__(self, metric: Callable[[Tensor], Tensor]):
        self.metric = metric

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        InvalidParameterError
            If the metric is not callable, or is a class instead of an instance.
        """
        _check_not_a_class(self, "metric")
        super().validate()

    @property
    def has_straight_geodesics(self) -> bool:  # type: ignore[override]
        """Whether the metric is the same everywhere."""
        return isinstance(self.metric, ConstantMetric)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return 0.5 * quadratic_form(self.metric, x, v)


def check_lagrangian(
    lagrangian: Callable[[Tensor, Tensor, Tensor], Tensor],
    points: Tensor,
    velocities: Tensor,
    times: Tensor,
) -> None:
    """Look for places where a Lagrangian is not defined.

    Parameters
    ----------
    lagrangian : callable
        A `Lagrangian`, or any ``L(x, v, t)``.
    points : Tensor of shape (..., n_features)
        Where to look.
    velocities : Tensor of shape (..., n_features)
        One for each point.
    times : Tensor that broadcasts to shape (...,)
        One for each point.

    Raises
    ------
    ValueError
        With the first place in the message: if values are not finite or have the wrong shape, if
        gradients are not finite or do not exist, if the metric of a `RiemannianKinetic` is not
        symmetric or not positive definite, or the potential of a `KineticPotential` not finite.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import KineticPotential, check_lagrangian
    >>> def logarithmic(x):
    ...     return torch.log(x[..., 0])
    >>> x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    >>> check_lagrangian(KineticPotential(logarithmic), x, torch.ones(2, 2), torch.zeros(2))
    Traceback (most recent call last):
    ...
    ValueError: The potential logarithmic returned nan at row 1, x = [-1.0, 0.0].
    """
    with torch.enable_grad():
        x = points.detach().clone().requires_grad_(True)
        v = velocities.detach().clone().requires_grad_(True)
        if isinstance(lagrangian, RiemannianKinetic):
            check_metric(lagrangian.metric, x.detach())
        if isinstance(lagrangian, KineticPotential):
            name = f"The potential {name_of(lagrangian.potential)}"
            with torch.no_grad():
                potential = _evaluate_potential(lagrangian.potential, x, times)
            _check_values(name, potential, x, times)
        name = f"The Lagrangian {name_of(lagrangian)}"
        value = lagrangian(x, v, times)
        _check_values(name, value, x, times, v)
        if not value.requires_grad:
            raise ValueError(
                f"{name} has no gradient with respect to x and v: compute it from them with torch"
                " operations, without detaching."
            )
        gradients = torch.autograd.grad(value.sum(), (x, v), allow_unused=True)
    for variable, gradient in zip("xv", gradients, strict=True):
        bad = None if gradient is None else ~torch.isfinite(gradient).all(-1)
        if bad is not None and bad.any():
            place = first_place(bad, x=x, t=times, v=v)
            raise ValueError(
                f"The gradient of {name[0].lower()}{name[1:]} with respect to {variable} is not"
                f" finite {place}."
            )


def _check_values(name: str, value: Any, x: Tensor, t: Tensor, v: Tensor | None = None) -> None:
    """Demand one finite number for each point."""
    if not isinstance(value, Tensor):
        raise ValueError(f"{name} must return a tensor. Got {type(value).__name__}.")
    if value.shape != x.shape[:-1]:
        raise ValueError(
            f"{name} must return one value for each point, shape {tuple(x.shape[:-1])}, for points"
            f" of shape {tuple(x.shape)}. Got shape {tuple(value.shape)}."
        )
    bad = ~torch.isfinite(value)
    if bad.any():
        got = value[bad][0].item()
        places = {"x": x} if v is None and not t.any() else {"x": x, "t": t}
        if v is not None:
            places["v"] = v
        raise ValueError(f"{name} returned {got} {first_place(bad, **places)}.")


def _evaluate_potential(potential: Callable[..., Tensor], x: Tensor, t: Tensor) -> Tensor:
    return potential(x, t) if getattr(potential, "time_dependent", False) else potential(x)


def _check_not_a_class(component: Component, name: str) -> None:
    value = getattr(component, name)
    if isinstance(value, type):
        # A class is callable, and would only fail once it is called with points.
        raise InvalidParameterError(
            f"The {name!r} parameter of {type(component).__name__} must be an instance, not a"
            f" class. Got {value.__name__}; pass {value.__name__}() instead."
        )
