"""From what a user passes as ``cost`` to a validated cost component."""

from skot.base import Component, check_component
from skot.costs._base import Cost
from skot.costs._pointwise import Cosine, Euclidean, PNorm, SphereGeodesic, SquaredEuclidean

_NAMED_COSTS = {
    "sqeuclidean": SquaredEuclidean,
    "euclidean": Euclidean,
    "cityblock": lambda: PNorm(p=1.0),
    "cosine": Cosine,
    "sphere": SphereGeodesic,
}


def check_cost(cost: str | Component | None, *, kind: type | tuple[type, ...] = Cost) -> Component:
    """Resolve a cost given by name or as a component.

    Parameters
    ----------
    cost : str, Cost or None
        ``"sqeuclidean"`` (also for ``None``), ``"euclidean"``, ``"cityblock"``, ``"cosine"``,
        ``"sphere"``, or a component.
    kind : type or tuple of types, default=Cost
        What a component must be an instance of.

    Returns
    -------
    cost : Component
        A validated clone.

    Raises
    ------
    ValueError
        For an unknown name or a component of another kind.

    Examples
    --------
    >>> from skot.costs import check_cost
    >>> check_cost("euclidean")
    Euclidean()
    """
    if isinstance(cost, str):
        if cost not in _NAMED_COSTS:
            names = sorted(_NAMED_COSTS)
            raise ValueError(f"`cost` must be one of {names} or a cost component. Got {cost!r}.")
        return _NAMED_COSTS[cost]()
    return check_component(cost, default=SquaredEuclidean, kind=kind, name="cost")
