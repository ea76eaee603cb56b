"""Rows of two histograms: checked, parted, normalised."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import validate_data
from torch import Tensor

from skot.costs import Cost
from skot.training import fingerprint
from skot.utils._points import check_points, float_types
from skot.utils.tensors import resolve_dtype, to_tensor


@dataclass(frozen=True)
class Problems:
    """Rows to train on, checked: inputs and outputs side by side, histograms normalised.

    Attributes
    ----------
    rows : Tensor of shape (n_problems, n_inputs + n_outputs)
        In float32 where a network reads histograms.
    n_inputs, n_outputs : int
        Widths; no outputs where the dual objective is trained on.
    n_source : int
        Inputs that are source weights.
    output_ndim : int
        Dimensions of the outputs as they were given.
    dtype : dtype
        Of the inputs as they were given.
    """

    rows: Tensor
    n_inputs: int
    n_outputs: int
    n_source: int
    output_ndim: int
    dtype: torch.dtype
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def n_items(self) -> int:
        """Number of problems."""
        return len(self.rows)

    @property
    def inputs(self) -> Tensor:
        """What is given of each problem."""
        return self.rows[:, : self.n_inputs]

    @property
    def outputs(self) -> Tensor:
        """What is wanted."""
        return self.rows[:, self.n_inputs :]

    def histograms(self) -> tuple[Tensor, Tensor]:
        """Source and target weights."""
        return part_histograms(self.inputs, self.n_source)


def validate_rows(
    estimator: Any, X: Any, y: Any, *, reset: bool, needs_y: bool = False
) -> tuple[Any, Any]:
    """Validate rows and outputs as scikit-learn does, tensors too."""
    if y is None and needs_y:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y "
            "is None. With a cost it learns without y."
        )
    if isinstance(X, Tensor):
        X = check_points(X, estimator=estimator)
        X = validate_data(estimator, X, reset=reset, skip_check_array=True)
        if y is None:
            return X, None
        y = y if isinstance(y, Tensor) else torch.as_tensor(np.asarray(y))
        checked = check_points(y.reshape(len(y), -1), estimator=estimator, name="y")
        if len(y) != len(X):
            raise ValueError(f"X has {len(X)} rows, but y has {len(y)} rows.")
        return X, checked.reshape(y.shape)
    if y is None:
        return validate_data(estimator, X, reset=reset, dtype=float_types(X)), None
    return validate_data(
        estimator, X, y, reset=reset, dtype=float_types(X), multi_output=True, y_numeric=True
    )


def read_problems(
    owner: str, X: Any, y: Any, cost: Any, device: torch.device, n_outputs: int | None
) -> Problems:
    """Bring validated rows to tensors; a new network has None for `n_outputs`."""
    rows = to_tensor(X, dtype=torch.float64, device=device)
    n_inputs, n_source, n_labels, output_ndim = rows.shape[1], 0, 0, 0
    if cost is not None:
        check_problems(cost, rows, owner)
        n_outputs = n_source = cost.support_sizes[0]
        # Before they are rounded to float32, whose range raw weights may leave.
        rows = torch.cat(part_histograms(rows, n_source), 1)
    if y is not None:
        labels = to_tensor(y, dtype=torch.float64, device=device)
        output_ndim = labels.ndim
        labels = labels.reshape(len(labels), -1)
        n_labels = labels.shape[1]
        if n_outputs not in (None, n_labels):
            raise ValueError(f"y has {n_labels} outputs, but {owner} is expecting {n_outputs}.")
        rows = torch.cat([rows, labels], 1)
    rows = rows if cost is None else rows.float()
    return Problems(rows, n_inputs, n_labels, n_source, output_ndim, resolve_dtype(X))


def check_problems(cost: Any, rows: Tensor, owner: str) -> None:
    """Raise unless rows hold two histograms on the supports of a cost."""
    check_width(cost, rows.shape[1], owner)
    check_histograms(rows, cost.support_sizes[0])


def check_width(cost: Any, n_columns: int, owner: str) -> None:
    """Raise unless rows are as wide as the two supports together."""
    n, m = cost.support_sizes
    if n_columns != n + m:
        raise ValueError(
            f"X has {n_columns} features, but {owner} is expecting {n + m} features as input: "
            f"{n} source weights and {m} target weights, the sizes of the supports of its cost."
        )


def part_histograms(rows: Tensor, n_source: int) -> tuple[Tensor, Tensor]:
    """Part rows into source and target weights, and normalise each to one, in float64."""
    rows = rows.double()
    a, b = _normalized(rows[:, :n_source]), _normalized(rows[:, n_source:])
    return a, b


def check_histograms(rows: Tensor, n_source: int) -> None:
    """Raise for rows that hold no two measures, and say which row it is."""
    for side, weights in (("source", rows[:, :n_source]), ("target", rows[:, n_source:])):
        negative = (weights < 0).any(1)
        if bool(negative.any()):
            row = int(negative.nonzero()[0])
            raise ValueError(
                "Negative values in data passed to MetaOTRegressor: rows of X are histograms, and "
                f"row {row} has negative {side} weights."
            )
        empty = ~(weights > 0).any(1)
        if bool(empty.any()):
            row = int(empty.nonzero()[0])
            raise ValueError(
                f"Row {row} of X cannot be normalised: all of its {side} weights are zero."
            )


def _normalized(weights: Tensor) -> Tensor:
    # Dividing by the largest first keeps the sum of huge weights finite.
    weights = weights / weights.amax(1, keepdim=True)
    return weights / weights.sum(1, keepdim=True)


def positions(points: Tensor, support: Tensor) -> Tensor | None:
    """Return where points (k, d) are in the support (n, d), (k,); None if one of them is not.

    Of equal points of the support one stands for all, unless `points` is the whole support.
    """
    if points.shape[1] != support.shape[1]:
        return None
    if torch.equal(points, support):
        return torch.arange(len(points), device=points.device)
    _, inverse = torch.unique(torch.cat([support, points]), dim=0, return_inverse=True)
    where = torch.full((len(inverse),), -1, device=inverse.device)
    where[inverse[: len(support)]] = torch.arange(len(support), device=inverse.device)
    found = where[inverse[len(support) :]]
    return found if bool((found >= 0).all()) else None


def check_same_problem(
    cost: Any, epsilon: float, problem: Any, problem_epsilon: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the weights of a problem on the supports of a cost, or raise if it is another one.

    Transports leave out points without mass: they come back with the weight zero. The third item
    says which target points the problem has, or is None for all.
    """
    if not math.isclose(epsilon, problem_epsilon, rel_tol=1e-6):
        raise ValueError(
            f"The MetaOTRegressor was trained for epsilon={epsilon:g}, but the problem has "
            f"epsilon={problem_epsilon:g} in the units of its cost. SinkhornTransport multiplies "
            "its epsilon by the mean cost, unless scale_cost=None."
        )
    if getattr(problem.costs, "has_class_cost", False):
        raise ValueError(_other_problem("a class cost"))
    a, b = problem.a.detach(), problem.b.detach()
    between_points = isinstance(problem.cost, Cost)
    if between_points and cost.ground_cost is not None:
        if fingerprint(cost.ground_cost) != fingerprint(problem.cost):
            raise ValueError(_other_problem(f"the cost {problem.cost!r}"))
        x, y = cost.points()
        rows = positions(problem.points[0].detach().to(x), x)
        columns = positions(problem.points[1].detach().to(y), y)
        if rows is None or columns is None:
            raise ValueError(_other_problem("points that are not in its supports"))
        full_a, full_b = a.new_zeros(len(a), len(x)), b.new_zeros(len(b), len(y))
        # Added up, not written: a problem may hold a point several times.
        full_a.index_add_(1, rows, a)
        full_b.index_add_(1, columns, b)
        return full_a, full_b, columns
    if between_points or cost.digest() != problem.cost.digest():
        raise ValueError(_other_problem("another cost"))
    return a, b, None


def _other_problem(what: str) -> str:
    return (
        f"The problem has {what}, but the MetaOTRegressor was trained for one cost on fixed "
        "supports: its potentials mean nothing here."
    )
