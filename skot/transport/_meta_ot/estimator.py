"""A regressor that predicts the dual potentials of entropic transport problems."""

from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Generator, Tensor

from skot.base import check_component
from skot.costs import check_fixed_support_cost
from skot.networks import DualMLP
from skot.solvers import SinkhornResult
from skot.training import Adam, CosineSchedule, Optimizer
from skot.transport._meta_ot import files
from skot.transport._meta_ot.coordinates import centred
from skot.transport._meta_ot.model import LearnedRegression
from skot.transport._meta_ot.problems import (
    Problems,
    check_problems,
    check_same_problem,
    part_histograms,
    read_problems,
    validate_rows,
)
from skot.transport._meta_ot.training import RegressionMethod, default_network
from skot.transport._meta_ot.warm_start import solve_from
from skot.transport._neural.fit import NeuralFit
from skot.utils._callbacks import with_callbacks
from skot.utils._points import check_points
from skot.utils._sklearn import HasMethods, Interval, check_weights, fit_context
from skot.utils.tensors import like_input, resolve_device, to_tensor


class MetaOTRegressor(NeuralFit, MultiOutputMixin, RegressorMixin, BaseEstimator):
    r"""Predict the dual potentials of entropic transport problems that share their cost.

    A row of `X` is a problem: the source weights a and the target weights b on the supports of
    `cost`, side by side. Without labels the network :math:`\hat f` maximises the dual value of
    its predictions over the problems seen [1]_,

    .. math::

        \max_{\hat f} \; E_{(a, b)} \, J(\hat f(a, b); a, b), \qquad
        J(f; a, b) = \langle a, f \rangle + \langle b, g \rangle, \quad
        g_j = -\epsilon \log \sum_i a_i \exp\big((f_i - C_{ij}) / \epsilon\big),

    which takes no solved problems. Given potentials `y`, it regresses on them. A prediction is
    as good as several passes of Sinkhorn's iteration, and :meth:`solve` starts there.

    Parameters
    ----------
    cost : PrecomputedCost, SupportCost or GridCost, default=None
        Cost between two fixed supports. None is a plain regression of `y` on `X`, without
        anything of what follows about histograms.
    epsilon : float, default=0.05
        Regularisation, in the units of the cost.
    network : DualNetwork, default=None
        Architecture: :class:`~skot.networks.DualMLP`, :class:`~skot.networks.DualUNet`, or any
        object with ``build(n_inputs, n_outputs, *, generator)``. None is a `DualUNet` on a grid
        with two sides of at least 8 points, and a `DualMLP` elsewhere.
    optimizer : Optimizer, default=None
        Of the network. None is ``Adam(lr=1e-3, max_grad_norm=1.0, schedule=CosineSchedule())``.
    averaging : ExponentialMovingAverage, default=None
        Averages the weights over the last steps. None does not.
    stopping : Stopping, default=None
        Ends training before `max_iter`: :class:`~skot.training.EarlyStopping`,
        :class:`~skot.training.TimeBudget`. None never does.
    checkpoint : Checkpoint, default=None
        A file from which ``fit`` resumes after a crash. None writes nothing.
    max_iter : int, default=1000
        Updates of the network in ``fit``.
    batch_size : int, default=128
        Problems in a step.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the network of the fit before, for the same `cost`, `epsilon`
        and `network`, with a new optimizer. `checkpoint` does not count then.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and the batches.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    cost_, network_, optimizer_ : object
        The components that were used.
    epsilon_ : float
        The regularisation that the network was trained for.
    loss_curve_ : list of float
        Loss of each step: minus the mean dual value in units of `epsilon`, or a mean squared error.
    n_iter_ : int
        Number of steps.
    converged_ : bool
        False if `stopping` waits for convergence and it did not come, or if training diverged or
        was interrupted.
    n_features_in_ : int
        Number of columns seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` has them.

    See Also
    --------
    skot.solvers.MetaInitializer : Starts :class:`SinkhornTransport` at predictions.
    skot.solvers.SemiDual : The objective, on tensors.
    skot.solvers.sinkhorn : What finishes.

    Notes
    -----
    Weights are normalised row by row, and may hold zeros. Potentials are known up to a constant:
    predictions have mean zero under a, and potentials `y` are read in that gauge too. For a
    squared Euclidean cost the network predicts the difference to the potential between
    Gaussians with the same moments. With at least 80 targets for each of up to 150 sources, targets
    of nearly the same costs are gathered into groups, a problem so small that it is solved for
    every prediction, and the network predicts the difference to its potential. It is solved for
    all rows of a call together, to one per cent: a row alone gets the same up to that.

    Training is in float32 but for passes over the kernel; the fitted network has the dtype of
    `X`. ``fit`` keeps a copy of `X` in float32 while it lasts. Fresh problems can be streamed
    through :meth:`partial_fit`.

    References
    ----------
    .. [1] Amos, B., Luise, G., Cohen, S. and Redko, I. (2023). Meta optimal transport. ICML,
       Section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import MetaOTRegressor
    >>> from skot.costs import GridCost
    >>> from skot.networks import DualMLP
    >>> X = np.random.RandomState(0).uniform(size=(200, 20))
    >>> meta = MetaOTRegressor(
    ...     GridCost((10,)), epsilon=0.02, network=DualMLP((64,)), max_iter=100, random_state=0
    ... ).fit(X)
    >>> result = meta.solve(X[:5], tol=1e-6)
    >>> bool(result.converged.all())
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "network": [HasMethods("build"), None],
        **NeuralFit._fit_constraints,
    }
    _default_components: ClassVar[dict] = {"network": DualMLP, "optimizer": Adam}
    _default_optimizer = Adam(lr=1e-3, max_grad_norm=1.0, schedule=CosineSchedule())
    _divergence_advice = "Lower the learning rate of the optimizer."

    def __init__(
        self,
        cost=None,
        *,
        epsilon=0.05,
        network=None,
        optimizer=None,
        averaging=None,
        stopping=None,
        checkpoint=None,
        max_iter=1000,
        batch_size=128,
        warm_start=False,
        random_state=None,
        device=None,
        verbose=False,
    ):
        self.cost = cost
        self.epsilon = epsilon
        self.network = network
        self.optimizer = optimizer
        self.averaging = averaging
        self.stopping = stopping
        self.checkpoint = checkpoint
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.cost is None
        tags.input_tags.positive_only = self.cost is not None
        return tags

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights, not negative; with ``cost=None``, any rows.
        y : array-like of shape (n_problems, n), default=None
            Known source potentials. None trains on the dual objective, which needs a cost.

        Returns
        -------
        self : object
            The fitted regressor.

        Raises
        ------
        ValueError
            For bad input: rows of another width than the supports, negative or all-zero weights,
            no `y` where there is no cost.
        FloatingPointError
            If the loss is not finite from the first step on.

        Warns
        -----
        ConvergenceWarning
            If `stopping` waits for convergence in vain, or if the loss ceases to be finite.
        """
        return self._fit(partial(self._read, X, y), X, y)

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Train on one pass over the given rows, from where training stands.

        For streams: every call may bring fresh problems. The first call fixes centring and scale.
        `stopping` and `checkpoint` are not used, and a schedule without a length of its own does
        not decay.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights.
        y : array-like of shape (n_problems, n), default=None
            Known source potentials.

        Returns
        -------
        self : object
            The regressor, usable after every call.

        Raises
        ------
        ValueError
            For bad input, as ``fit``.
        """
        return self._partial_fit(partial(self._read, X, y))

    # Fitting

    def _method(self, optimizer: Optimizer) -> RegressionMethod:
        cost = check_fixed_support_cost(self.cost)
        network = check_component(
            self.network, default=lambda: default_network(cost), kind="build", name="network"
        )
        return RegressionMethod(
            optimizer, self.averaging, self.batch_size, cost, float(self.epsilon), network
        )

    def _read(
        self, X: Any, y: Any, method: RegressionMethod, generator: Generator, *, reset: bool
    ) -> Problems:
        """Check rows [X, y] to train on."""
        X, y = validate_rows(self, X, y, reset=reset, needs_y=method.cost is None)
        device = resolve_device(self.device, like=X) if reset else self._learned.device
        n_outputs = None if reset else self._learned.n_outputs
        return read_problems(type(self).__name__, X, y, method.cost, device, n_outputs)

    def _attributes(self, learned: LearnedRegression) -> dict[str, Any]:
        return {"epsilon_": learned.epsilon}

    # Predictions

    def predict(self, X: Any) -> Any:
        """Predict the source potentials.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights.

        Returns
        -------
        f : array of shape (n_problems, n)
            In the units of the cost, of mean zero under the source weights. The potential of the
            other side follows by a half step, see :meth:`predict_target_potential`. With
            ``cost=None``, the outputs, of the shape of `y`.

        Raises
        ------
        ValueError
            For bad input, as ``fit``.
        """
        check_is_fitted(self)
        if self.cost_ is None:
            X, rows = self._read_rows(X)
            return like_input(self._learned.outputs(rows), X)
        X, a, b = self._read_problems(X, "predict")
        return like_input(self._learned.potential(a, b), X)

    def predict_target_potential(self, X: Any) -> Any:
        """Predict the target potentials: one half step from the source potentials.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights.

        Returns
        -------
        g : array of shape (n_problems, m)
            In the units of the cost.

        Raises
        ------
        ValueError
            For bad input, and without a cost.
        """
        X, a, b = self._read_problems(X, "predict_target_potential")
        return like_input(self._learned.target_potential(a, b), X)

    def predict_coupling(self, X: Any) -> np.ndarray:
        r"""Predict the couplings.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights.

        Returns
        -------
        couplings : ndarray of shape (n_problems, n, m)
            Plans :math:`a_i b_j \exp((f_i + g_j - C_{ij}) / \epsilon)` of the predicted f and its
            half step g: the target marginals are exact. Memory O(n_problems n m).

        Raises
        ------
        ValueError
            For bad input, and without a cost.
        """
        X, a, b = self._read_problems(X, "predict_coupling")
        return self._learned.couplings(a, b).cpu().numpy()

    def solve(
        self,
        X: Any,
        *,
        tol: float = 1e-4,
        max_iter: int = 2000,
        anderson_memory: int = 15,
        annealing: bool = True,
        max_start_error: float | None = 0.15,
    ) -> SinkhornResult:
        """Solve the problems, starting at the predictions that can be trusted.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights.
        tol : float, default=1e-4
            L1 marginal error to reach.
        max_iter : int, default=2000
            Passes over the kernel.
        anderson_memory : int, default=15
            Differences kept by the acceleration; 0 is plain Sinkhorn.
        annealing : bool, default=True
            Whether problems whose prediction is dropped come from larger regularisations; they
            start at zero potentials otherwise.
        max_start_error : float, default=0.15
            A prediction is dropped where the marginal error of its half step is larger: then the
            problem is unlike those of ``fit``, and the prediction may do harm. None drops none.

        Returns
        -------
        result : SinkhornResult
            Of all problems together, with ``passes``, ``marginal_error`` and ``converged`` of each.

        Raises
        ------
        ValueError
            For bad input, and without a cost.

        Warns
        -----
        ConvergenceWarning
            If some problems were not solved to the tolerance.
        """
        _, a, b = self._read_problems(X, "solve")
        g, trusted = self._learned.trusted_start(a, b, max_start_error)
        options = {"tol": tol, "max_iter": max_iter, "anderson_memory": anderson_memory}
        cost = self._learned.cost_on_device()
        return solve_from(cost, self.epsilon_, a, b, g, trusted, annealing=annealing, **options)

    def initial_target_potential(
        self, a: Tensor, b: Tensor, max_start_error: float | None = 0.15
    ) -> Tensor:
        """Return where Sinkhorn's iteration starts: the prediction where it can be trusted.

        Parameters
        ----------
        a, b : Tensor of shape (n_problems, n), (n_problems, m)
            Weights that sum to one, in float64.
        max_start_error : float, default=0.15
            As in :meth:`solve`.

        Returns
        -------
        g : Tensor of shape (n_problems, m)
            Half steps of the predictions, or of zeros where those are dropped.
        """
        check_is_fitted(self)
        return self._learned.half_steps(a, b, max_start_error)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        r"""Mean dual value of the predictions, or R2 where potentials are given.

        Parameters
        ----------
        X : array-like of shape (n_problems, n + m)
            Rows of source and target weights.
        y : array-like of shape (n_problems, n), default=None
            Known potentials, or outputs.
        sample_weight : array-like of shape (n_problems,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Higher is better. Without `y` the (weighted) mean of J, in the units of the cost: it
            compares networks, not values of `epsilon` or costs, which change the problems.

        Raises
        ------
        ValueError
            For bad input, and for neither `y` nor a cost.
        """
        check_is_fitted(self)
        if y is None:
            _, a, b = self._read_problems(X, "score without y")
            values = self._learned.dual_value(a, b).cpu().numpy()
            weights = None if sample_weight is None else check_weights(sample_weight, len(values))
            return float(np.average(values, weights=weights))
        if self.cost_ is not None:
            _, a, _ = self._read_problems(X, "score")
            y = to_tensor(check_points(y, name="y"), dtype=torch.float64, device=a.device)
            if y.shape != a.shape:
                raise ValueError(f"y must have shape {tuple(a.shape)}. Got {tuple(y.shape)}.")
            y = centred(y, a).cpu().numpy()
        return super().score(X, y, sample_weight=sample_weight)

    def _read_rows(self, X: Any) -> tuple[Any, Tensor]:
        X, _ = validate_rows(self, X, None, reset=False)
        rows = to_tensor(X, dtype=torch.float64, device=self._learned.device)
        if self.cost_ is not None:
            check_problems(self.cost_, rows, type(self).__name__)
        return X, rows

    def _read_problems(self, X: Any, what: str) -> tuple[Any, Tensor, Tensor]:
        check_is_fitted(self)
        if self.cost_ is None:
            raise ValueError(f"{what} needs a cost, but this MetaOTRegressor has cost=None.")
        X, rows = self._read_rows(X)
        return X, *part_histograms(rows, self.cost_.support_sizes[0])

    # For MetaInitializer

    def problem_weights(self, problem: Any, epsilon: float) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the weights of a problem of :func:`skot.solvers.sinkhorn` on the own supports.

        Parameters
        ----------
        problem : object
            See :meth:`skot.solvers.Initializer.target_potential`.
        epsilon : float
            Its regularisation.

        Returns
        -------
        a, b : Tensor of shape (n_problems, n), (n_problems, m)
            Zero on points that the problem leaves out.
        columns : Tensor of shape (k,) or None
            Which target points the problem has; None for all.

        Raises
        ------
        ValueError
            If the cost, its supports or `epsilon` are others.
        """
        if self.cost_ is None:
            raise ValueError("A MetaOTRegressor with cost=None predicts no potentials.")
        return check_same_problem(self.cost_, self.epsilon_, problem, epsilon)

    # Files

    save = files.save
    load = files.OfClassOrObject(files.load)
