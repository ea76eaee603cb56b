"""Entropic optimal transport as a transformer."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skot.base import check_component
from skot.costs import Cost, SquaredEuclidean, check_cost
from skot.measures import REFERENCES
from skot.potentials import EntropicPotentials
from skot.solvers import (
    ClassRegularizedResult,
    Initializer,
    SinkhornResult,
    SparsePlan,
    sinkhorn,
    sinkhorn_class_regularized,
    sparse_plan,
)
from skot.transport._base import BaseTransport
from skot.transport._diagnostics import Conditioning
from skot.transport._sinkhorn.averaging import averaging
from skot.transport._sinkhorn.debiasing import debiased_maps, dtype_for
from skot.transport._sinkhorn.problem import EntropicProblem, announce_long_fit, read_problem
from skot.utils._brief import named
from skot.utils._callbacks import CallbackSupportMixin, iteration_hook, with_callbacks
from skot.utils._sklearn import Interval, StrOptions, fit_context
from skot.utils._warnings import warn_not_converged
from skot.utils.validation import DomainSplit, known_labels, split_domains


class SinkhornTransport(CallbackSupportMixin, BaseTransport):
    r"""Transport one sample to another by entropic optimal transport.

    Fitting solves

    .. math::

        \min_{P \in \Pi(a, b)} \langle C, P \rangle + \epsilon\, KL(P \,\|\, a b^\top),
        \qquad C_{ij} = c(x_i, y_j)

    and a row x, seen in fitting or not, goes to the average of the targets under the plan that
    its potential extends to [1]_ [2]_: for the squared Euclidean cost

    .. math::

        T_{ab}(x) = \sum_j w_j(x)\, y_j, \qquad
        w_j(x) \propto b_j \exp\big((g_j - c(x, y_j)) / \epsilon\big)

    That average draws every row towards the mean, the more the larger :math:`\epsilon` is. So the
    map is debiased [4]_ by what the transport :math:`S_a` of the source to itself does to the row:

    .. math:: T(x) = T_{ab}(x) + r \, \lambda \, (x - S_a(x))

    with the ratio :math:`\lambda` of the sizes (median distances from the median) of target and
    source, and :math:`S_a` at :math:`\epsilon / \lambda`: what [4]_ does where samples have one
    size, on which plans between others depend only through :math:`\epsilon`.

    Parameters
    ----------
    epsilon : float, default=0.05
        Regularisation relative to the scaled cost: small values give sharp plans and take more
        iterations; with large ones the map comes to be a shift and a common scale, and for
        ``residual=0`` the target's mean.
    residual : "auto" or float, default="auto"
        The share r of the residual :math:`x - S_a(x)` that is added to the map: 1 is the debiased
        map of [4]_, 0 the plain average. ``"auto"`` takes the share that is not noise of
        :math:`S_a` itself, from the data: near 1 where plans average over many rows, less for
        small `epsilon`, few rows or many features, where the full residual can do harm [4]_. For
        costs with a twist.
    cost : str or Cost, default="sqeuclidean"
        Ground cost: ``"sqeuclidean"``, ``"euclidean"``, ``"cityblock"``, ``"cosine"``,
        ``"sphere"``, or a :class:`~skot.costs.Cost`. A map needs a cost with a twist; without
        one, the plan and the values are there but ``transform`` is not.
    scale_cost : {"mean", "median"}, float or None, default="mean"
        The unit of `epsilon` and `class_reg`. ``"mean"`` is the mean cost between the two
        samples, for the squared Euclidean cost after centring both; ``"median"`` is their median
        cost, which a few rows far away do not move (.7 times the mean for normal distributions in
        two dimensions, nearly the mean from ten on); ``None`` means 1.
    outlier_radius : float or None, default=None
        Rows that are farther than this many times the median distance from the coordinate-wise
        median of their sample are left out of the fit, and move like new rows. 5 keeps
        all but one row in 1000 of a normal distribution. ``None`` keeps every row.
    max_samples : int or None, default=None
        Largest number of rows of each sample in the problem that is solved; of more, `random_state`
        draws some, which keep their weights. All rows move, also those left out. The time of a fit
        grows with its square. ``None`` takes every row.
    reference : {"normal", "uniform"}, default="normal"
        The target when ``fit`` is given none: the standard normal, or the uniform distribution on
        the unit cube, as a fixed quasi-random sample of 1024 points.
    class_reg : float, default=0.0
        Strength of the group-sparse regularisation that keeps the classes of the source apart at
        every target [3]_, relative to the scaled cost. It needs class labels in ``fit``. Targets
        whose label is known draw mass from their own class: a penalty as soft as `class_reg` is
        small, not a constraint.
    initializer : Initializer, default=None
        Where the iteration starts. ``None`` comes from larger regularisations.
    max_iter : int, default=2000
        Largest number of passes over the kernel.
    tol : float, default=1e-4
        Marginal error in the L1 norm at which the iteration stops.
    random_state : int, RandomState instance or None, default=None
        Seeds the reference sample and `max_samples`; not used otherwise.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.
    verbose : bool, default=False
        Show scikit-learn's progress bar during ``fit``.

    Attributes
    ----------
    potentials_ : EntropicPotentials
        The potentials on the rows of the problem, with their extensions to all points.
    residual_, inverse_residual_ : float
        The share of the residual in the map and in the one back; 0 for a cost without a twist.
    source_indices_, target_indices_ : ndarray of int
        Which rows of each sample are in the problem: all, unless `outlier_radius` or
        `max_samples` leave some out.
    coupling_ : ndarray of shape (n_source, n_target)
        The plan between the rows of the problem, computed when it is asked for. Memory
        O(n_source n_target); :meth:`sparse_coupling` takes less.
    cost_value_ : float
        Transport cost of the plan, in the units of the cost; computed when asked for, in one pass
        over the kernel.
    dual_value_ : float
        Dual value of the problem solved: with the entropic term, and with the linearised class
        penalty when ``class_reg > 0``.
    epsilon_ : float
        Regularisation in the units of the cost.
    cost_ : Cost
        The cost used.
    marginal_error_ : float
        L1 error of the plan's target marginal (its source marginal is exact).
    converged_ : bool
        Whether `marginal_error_` is at most `tol`.
    n_iter_ : int
        Passes over the kernel.
    loss_curve_ : list of float
        Marginal error at each check: after every pass, or every few where a pass takes
        microseconds.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has them.

    See Also
    --------
    GaussianTransport : The closed-form baseline.
    DomainAdaptation : A classifier or regressor behind a transport.
    skot.solvers.sinkhorn : The same problem on tensors.

    Notes
    -----
    A fit solves three problems: between the samples, and of each with itself, for the map and for
    the one back, these in 100 passes at most; ``residual=0`` solves the first alone. In the
    transport of a sample to itself no row may stay where it is, and rows much nearer to a
    training row than its nearest neighbour leave it out of :math:`S_a`: training rows, rounded
    ones too, and new rows are then alike. The debiased map is not the gradient of a convex
    function.

    Memory is O(n_source + n_target) numbers plus the kernel, which is kept while it fits
    scikit-learn's ``working_memory`` and formed tile by tile beyond.

    With ``class_reg > 0``, ``fit_transform`` uses the labels of the training rows and
    ``transform``, which has none, does not: the two differ on training rows, as those of
    :class:`~sklearn.preprocessing.TargetEncoder` do.

    References
    ----------
    .. [1] Seguy, V. et al. (2018). Large-scale optimal transport and mapping estimation. ICLR,
       Section 4.
    .. [2] Pooladian, A.-A. and Niles-Weed, J. (2021). Entropic estimation of optimal transport
       maps. arXiv:2109.12004, Equation 6.
    .. [3] Courty, N., Flamary, R., Tuia, D. and Rakotomamonjy, A. (2017). Optimal transport for
       domain adaptation. IEEE TPAMI, 39(9), Section 4.2.
    .. [4] Pooladian, A.-A., Cuturi, M. and Niles-Weed, J. (2022). Debiaser beware: pitfalls of
       centering regularized transport maps. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import SinkhornTransport
    >>> rng = np.random.RandomState(0)
    >>> X, Y = rng.normal(size=(100, 2)), rng.normal(loc=3.0, size=(80, 2))
    >>> transport = SinkhornTransport().fit(X, Y)
    >>> bool(abs(transport.transform(X).mean(axis=0) - Y.mean(axis=0)).max() < 0.01)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "residual": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="both")],
        "cost": [str, Cost],
        "scale_cost": [
            StrOptions({"mean", "median"}),
            Interval(Real, 0, None, closed="neither"),
            None,
        ],
        "outlier_radius": [Interval(Real, 1, None, closed="left"), None],
        "max_samples": [Interval(Integral, 2, None, closed="left"), None],
        "reference": [StrOptions(set(REFERENCES))],
        "class_reg": [Interval(Real, 0, None, closed="left")],
        "initializer": [Initializer, None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state"],
        "device": [str, torch.device, None],
        "verbose": ["verbose"],
    }
    _default_components: ClassVar[dict] = {"cost": SquaredEuclidean}

    #: Class indices of the training rows and costs by class; None without class labels.
    _class_cost: tuple[Tensor, Tensor] | None = None

    def __init__(
        self,
        epsilon=0.05,
        *,
        residual="auto",
        cost="sqeuclidean",
        scale_cost="mean",
        outlier_radius=None,
        max_samples=None,
        reference="normal",
        class_reg=0.0,
        initializer=None,
        max_iter=2000,
        tol=1e-4,
        random_state=None,
        device=None,
        verbose=False,
    ):
        self.epsilon = epsilon
        self.residual = residual
        self.cost = cost
        self.scale_cost = scale_cost
        self.outlier_radius = outlier_radius
        self.max_samples = max_samples
        self.reference = reference
        self.class_reg = class_reg
        self.initializer = initializer
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, sample_domain: Any = None
    ) -> Self:
        """Solve the transport problem between source and target.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features) or (n_rows,), default=None
            Two-dimensional: the target sample. One-dimensional: class labels, used only when
            ``class_reg > 0``. In the labels of target rows, -1 (``None`` among strings) marks an
            unknown one. Without target rows the target is the reference distribution.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows of `X`, normalised on each side. With a two-dimensional `y` the
            target's weights are equal.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.

        Returns
        -------
        self : SinkhornTransport
            The fitted transport.

        Raises
        ------
        ValueError
            For bad input, and for ``class_reg > 0`` without labels.
        """
        with_classes = self.class_reg > 0
        split = split_domains(self, X, y, sample_domain, sample_weight, require_labels=with_classes)
        source, self._target = self._read_samples(X, split, self.reference, self.random_state)
        self.cost_ = check_cost(self.cost)
        problem = read_problem(
            source,
            self._target.measure,
            self.cost_,
            scale_cost=self.scale_cost,
            outlier_radius=self.outlier_radius,
            max_samples=self.max_samples,
            random_state=self.random_state,
        )
        self.source_indices_ = problem.source_indices
        self.target_indices_ = problem.target_indices
        self.epsilon_ = float(self.epsilon * problem.unit)
        with_own = self.residual != 0
        name = type(self).__name__
        announce_long_fit(name, self.cost_, self.epsilon_, problem, with_own=with_own)
        with iteration_hook(self, self.max_iter, X=X, y=y) as on_iteration:
            samples = (problem.source.points, problem.target.points)
            weights = (problem.source.weights, problem.target.weights)
            options = {
                "epsilon": self.epsilon_,
                "cost": self.cost_,
                "max_iter": self.max_iter,
                "tol": self.tol,
                "initializer": self._checked_initializer(),
                "on_iteration": on_iteration,
            }
            if with_classes:
                result = self._fit_classes(samples, weights, split, problem.unit, options)
            else:
                self._class_cost = None
                result = sinkhorn(*samples, *weights, dtype=dtype_for(*samples), **options)
                self._store_progress(result)
            self.potentials_ = EntropicPotentials(
                *samples, *weights, result.f, result.g, self.cost_, self.epsilon_
            )
            self.dual_value_ = float(result.dual_value)
            self.marginal_error_ = result.marginal_error
            self.converged_ = result.converged
        self._correct_maps(problem)
        self._warn_if_not_converged()
        return self

    def smooth_target(self, X: Any) -> Any:
        r"""See target rows as the map shows source rows.

        .. math:: y \mapsto S_b(y) + r \, (y - S_b(y))

        with the transport :math:`S_b` of the target to itself and the share r of ``residual_``.
        Rows of the source and of the target then went through the same filter, so that two samples
        of one law stay alike.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Target rows, those of ``fit`` or new ones.

        Returns
        -------
        X_new : array of shape (n_rows, n_features)
            With the dtype of `X` for float32 and float64; `X` itself where r is 1.

        Raises
        ------
        NotImplementedError
            After a fit with ``residual=0`` or a cost without a twist, which solve no transport of
            the target to itself.
        """
        check_is_fitted(self)
        split = split_domains(self, X, reset=False)
        own = self._map_back.own
        if own is None:
            raise NotImplementedError(
                "smooth_target needs the transport of the target to itself, which a fit with "
                "residual=0, or with a cost without a twist, does not solve."
            )
        smoothed = own.smooth(self._to_compute(split.X_source), self.residual_)
        return self._restore(smoothed, X, split)

    @property
    def coupling_(self) -> np.ndarray:
        """The plan between the training rows."""
        check_is_fitted(self)
        tiles = self.potentials_.plan_tiles(self._class_cost)
        return torch.cat([tile for _, tile in tiles]).cpu().numpy()

    def sparse_coupling(self, mass: float = 0.99, max_per_row: int | None = None) -> SparsePlan:
        """The heaviest entries of `coupling_`, which is not formed.

        Parameters
        ----------
        mass : float, default=0.99
            Share of each row that is kept at least, by the fewest entries, in (0, 1].
        max_per_row : int, default=None
            Most entries of a row; those that need more for their share lose mass.

        Returns
        -------
        result : SparsePlan
            The plan as a SciPy sparse array, and the mass of what is left out. Memory: 12 bytes an
            entry that is kept.

        Raises
        ------
        TypeError, ValueError
            As :meth:`skot.solvers.EntropicPlan.tosparse`.

        Examples
        --------
        >>> from skot import SinkhornTransport
        >>> from skot.datasets import make_moons_pair
        >>> X, Y = make_moons_pair(200, random_state=0)
        >>> sparse = SinkhornTransport(epsilon=0.01).fit(X, Y).sparse_coupling(mass=0.9)
        >>> sparse.plan.shape, sparse.plan.nnz < 2000, sparse.lost_mass <= 0.1
        ((200, 200), True, True)
        """
        check_is_fitted(self)
        potentials = self.potentials_
        tiles = potentials.plan_tiles(self._class_cost)
        shape = len(potentials.x), len(potentials.y)
        return sparse_plan(tiles, shape, mass=mass, max_per_row=max_per_row)

    @property
    def cost_value_(self) -> float:
        """Transport cost of the plan."""
        check_is_fitted(self)
        potentials = self.potentials_
        return sum(
            float((tile * self.cost_.pairwise(potentials.x[rows], potentials.y)).sum())
            for rows, tile in potentials.plan_tiles(self._class_cost)
        )

    def _map(self, x: Tensor, labels: np.ndarray | None) -> Tensor:
        if self._class_cost is None or labels is None:
            return self._map_there(x)
        # A class of which no row is in the problem has no extra cost: its rows move like new ones.
        table = torch.nn.functional.pad(self._class_cost[1], (0, 0, 0, 1))
        codes = np.searchsorted(self._classes, labels)
        codes[~np.isin(labels, self._classes)] = len(self._classes)
        return self._map_there(x, (torch.from_numpy(codes).to(x.device), table))

    def _conditioning(self, x: Tensor) -> Conditioning:
        return averaging(self.potentials_, x)

    def _inverse_map(self, y: Tensor) -> Tensor:
        return self._map_back(y)

    def _correct_maps(self, problem: EntropicProblem) -> None:
        maps = debiased_maps(
            self.potentials_, problem.source, problem.target, self.residual, tol=self.tol
        )
        self._map_there, self._map_back = maps.there, maps.back
        self.residual_, self.inverse_residual_ = maps.residual, maps.inverse_residual

    def _checked_initializer(self) -> Initializer | None:
        if self.initializer is None:
            return None
        return check_component(self.initializer, default=None, kind=Initializer, name="initializer")

    def _fit_classes(self, samples, weights, split: DomainSplit, unit: float, options):
        """Solve with the class penalty, and keep what the map of labelled rows needs."""
        labels = np.asarray(split.y_source)[self.source_indices_]
        self._classes, codes = np.unique(labels, return_inverse=True)
        (x, y), (a, b) = samples, weights
        solution = sinkhorn_class_regularized(
            x,
            y,
            codes,
            a,
            b,
            class_reg=self.class_reg * unit,
            target_labels=self._target_codes(split),
            **options,
        )
        # On the CPU, so that a pickle loads on a machine without an accelerator.
        self._class_cost = (torch.from_numpy(codes), solution.class_cost.cpu())
        self._store_progress(solution)
        return solution.sinkhorn

    def _target_codes(self, split: DomainSplit) -> np.ndarray | None:
        """Class index of each target row, -1 where it is unknown or not a source class."""
        if split.y_target is None:
            return None
        labels = split.y_target[self.target_indices_]
        codes = np.full(len(labels), -1)
        known = known_labels(labels, split.y_source)
        known[known] = np.isin(labels[known], self._classes)
        codes[known] = np.searchsorted(self._classes, labels[known])
        return codes

    def _store_progress(self, result: SinkhornResult | ClassRegularizedResult) -> None:
        self.loss_curve_ = list(result.errors)
        self.n_iter_ = result.n_iter

    def _warn_if_not_converged(self) -> None:
        if self.converged_:
            return
        warn_not_converged(
            f"{named(self, 'epsilon')} did not converge: the marginal error is "
            f"{self.marginal_error_:.1e} after {self.n_iter_} iterations, more than "
            f"tol={self.tol:g}. Increase max_iter, epsilon or tol."
        )
