"""Batches of different clouds, read from what a caller passes and padded to one shape."""

from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array
from torch import Tensor

from skot.costs import Cost, FixedSupportCost, check_cost
from skot.measures import normalize_weights
from skot.solvers._entropic.derivatives.functions import needs_graph
from skot.utils._points import FLOATS
from skot.utils.tensors import n_dimensions, resolve_dtype, to_numpy, to_tensor
from skot.utils.validation import check_points

#: Up to this many times the entries that there are, padding is cheaper than more than one batch.
_PADDING = 2


@dataclass(frozen=True)
class CloudBatch:
    """Problems with a pair of clouds each, padded to one shape with points that have no mass.

    Attributes
    ----------
    cost : Cost or PrecomputedCost
        Ground cost.
    points : tuple of Tensor
        Points of shape (n_problems, n, d) and (n_problems, m, d), or one tensor of matrices of
        shape (n_problems, n, m); in float64. They may require gradients.
    a, b : Tensor of shape (n_problems, n), (n_problems, m)
        Weights that sum to one; they may require gradients.
    sizes : tuple of (list of int, list of int)
        Points of each cloud, padding not counted.
    epsilon : float or ndarray of shape (n_problems,)
        Regularisation.
    """

    cost: Any
    points: tuple[Tensor, ...]
    a: Tensor
    b: Tensor
    sizes: tuple[list[int], list[int]]
    epsilon: "float | np.ndarray"

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What derivatives are taken with respect to: weights and points ``(a, b, *points)``."""
        return self.a, self.b, *self.points

    def plain(self, a: Tensor, b: Tensor, *points: Tensor) -> "CloudBatch":
        """The same batch without a graph, of inputs that a transform of `torch.func` unwrapped."""
        points = tuple(part.detach() for part in points)
        return replace(self, a=a.detach(), b=b.detach(), points=points)

    @property
    def n_problems(self) -> int:
        """Number of problems."""
        return len(self.a)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of source and target points, padding counted."""
        return self.a.shape[1], self.b.shape[1]

    @cached_property
    def epsilons(self) -> Tensor:
        """Regularisation of each problem, shape (n_problems,)."""
        values = torch.as_tensor(self.epsilon, dtype=torch.float64, device=self.a.device)
        return values.expand(self.n_problems)

    @property
    def reported_epsilon(self) -> "float | Tensor":
        """The regularisation as results tell it: one number where the caller passed one."""
        return self.epsilon if isinstance(self.epsilon, float) else self.epsilons

    def groups(self) -> list[list[int]]:
        """Part the problems by size, where padding all of them to one shape would cost much."""
        sizes = list(zip(*self.sizes, strict=True))
        n, m = self.shape
        if n * m * len(sizes) <= _PADDING * sum(n * m for n, m in sizes):
            return [list(range(len(sizes)))]
        groups: dict[tuple[int, int], list[int]] = {}
        for i, (n, m) in enumerate(sizes):
            groups.setdefault(((n - 1).bit_length(), (m - 1).bit_length()), []).append(i)
        return list(groups.values())

    def select(self, index: list[int]) -> "CloudBatch":
        """Cut out some problems, padded no more than they need; tensors stay in their graph."""
        rows, columns = ([side[i] for i in index] for side in self.sizes)
        n, m = max(rows), max(columns)
        if len(self.points) == 1:
            points: tuple[Tensor, ...] = (self.points[0][index, :n, :m],)
        else:
            points = self.points[0][index, :n], self.points[1][index, :m]
        a, b = self.a[index, :n], self.b[index, :m]
        epsilon = self.epsilon if isinstance(self.epsilon, float) else self.epsilon[index]
        return CloudBatch(self.cost, points, a, b, (rows, columns), epsilon)

    @cached_property
    def inside(self) -> tuple[Tensor, Tensor]:
        """What is no padding, shape (n_problems, n) and (n_problems, m)."""
        device = self.a.device
        sizes = (torch.tensor(sizes, device=device)[:, None] for sizes in self.sizes)
        n, m = (
            torch.arange(width, device=device) < size
            for width, size in zip(self.shape, sizes, strict=True)
        )
        return n, m


