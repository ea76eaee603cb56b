"""The entropic map without its pull towards the mean."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from skot.costs import Cost
from skot.numerics.medians import weighted_median
from skot.numerics.softmax import softmax_tile
from skot.numerics.subsample import spread_rows
from skot.numerics.tiles import row_tiles
from skot.potentials._entropic import EntropicPotentials, logit_tiles, origin_of
from skot.utils._brief import brief_repr
from skot.utils._pickling import packed, unpacked

#: A point whose cost to a row is at most this share of that to the nearest other row is that row;
#: from the larger share on it is another one, and counts in full.
_SAME, _OTHER = 0.05, 0.25
#: Rows that are nearer than this share of the mean cost differ by rounding.
_ROUNDING = 1e-8
#: A plan whose squared weights sum to more than one minus this rests on one row, and says nothing
#: of the spread around it.
_ONE_ROW = 1e-6
#: Squares above this many times their median are those of rows far outside.
_FAR = 9.0
#: Points whose gradients to a whole sample are looked at.
_GRADIENT_ROWS = 128


@dataclass(frozen=True)
class SelfTransport:
    r"""A sample transported to itself, each row to the others.

    .. math::

        S(x) = \sum_k v_k(x)\, x_k, \qquad
        v_k(x) \propto a_k \exp\big((h_k - c(x, x_k)) / \epsilon\big) \text{ for } x_k \neq x

    with the potential h of the entropic problem between the sample and itself in which no row may
    stay where it is. It says where the
    entropic map draws the rows of a sample to that needs no map. Rows equal to x are left out: in
    many dimensions a row is so much closer to itself than to any other that with them S would be
    the identity on the sample, and only there.

    Attributes
    ----------
    potentials : EntropicPotentials
        Of the sample with itself.
    nearest : Tensor of shape (n,)
        Cost from each row to its nearest other: a point that is much closer to a row is that row,
        rounded or measured again.
    """

    potentials: EntropicPotentials
    nearest: Tensor

    __repr__ = brief_repr

    def __getstate__(self):
        # A pickle made after a fit on an accelerator must load on a machine without one.
        return packed({"potentials": self.potentials, "nearest": self.nearest.cpu()})

    def __setstate__(self, state):
        self.__dict__.update(unpacked(state))

    @classmethod
    def of(cls, potentials: EntropicPotentials) -> "SelfTransport":
        """Find how close the rows of a sample are to each other.

        Parameters
        ----------
        potentials : EntropicPotentials
            Of the sample with itself, no row of which occurs twice.

        Returns
        -------
        transport : SelfTransport
            With the costs to the nearest rows.
        """
        y, cost = potentials.y, potentials.cost
        nearest = torch.empty_like(potentials.g)
        for rows in row_tiles(len(y), len(y)):
            costs = cost.pairwise(y[rows], y) - cost.paired(y[rows], y[rows])[:, None]
            index = torch.arange(rows.start, rows.stop, device=y.device)
            costs[index - rows.start, index] = torch.inf
            nearest[rows] = costs.amin(1)
        # Rows that differ by rounding alone are one row too.
        unit = cost.scale(y, y, potentials.b, potentials.b)
        return cls(potentials, nearest.clamp(min=_ROUNDING * unit, max=unit))

    def weights(self, x: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Form the weights v a few rows at a time.

        Parameters
        ----------
        x : Tensor of shape (n, n_features)
            Points.

        Yields
        ------
        rows : slice
            Which points.
        points : Tensor of shape (len(rows), n_features)
            These points, relative to :meth:`origin`, those absurdly far away moved closer.
        weights : Tensor of shape (len(rows), n_sample)
            Row-wise probabilities. A point that equals all rows of the sample keeps them all.
        """
        own, cost = self.potentials, self.potentials.cost
        shift = self.origin()
        h = own.g + own.epsilon * own.b.log()
        for tile in logit_tiles(x - shift, own.y - shift, h, cost, own.epsilon):
            # The costs once more, from what the logits were made of.
            costs = torch.addcmul(
                tile.constant[:, None] + h, tile.logits, h.new_tensor(-own.epsilon)
            )
            costs -= cost.paired(tile.points, tile.points)[:, None]
            row, column = torch.nonzero(costs < _OTHER * self.nearest, as_tuple=True)
            share = costs[row, column] / self.nearest[column]
            other = ((share - _SAME) / (_OTHER - _SAME)).clamp(0.0, 1.0)
            # A point that equals every row of the sample keeps them all.
            alone = torch.bincount(row[other == 0.0], minlength=len(costs)) == costs.shape[1]
            other = torch.where(alone[row], 1.0, other)
            tile.logits[row, column] += other.log()
            weights, _ = softmax_tile(tile.logits)
            weights[row, column] *= (other > 0.0).to(weights)
            yield tile.rows, tile.points, weights

    def origin(self) -> Tensor:
        """Return where :meth:`weights` has the origin of the points that it yields.

        Returns
        -------
        origin : Tensor of shape (n_features,)
            In the coordinates of the sample.
        """
        return origin_of(self.potentials.y, self.potentials.cost)

    def smooth(self, x: Tensor, residual: float = 0.0) -> Tensor:
        r"""Draw points to the mean of their surroundings, as the entropic map does.

        .. math:: x \mapsto S(x) + r \, (x - S(x))

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Any finite points.
        residual : float, default=0.0
            The share r: 1 leaves the points where they are.

        Returns
        -------
        smoothed : Tensor of shape (n_rows, n_features)
            Finite. Memory O(n_rows + n_sample).

        Raises
        ------
        NotImplementedError
            If the cost has no twist.
        """
        x, shift = x.to(self.potentials.y), self.origin()
        own, smoothed = self.potentials.y - shift, torch.empty_like(x)
        for rows, points, weights in self.weights(x):
            found = self.potentials.cost.debiased_barycenter(
                points, own, weights, own, weights, residual
            )
            smoothed[rows] = found + residual * (x[rows] - shift - points) + shift
        return smoothed

    def share_of_signal(self) -> float:
        r"""Share of what rows differ from S that is not noise of S itself.

        .. math::

            r = \Big(1 - \frac{\sum_i a_i V_i}{\sum_i a_i |x_i - S(x_i)|^2}\Big)_+, \qquad
            V_i = \frac{\sum_k v_{ik}^2}{1 - \sum_k v_{ik}^2} \sum_k v_{ik} |x_k - S(x_i)|^2

        S averages :math:`1 / \sum_k v_k^2` rows, so its variance about its expectation is V. A
        quantity that is added with variance V and square :math:`|x - S|^2 = B^2 + V` has the
        least mean squared error when multiplied by :math:`B^2 / (B^2 + V)`, which is r for all rows
        together (the positive-part rule of James and Stein). Rows that differ from S by more than
        three times what half of the rows do, or whose noise is as far from the usual, are not
        counted.

        For a cost that is no function of x - y, gradients of the cost take the place of
        differences, on at most 128 rows.

        Returns
        -------
        share : float
            Between 0 and 1; near 1 where the plan averages over many rows.
        """
        own = self.potentials
        moments = _of_differences if own.cost.translation_invariant else _of_gradients
        x, a = own.y, own.b
        if not own.cost.translation_invariant:
            x, a = spread_rows(x, _GRADIENT_ROWS), spread_rows(a, _GRADIENT_ROWS)
        squares, variances = x.new_zeros(len(x)), x.new_zeros(len(x))
        sample = own.y - self.origin()
        for rows, points, weights in self.weights(x):
            squares[rows], spread = moments(points, sample, weights, own.cost)
            concentration = weights.square().sum(1)
            variance = concentration / (1.0 - concentration) * spread
            variances[rows] = torch.where(concentration < 1.0 - _ONE_ROW, variance, squares[rows])
        # A few rows far away would otherwise decide for all.
        typical = weighted_median(torch.stack([squares, variances], dim=1), a)
        counts = (squares <= _FAR * typical[0]) & (variances <= _FAR * typical.max())
        a = torch.where(counts, a, 0.0)
        total = float(a @ squares)
        return max(0.0, 1.0 - float(a @ variances) / total) if total > 0 else 1.0


