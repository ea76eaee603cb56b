"""Where training starts: the Gaussian solution of a cost that is nearly quadratic."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skot.numerics.linalg import covariance, gaussian_map, regularized
from skot.numerics.splines import PathBasis
from skot.solvers.geodesic import LBFGSGeodesic
from skot.transport._lagrangian.coordinates import FramedLagrangian

#: Random pairs of points at which the cost is solved for, to learn its unit and its shape.
_N_PAIRS = 256
#: The shape is fitted only where there are so many pairs for each of its coefficients.
_PAIRS_PER_COEFFICIENT = 3
#: Penalty of the coefficients of the shape, relative to the number of pairs.
_RIDGE = 1e-4
#: Errors of an exact model, as a share of the spread of the costs.
_EXACT = 0.01
#: What is added to covariances, as a share of their mean variance.
_SHRINKAGE = 1e-3


@dataclass(frozen=True)
class GaussianStart:
    r"""Solution of optimal transport between Gaussians for a cost that is nearly quadratic.

    With :math:`x' = x - m_x`, :math:`y' = y - m_y` and

    .. math::

        c(x, y) \approx \tfrac12 x'^\top A x' + \langle a, x' \rangle
        + \tfrac12 y'^\top B y' + \langle b, y' \rangle - x'^\top M y',

    the potentials are quadratic and the map is linear, that between Gaussians for the rows
    :math:`M^\top x'` and the Euclidean cost.

    Attributes
    ----------
    source_hessian, source_slope, target_hessian, target_slope : Tensor
        Of the potentials f and g, as functions of x and y.
    matrix, shift : Tensor
        Of the map, for rows: ``x @ matrix + shift``.
    inverse_matrix, inverse_shift : Tensor
        Of the map back.
    is_exact : bool
        Whether the model is the cost, so that the slope of the cost in x determines y.
    """

    source_hessian: Tensor
    source_slope: Tensor
    target_hessian: Tensor
    target_slope: Tensor
    matrix: Tensor
    shift: Tensor
    inverse_matrix: Tensor
    inverse_shift: Tensor
    is_exact: bool

    def at_rest(self) -> "GaussianStart":
        """Return the start that moves nothing."""
        zeros, none = torch.zeros_like(self.matrix), torch.zeros_like(self.shift)
        identity = torch.eye(len(none)).to(zeros)
        return GaussianStart(
            zeros, none, zeros, none, identity, none, identity, none, self.is_exact
        )


def solved_pairs(
    lagrangian: FramedLagrangian, x: Tensor, y: Tensor, basis: PathBasis
) -> tuple[Tensor, Tensor, Tensor]:
    """Return some pairs of points, in the frame, and their costs.

    The same for the same numbers of rows; costs are in the precision of the rows.
    """
    n = min(_N_PAIRS, max(len(x), len(y)))
    generator = torch.Generator().manual_seed(0)
    x, y = (
        rows[torch.randint(len(rows), (n,), generator=generator).to(rows.device)] for rows in (x, y)
    )
    costs = LBFGSGeodesic(n_starts=1, max_iter=100).solve(lagrangian, x, y, basis).cost
    return x, y, costs


def gaussian_start(
    source: Tensor, target: Tensor, pairs: tuple[Tensor, Tensor, Tensor]
) -> GaussianStart:
    """Fit the quadratic model of the cost on solved pairs, and solve it for Gaussians.

    Rows, (n, n_features) and (m, n_features), are in the frame; pairs are points (k, n_features),
    (k, n_features) and their costs (k,). The model is the Euclidean one where pairs are too few to
    know better.
    """
    mean_x, mean_y = source.mean(0), target.mean(0)
    model, is_exact = _quadratic_model(mean_x, mean_y, *pairs)
    covariance_x, covariance_y = _regular(source, target)
    # The cost is -<M'x', y'> up to functions of one point.
    cross = model["cross"]
    mixed_x = cross.T @ covariance_x @ cross
    mixed_y = cross @ covariance_y @ cross.T
    matrix = cross @ gaussian_map(mixed_x, covariance_y)
    inverse_matrix = cross.T @ gaussian_map(mixed_y, covariance_x)
    hessians = {
        "source": model["source_hessian"] - gaussian_map(covariance_x, mixed_y),
        "target": model["target_hessian"] - gaussian_map(covariance_y, mixed_x),
    }
    return GaussianStart(
        hessians["source"],
        model["source_slope"] - mean_x @ hessians["source"],
        hessians["target"],
        model["target_slope"] - mean_y @ hessians["target"],
        matrix,
        mean_y - mean_x @ matrix,
        inverse_matrix,
        mean_x - mean_y @ inverse_matrix,
        is_exact,
    )


def _quadratic_model(
    mean_x: Tensor, mean_y: Tensor, x: Tensor, y: Tensor, costs: Tensor
) -> tuple[dict[str, Tensor], bool]:
    """Coefficients of the quadratic model of the cost about the means, and whether it is exact."""
    d = len(mean_x)
    identity = torch.eye(d).to(x)
    shift = mean_x - mean_y
    model = {
        "source_hessian": identity,
        "source_slope": shift,
        "target_hessian": identity,
        "target_slope": -shift,
        "cross": identity,
    }
    # The model is fitted to what half a squared distance leaves: of few pairs nothing is learned
    # but that.
    residual = costs - 0.5 * (x - y).square().sum(1)
    n_coefficients = 1 + 2 * d + d * (d + 1) + d * d
    flat = float(residual.std()) <= 1e-6 * float(costs.abs().mean()) if len(costs) > 1 else True
    if flat or len(costs) < _PAIRS_PER_COEFFICIENT * n_coefficients:
        return model, flat
    # One unit a side makes all monomials of like size, so that one ridge does for all of them.
    x, y = x - mean_x, y - mean_y
    size_x, size_y = (float(rows.square().mean().sqrt()) or 1.0 for rows in (x, y))
    x, y = x / size_x, y / size_y
    upper = torch.triu_indices(d, d, device=x.device)
    columns = [
        torch.ones_like(costs)[:, None],
        x,
        y,
        x[:, upper[0]] * x[:, upper[1]],
        y[:, upper[0]] * y[:, upper[1]],
        (x[:, :, None] * y[:, None, :]).flatten(1),
    ]
    features = torch.cat(columns, dim=1)
    penalty = _RIDGE * len(costs) * torch.eye(features.shape[1]).to(features)
    penalty[0, 0] = 0.0  # not of the constant
    coefficients = torch.linalg.solve(features.T @ features + penalty, features.T @ residual)
    unexplained = float((residual - features @ coefficients).square().mean().sqrt())
    is_exact = unexplained <= _EXACT * float(costs.std())
    parts = torch.split(coefficients, [column.shape[1] for column in columns])
    _, slope_x, slope_y, square_x, square_y, cross = parts
    # A monomial of unit rows is that of centred rows over its units; the model has -x'My, hence
    # the sign of the last.
    found = {
        "source_hessian": identity + _symmetric(square_x, upper, d) / size_x**2,
        "source_slope": shift + slope_x / size_x,
        "target_hessian": identity + _symmetric(square_y, upper, d) / size_y**2,
        "target_slope": -shift + slope_y / size_y,
        "cross": identity - cross.view(d, d) / (size_x * size_y),
    }
    return found, is_exact


def _symmetric(coefficients: Tensor, upper: Tensor, d: int) -> Tensor:
    """Hessian of a quadratic form from the coefficients of its monomials.

    That of c x_k^2 is 2 c, and those of c x_k x_l are c on both sides of the diagonal: the sum of
    the upper half and its transpose is right for both.
    """
    half = coefficients.new_zeros(d, d)
    half[upper[0], upper[1]] = coefficients
    return half + half.T


def _regular(*samples: Tensor) -> list[Tensor]:
    """Covariances with a little of the identity: few rows, or one point, have a map too."""
    covariances = [covariance(rows) for rows in samples]
    largest = max(float(matrix.diagonal().mean()) for matrix in covariances) or 1.0
    return [
        regularized(matrix, _SHRINKAGE * float(matrix.diagonal().mean()) + 1e-6 * largest)
        for matrix in covariances
    ]