def is_cloud_batch(cost, x, y) -> bool:
    """Whether a call is about different clouds: one side has three dimensions.

    Arrays of objects count, to be refused.
    """
    if isinstance(cost, FixedSupportCost):
        return cost.is_batch and x is None and y is None
    return any(n_dimensions(v) == 3 or _is_objects(v) for v in (x, y))


def read_clouds(cost, x, y, a, b, epsilon=1.0) -> CloudBatch:
    """Read a batch of different clouds, and pad it.

    Points are arrays of shape (n_problems, n, d) or lists of (n_i, d), weights of (n_problems, n),
    (n,) or lists of (n_i,), epsilon is one number or (n_problems,). Raises a ValueError for what
    does not fit together or is not finite.
    """
    points: tuple[Tensor, ...]
    if x is None and y is None:  # only a batch of matrices comes without points
        cost.validate()
        matrices, rows = _read_array(_one_array(cost.matrix), "cost matrix")
        points, sizes = (matrices.double(),), (rows, [matrices.shape[2]] * len(rows))
        n, m = matrices.shape[1:]
    else:
        cost = check_cost(cost)
        x, y, sizes = _read_points(cost, x, y)
        points, n, m = (x, y), x.shape[1], y.shape[1]
    n_problems, device = len(points[0]), points[0].device
    a = _read_weights(a, sizes[0], n, "a", device)
    b = _read_weights(b, sizes[1], m, "b", device)
    epsilon = _read_epsilon(epsilon, n_problems)
    return CloudBatch(cost, points, a, b, sizes, epsilon)


def cloud_spreads(cost: Cost, x, y, a, b) -> list[list[float]]:
    """Mean cost between two points of the same cloud: of each source, then of each target."""
    with torch.no_grad():
        batch = read_clouds(cost, x, y, a, b)
        batch = batch.plain(*batch.inputs)
        return [
            [batch.cost.scale(x, x, w, w) for x, w in zip(points, weights, strict=True)]
            for points, weights in zip(batch.points, (batch.a, batch.b), strict=True)
        ]


def _read_points(cost: Cost, x, y) -> tuple[Tensor, Tensor, tuple[list[int], list[int]]]:
    if x is None or y is None:
        raise ValueError(f"{type(cost).__name__} needs the points: pass x and y.")
    for name, side in (("x", x), ("y", y)):
        if _is_objects(side):
            raise ValueError(
                f"{name} is an array of objects. Pass a list of arrays of shape "
                "(n_samples, n_features), or one array of shape (n_problems, n_samples, "
                "n_features)."
            )
        if n_dimensions(side) != 3:
            raise ValueError(
                "x and y must both be batches of clouds, of three dimensions, or both be single "
                f"clouds, of two. Got {n_dimensions(x)} and {n_dimensions(y)} dimensions."
            )
    (x, n), (y, m) = _read_side(x, "x"), _read_side(y, "y")
    if len(x) != len(y):
        raise ValueError(f"x holds {len(x)} problems, but y holds {len(y)} problems.")
    if x.shape[2] != y.shape[2]:
        raise ValueError(f"x has {x.shape[2]} features, but y has {y.shape[2]} features.")
    if x.device != y.device:
        raise ValueError(f"x is on device {x.device}, but y is on device {y.device}.")
    if x.dtype != y.dtype:
        raise ValueError(f"x has dtype {x.dtype}, but y has dtype {y.dtype}.")
    return x.double(), y.double(), (n, m)


def _read_side(clouds, name: str) -> tuple[Tensor, list[int]]:
    """Padded points of shape (n_problems, n, d), and the size of each cloud."""
    if isinstance(clouds, (list, tuple)):
        return _read_list(clouds, name)
    return _read_array(clouds, name)


