"""A scorer for the regularisation of an entropic map: its potential on rows that were held out."""

from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skot.metrics._scorer_base import RequestsSampleDomain
from skot.numerics.tiles import row_tiles
from skot.utils.validation import split_domains


class HeldOutDualScorer(RequestsSampleDomain):
    r"""Dual value of the potentials of a `SinkhornTransport` on rows that were held out.

    For ``GridSearchCV(SinkhornTransport(), {"epsilon": ...}, scoring=HeldOutDualScorer())``. It
    judges the potential and not where rows arrive: a potential that follows single training rows
    is worth little between other rows, and so is one that is too smooth.

    It orders regularisations, on a few hundred held-out rows: better than `score` where the map is
    nearly linear in many dimensions, worse where it bends and rows are few. Other transports have
    no such potential, values of different costs are not comparable, and with about 100 rows a
    side, or fewer, it can mislead. It says nothing about parameters that leave the potentials as
    they are, such as `residual`. Where several kinds of transports are candidates, their own
    `score` compares them.

    See Also
    --------
    TransportDivergenceScorer : Judges where rows arrive, for all transports.
    skot.potentials.EntropicPotentials : What is judged.

    Notes
    -----
    With the potential g of the target, extended to all points by its optimality condition, and
    n and m held-out rows,

    .. math::

        \frac1n \sum_{i} \min_{y \in Y} \big( c(x_i, y) - g(y) \big) + \frac1m \sum_{j} g(y_j),

    where Y has the target rows of ``fit`` and the held-out ones. The minimum is a hard one whatever
    `epsilon` was: each value is at most the exact transport cost of the held-out samples, for any
    g, which makes them comparable. In the units of the cost.

    References
    ----------
    .. [1] Genevay, A., Cuturi, M., Peyre, G., Bach, F. (2016). Stochastic optimization for
       large-scale optimal transport. NeurIPS, Proposition 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skot import SinkhornTransport
    >>> from skot.metrics import HeldOutDualScorer
    >>> X, Y = np.random.default_rng(0).normal(size=(2, 300, 2))
    >>> grid = {"epsilon": [0.1, 1.0, 10.0]}
    >>> search = GridSearchCV(SinkhornTransport(), grid, scoring=HeldOutDualScorer(), cv=2)
    >>> search.fit(X, 2.0 * Y).best_params_
    {'epsilon': 0.1}
    """

    def __call__(
        self, estimator: Any, X: Any, y: Any = None, *, sample_domain: Any = None
    ) -> float:
        """Score a fitted transport.

        Parameters
        ----------
        estimator : SinkhornTransport
            Fitted.
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features), default=None
            Target rows. One-dimensional labels are ignored.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        score : float
            Higher is better.

        Raises
        ------
        ValueError
            For an estimator without entropic potentials, and without rows of both samples.
        """
        self.validate()
        check_is_fitted(estimator)
        potentials: Any = getattr(estimator, "potentials_", None)
        if not hasattr(potentials, "target_potential"):
            raise ValueError(
                f"{type(self).__name__} needs the potentials of a SinkhornTransport, which "
                f"{type(estimator).__name__} does not have. Transports of other kinds are compared "
                "by their own score."
            )
        split = split_domains(estimator, X, y, sample_domain, reset=False)
        if split.X_target is None or min(len(split.X_source), len(split.X_target)) == 0:
            raise ValueError(
                f"{type(self).__name__} needs held-out rows of both samples: pass target rows as a "
                "two-dimensional y, or sample_domain. In a search, metadata routing passes it on: "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        x, y = (torch.as_tensor(rows).to(potentials.y) for rows in (split.X_source, split.X_target))
        on_target = potentials.target_potential(y)
        # By the extension, g is continuous from the rows of the fit to others, whatever `tol` was.
        everywhere = torch.cat([potentials.y, y])
        g = torch.cat([potentials.target_potential(potentials.y), on_target])
        f = _hard_transform(potentials.cost, x, everywhere, g)
        return float(f.mean() + on_target.mean())


def _hard_transform(cost: Any, x: Tensor, y: Tensor, g: Tensor) -> Tensor:
    """Minimum over y of c(x, y) - g(y), of shape (n,), a few rows at a time."""
    return torch.cat(
        [(cost.pairwise(x[rows], y) - g).amin(1) for rows in row_tiles(len(x), len(y))]
    )