def _of_differences(
    points: Tensor, sample: Tensor, weights: Tensor, cost: Cost
) -> tuple[Tensor, Tensor]:
    """Squared distances (r,) of points to their averages, and spreads about these."""
    mean = weights @ sample
    spread = weights @ sample.square().sum(1) - mean.square().sum(1)
    return (points - mean).square().sum(1), spread.clamp_min(0.0)


def _of_gradients(
    points: Tensor, sample: Tensor, weights: Tensor, cost: Cost
) -> tuple[Tensor, Tensor]:
    """Squares (r,) of the averaged gradients of the cost, and spreads of the gradients."""
    squares, spreads = [], []
    # An (n_sample, n_features) array for every point: few points, one at a time.
    for point, row in zip(points, weights, strict=True):
        repeated = point.expand_as(sample).clone().requires_grad_(True)
        with torch.inference_mode(False), torch.enable_grad():
            total = cost.paired(repeated, sample.clone()).sum()
            (gradients,) = torch.autograd.grad(total, repeated)
        square = (row @ gradients).square().sum()
        squares.append(square)
        spreads.append((row @ gradients.square().sum(1) - square).clamp_min(0.0))
    return torch.stack(squares), torch.stack(spreads)


@dataclass(frozen=True)
class DebiasedMap:
    r"""Debiased entropic map.

    .. math:: T(x) = T_{ab}(x) + r \, (x - S_a(x))

    with the entropic map :math:`T_{ab}` and the transport of the source to itself
    :math:`S_a`, at the same regularisation. Both draw x towards the mean of its surroundings, and
    in the difference that cancels: for :math:`r = 1` and :math:`\epsilon \to \infty`, T is the
    shift of the means [1]_. For costs other than the squared Euclidean one, what is subtracted are
    gradients: :math:`T(x) = \mathrm{twist}(x, \nabla f_{ab} - r \nabla f_{aa})`.

    Parameters
    ----------
    potentials : EntropicPotentials
        From source to target.
    own : SelfTransport or None
        Of the source; None for `residual` 0.
    residual : float
        The factor r: 0 is the entropic map, 1 the debiased one. Where the target is :math:`\lambda`
        times as large as the source, it is :math:`\lambda`, with `own` at :math:`\epsilon /
        \lambda`: the squared Euclidean cost has the plans of :math:`y / \lambda` at that epsilon.

    References
    ----------
    .. [1] Pooladian, A.-A., Cuturi, M. and Niles-Weed, J. (2022). Debiaser beware: pitfalls of
       centering regularized transport maps. ICML.

    Examples
    --------
    >>> import torch
    >>> from skot.costs import SquaredEuclidean
    >>> from skot.potentials import DebiasedMap, EntropicPotentials, SelfTransport
    >>> from skot.solvers import sinkhorn
    >>> def potentials(x, y):
    ...     a, b = torch.full((len(x),), 1 / len(x)), torch.full((len(y),), 1 / len(y))
    ...     result = sinkhorn(x, y, epsilon=1.0)
    ...     return EntropicPotentials(
    ...         x, y, a.double(), b.double(), result.f, result.g, SquaredEuclidean(), 1.0
    ...     )
    >>> x = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
    >>> between, own = potentials(x, x + 3.0), SelfTransport.of(potentials(x, x))
    >>> float(between.transport(x)[0]), float(DebiasedMap(between, own, 1.0)(x)[0])
    (3.41..., 2.98...)
    """

    potentials: EntropicPotentials
    own: SelfTransport | None
    residual: float

    __repr__ = brief_repr

    def __call__(self, x: Tensor, class_cost: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Transport points.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Any finite points.
        class_cost : tuple of (Tensor of shape (n_rows,), Tensor of shape (k, m)), default=None
            Class index of each row and the extra cost of each class at each target.

        Returns
        -------
        mapped : Tensor of shape (n_rows, n_features)
            Finite. Memory O(n_rows + n + m).

        Raises
        ------
        NotImplementedError
            If the cost has no twist.
        """
        if self.own is None or self.residual == 0:
            return self.potentials.transport(x, class_cost)
        potentials, cost, shift = self.potentials, self.potentials.cost, self.own.origin()
        x = x.to(potentials.x)
        y, own = potentials.y - shift, self.own.potentials.y - shift
        mapped = torch.empty_like(x)
        for rows, points, own_weights in self.own.weights(x):
            labelled = None if class_cost is None else (class_cost[0][rows], class_cost[1])
            # One tile of rows, whose weights over the targets come in one piece or in several.
            for part, weights in potentials.weights(x[rows], labelled):
                found = cost.debiased_barycenter(
                    points[part], y, weights, own, own_weights[part], self.residual
                )
                # What was moved closer to be looked at lands as far away as it came from.
                far = x[rows][part] - shift - points[part]
                mapped[rows][part] = found + self.residual * far + shift
        return mapped