def _one_array(matrices):
    """Matrices of one shape in one array; tensors stay in their graph."""
    if not isinstance(matrices, (list, tuple)):
        return matrices
    shapes = {tuple(np.shape(matrix)) for matrix in matrices}
    if len(shapes) > 1:
        raise ValueError(
            f"The cost matrices of a batch must have one shape. Got {sorted(shapes)}: make them "
            "equal with rows and columns that have no weight."
        )
    if all(isinstance(matrix, Tensor) for matrix in matrices):
        return torch.stack(tuple(matrices))
    return np.asarray([to_numpy(matrix) for matrix in matrices])


def _read_array(array, name: str) -> tuple[Tensor, list[int]]:
    """One array of three dimensions, checked and copied; a tensor may stay in its graph."""
    shape = tuple(array.shape)
    for axis, what in ((0, "sample"), (1, "sample"), (2, "feature")):
        if shape[axis] == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is required."
            )
    if isinstance(array, Tensor):
        # Two dimensions are what scikit-learn's words are about.
        check_points(array.flatten(0, 1), name=name)
        if needs_graph(array):
            return _copy_in_graph(array), [shape[1]] * shape[0]
    elif not (isinstance(array, np.ndarray) and array.dtype in FLOATS and _all_finite(array)):
        array = check_array(array, allow_nd=True, dtype=FLOATS, input_name=name)
    return to_tensor(array), [shape[1]] * shape[0]


def _read_list(clouds, name: str) -> tuple[Tensor, list[int]]:
    """Clouds of different sizes, each padded with copies of its first point, in their graph."""
    parts = [_as_cloud(cloud, f"{name}[{i}]") for i, cloud in enumerate(clouds)]
    width = parts[0].shape[1]
    for i, part in enumerate(parts):
        if part.shape[1] != width:
            raise ValueError(
                f"{name}[0] has {width} features, but {name}[{i}] has {part.shape[1]} features."
            )
    for what, kinds in (
        ("dtype", {resolve_dtype(part) for part in parts}),
        ("device", {str(part.device) if isinstance(part, Tensor) else "cpu" for part in parts}),
    ):
        if len(kinds) > 1:
            found = sorted(map(str, kinds))
            raise ValueError(f"All clouds of {name} must have one {what}. Got {found}.")
    sizes = [len(part) for part in parts]
    in_graph = any(isinstance(part, Tensor) and needs_graph(part) for part in parts)
    if any(isinstance(part, Tensor) for part in parts):
        parts = [part if isinstance(part, Tensor) else to_tensor(part) for part in parts]
    padded: Any
    if in_graph:
        padded = torch.stack([_pad_in_graph(part, max(sizes)) for part in parts])
    else:
        empty = parts[0].new_empty if isinstance(parts[0], Tensor) else np.empty
        padded = empty((len(parts), max(sizes), width), dtype=parts[0].dtype)
        for row, part, size in zip(padded, parts, sizes, strict=True):
            row[:size] = part
            row[size:] = part[0]
    values = padded if isinstance(padded, Tensor) else torch.from_numpy(padded)
    if not bool(torch.isfinite(values).all()):
        for i, part in enumerate(parts):
            check_points(part, name=f"{name}[{i}]")
    return values, sizes


def _as_cloud(cloud, name: str):
    """One cloud in float32 or float64; values of those that are so already are checked later."""
    if isinstance(cloud, Tensor):
        is_plain = cloud.layout is torch.strided and cloud.dtype in (torch.float32, torch.float64)
    else:
        is_plain = isinstance(cloud, np.ndarray) and cloud.dtype in FLOATS
    if is_plain and cloud.ndim == 2 and 0 not in cloud.shape:
        return cloud
    checked = check_points(cloud, name=name)
    return _copy_in_graph(cloud) if isinstance(cloud, Tensor) and needs_graph(cloud) else checked


def _copy_in_graph(values: Tensor) -> Tensor:
    """Copy to float32 or float64 that does not leave its graph."""
    return values.to(resolve_dtype(values), copy=True, memory_format=torch.contiguous_format)


def _pad_in_graph(cloud: Tensor, size: int) -> Tensor:
    """Cloud padded with copies of its first point, which gets no gradient from them."""
    return torch.cat([cloud, cloud[:1].detach().expand(size - len(cloud), -1)])


def _read_weights(weights, sizes: list[int], width: int, name: str, device) -> Tensor:
    """Weights of shape (n_problems, width) that sum to one; padding has none."""
    n_problems = len(sizes)
    if weights is None:
        size = torch.tensor(sizes, dtype=torch.float64, device=device)[:, None]
        return (torch.arange(width, device=device) < size) / size
    is_ragged = min(sizes) < width
    is_list = isinstance(weights, (list, tuple)) and n_dimensions(weights) > 1
    if is_list:
        padded = _pad_weights(weights, sizes, name, device)
    else:
        padded = _as_weights(weights, name, device)
        expected = f"({width},) or ({n_problems}, {width})"
        if is_ragged:
            raise ValueError(
                f"The clouds have different sizes: {name} must be a list of {n_problems} "
                f"arrays. Got an array of shape {tuple(padded.shape)}."
            )
        if tuple(padded.shape) not in ((width,), (n_problems, width)):
            raise ValueError(f"{name} must have shape {expected}. Got {tuple(padded.shape)}.")
    return normalize_weights(padded).expand(n_problems, width)


def _pad_weights(weights, sizes: list[int], name: str, device) -> Tensor:
    """Weights from a list, padded with zeros."""
    if len(weights) != len(sizes):
        raise ValueError(
            f"{name} must hold weights of {len(sizes)} problems. Got {len(weights)} of them."
        )
    parts = [_as_weights(w, f"{name}[{i}]", device) for i, w in enumerate(weights)]
    for i, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        if tuple(part.shape) != (size,):
            raise ValueError(f"{name}[{i}] must have shape ({size},). Got {tuple(part.shape)}.")
    return torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)


def _as_weights(weights, name: str, device) -> Tensor:
    """Weights in float64 on the device; those that require gradients stay in their graph."""
    if isinstance(weights, Tensor):
        if weights.is_complex():
            raise ValueError(f"Complex data not supported in {name}.")
        return weights.to(device=device, dtype=torch.float64)
    try:
        return to_tensor(np.asarray(weights), dtype=torch.float64, device=device)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be an array of numbers, or a list of such.") from error


def _read_epsilon(epsilon, n_problems: int) -> "float | np.ndarray":
    """One positive number, or one per problem in float64."""
    if isinstance(epsilon, Real):
        values = np.asarray([epsilon], dtype=float)
    else:
        if isinstance(epsilon, Tensor) and epsilon.requires_grad:
            raise ValueError("epsilon requires a gradient, which is not available: detach it.")
        try:
            values = np.array(to_numpy(epsilon), dtype=float)
        except (ValueError, TypeError):
            values = np.empty(0)
        if values.shape != (n_problems,):
            raise ValueError(
                f"epsilon must be a positive number, or {n_problems} of them, one for each "
                f"problem. Got {epsilon!r}."
            )
    if not bool(((values > 0) & np.isfinite(values)).all()):
        raise ValueError(f"epsilon must be a positive number. Got {epsilon!r}.")
    # No tensor: a transform of `torch.func` would wrap it.
    return float(epsilon) if isinstance(epsilon, Real) else values


def _all_finite(array: np.ndarray) -> bool:
    """Whether all values are finite: for arrays that need no other check, and are many."""
    return bool(np.isfinite(array).all())


def _is_objects(values) -> bool:
    """Whether this is an array of arrays."""
    dtype = getattr(values, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind == "O" and values.ndim in (1, 3)
