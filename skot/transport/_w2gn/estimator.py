"""Wasserstein-2 maps as gradients of learned potentials."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skot.base import check_component
from skot.losses import Amortization, RegressionAmortization
from skot.measures import draw_reference
from skot.networks import MLPMap, MLPPotential
from skot.potentials import LinearFrame
from skot.solvers.conjugate import LBFGSConjugate
from skot.training import Adam, Optimizer
from skot.transport._neural.two_samples import BaseNeuralTransport
from skot.transport._w2gn.model import LearnedPotential
from skot.transport._w2gn.training import DualMethod
from skot.utils._sklearn import HasMethods, Interval
from skot.utils._warnings import warn_not_converged
from skot.utils.random import check_generator
from skot.utils.validation import split_domains


class W2GNTransport(BaseNeuralTransport):
    r"""Transport one sample to another by the gradient of a learned potential.

    The potential f solves the dual of optimal transport for :math:`|x - y|^2 / 2`,

    .. math::

        \min_f \; E_x f(x) + E_y f^*(y), \qquad
        f^*(y) = \max_x \; \langle x, y \rangle - f(x),

    and :math:`T = \nabla f` is the optimal map, :math:`\nabla f^*` its inverse. At every step an
    amortizer predicts where the conjugates of a batch are attained, a conjugate solver refines
    the prediction, and the potential follows the gradient that Danskin's theorem gives at the
    refined points [4]_. Training needs samples only, and minibatches of them.

    Parameters
    ----------
    potential : Potential, default=None
        Architecture of f: :class:`~skot.networks.ICNN`, :class:`~skot.networks.MLPPotential`,
        :class:`~skot.networks.ConvPotential`, or any object with
        ``build(n_features, *, generator)``. None is ``MLPPotential()``, which trains faster
        than convex architectures but may fold.
    amortizer : Map, default=None
        Architecture of the network that predicts :math:`\nabla f^*`. None is ``MLPMap()``.
    amortization : Amortization, default=None
        How the amortizer is trained: :class:`~skot.losses.ObjectiveAmortization`,
        :class:`~skot.losses.CycleAmortization`, :class:`~skot.losses.RegressionAmortization` or
        :class:`~skot.losses.ExpectileAmortization`. None is ``RegressionAmortization()``.
    conjugate_solver : ConjugateSolver, default=None
        Refines the predictions, in training and in ``inverse_transform``:
        :class:`~skot.solvers.conjugate.LBFGSConjugate`,
        :class:`~skot.solvers.conjugate.AdamConjugate`,
        :class:`~skot.solvers.conjugate.NoConjugate` (trusts the amortizer), or any object with
        ``solve``. None is ``LBFGSConjugate()``.
    optimizer : Optimizer, default=None
        Of both networks. None is ``Adam(lr=5e-3, schedule=CosineSchedule())``.
    averaging : ExponentialMovingAverage, default=None
        Averages the weights over the last steps. None does not.
    stopping : Stopping, default=None
        Ends training before `max_iter`: :class:`~skot.training.EarlyStopping`,
        :class:`~skot.training.TimeBudget`. None never does.
    checkpoint : Checkpoint, default=None
        A file from which ``fit`` resumes after a crash; it takes a `random_state` that repeats,
        such as an int. Not used when ``warm_start`` goes on from a fit. None writes nothing.
    preconditioning : {"gaussian", "identity"}, default="gaussian"
        The coordinates in which networks see the data. "gaussian": those in which the optimal map
        between the Gaussian fits of the samples (see :class:`GaussianTransport`) is the
        identity, near which training starts. "identity": the data's own, centred and scaled by
        one number.
    reference : {"normal", "uniform"}, default="normal"
        The target when ``fit`` is given none: the standard normal, or the uniform distribution on
        the unit cube. Every step of training draws from it anew.
    n_amortizer_steps : int, default=1
        Updates of the amortizer per update of the potential.
    max_iter : int, default=1000
        Updates of the potential in ``fit``.
    batch_size : int, default=1024
        Rows of each side in a step; a smaller sample makes smaller batches.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the networks of the fit before, in its coordinates and with
        a new optimizer.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and the batches.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    potential_ : BrenierPotential
        The potential whose gradient is the map, on tensors.
    wasserstein_distance_ : float
        2-Wasserstein distance (not squared) by the dual value on the training rows, at most 4096
        a side, which are kept for it; computed on demand. After ``partial_fit``, on the rows of
        the last call.
    conjugate_solver_, amortization_, optimizer_ : object
        The components that were used.
    loss_curve_ : list of float
        Dual loss of each step, in the coordinates of the networks.
    n_iter_ : int
        Number of steps.
    converged_ : bool
        False if `stopping` waits for convergence and it did not come, or if training diverged or
        was interrupted.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, where `X` has them.

    See Also
    --------
    SinkhornTransport : Entropic transport, without training.
    GaussianTransport : The linear map, the baseline.
    skot.solvers.conjugate.LBFGSConjugate : The conjugates, on tensors.

    Notes
    -----
    The published methods are settings of this estimator:

    - W2GN [1]_: ``potential=ICNN(), amortizer=GradientMap(ICNN()),
      amortization=CycleAmortization(), conjugate_solver=NoConjugate()``.
    - Makkuva et al. [2]_: ``potential=ICNN(), amortizer=GradientMap(ICNN()),
      amortization=ObjectiveAmortization(), conjugate_solver=NoConjugate(), n_amortizer_steps=10``.
    - Taghvaei and Jalali [3]_: ``potential=ICNN(), conjugate_solver=AdamConjugate(),
      amortization=ObjectiveAmortization()``.
    - Amos [4]_: the defaults, or ``amortization=ObjectiveAmortization()``.
    - ENOT [5]_: ``amortization=ExpectileAmortization(), conjugate_solver=NoConjugate()``.

    Taghvaei and Jalali solve for the conjugates from scratch; here the amortizer gives the start.

    Networks see the samples in coordinates that keep inner products up to a factor: source rows
    times a matrix and target rows times its inverse, which changes no optimal map. Training is in
    float32; the fitted networks have the dtype of `X`.

    A potential that is not convex has a gradient all the same, but where it folds the inverse is
    one of several points: rows whose conjugate was not found are counted in a warning.

    References
    ----------
    .. [1] Korotin, A., Egiazarian, V., Asadulaev, A., Safin, A., Burnaev, E. (2021).
       Wasserstein-2 generative networks. ICLR.
    .. [2] Makkuva, A., Taghvaei, A., Oh, S., Lee, J. (2020). Optimal transport mapping via input
       convex neural networks. ICML.
    .. [3] Taghvaei, A., Jalali, A. (2019). 2-Wasserstein approximation via restricted convex
       potentials with application to improved training for GANs. arXiv:1902.07197.
    .. [4] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       Algorithm 1.
    .. [5] Buzun, N., Bobrin, M., Dylov, D. (2024). Expectile regularization for fast and
       accurate training of neural optimal transport. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import W2GNTransport
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(200, 2))
    >>> transport = W2GNTransport(max_iter=20, random_state=0).fit(X, 2.0 * X + 1.0)
    >>> bool(np.abs(transport.transform(X) - (2.0 * X + 1.0)).mean() < 0.2)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "potential": [HasMethods("build"), None],
        "amortizer": [HasMethods("build"), None],
        "amortization": [Amortization, None],
        "conjugate_solver": [HasMethods("solve"), None],
        "n_amortizer_steps": [Interval(Integral, 1, None, closed="left")],
        **BaseNeuralTransport._training_constraints,
    }
    _default_components: ClassVar[dict] = {
        "potential": MLPPotential,
        "amortizer": MLPMap,
        "amortization": RegressionAmortization,
        "conjugate_solver": LBFGSConjugate,
        "optimizer": Adam,
    }
    _divergence_advice = (
        "Lower the learning rate of the optimizer, or pass a conjugate solver that refines the "
        "predictions."
    )

    def __init__(
        self,
        potential=None,
        *,
        amortizer=None,
        amortization=None,
        conjugate_solver=None,
        optimizer=None,
        averaging=None,
        stopping=None,
        checkpoint=None,
        preconditioning="gaussian",
        reference="normal",
        n_amortizer_steps=1,
        max_iter=1000,
        batch_size=1024,
        warm_start=False,
        random_state=None,
        device=None,
        verbose=False,
    ):
        self.potential = potential
        self.amortizer = amortizer
        self.amortization = amortization
        self.conjugate_solver = conjugate_solver
        self.optimizer = optimizer
        self.averaging = averaging
        self.stopping = stopping
        self.checkpoint = checkpoint
        self.preconditioning = preconditioning
        self.reference = reference
        self.n_amortizer_steps = n_amortizer_steps
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @property
    def wasserstein_distance_(self) -> float:
        """2-Wasserstein distance by the dual value on training rows; solved for on demand."""
        check_is_fitted(self)
        return self._learned.distance()

    def score_samples(self, X: Any) -> np.ndarray:
        r"""Log-density of rows under the flow from the source to the reference.

        .. math:: \log p(x) = \log r(\nabla f(x)) + \log |\det \nabla^2 f(x)|

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Rows.

        Returns
        -------
        log_density : ndarray of shape (n_rows,)
            Natural logarithm. Exact for up to 64 features; beyond, the determinant is a
            stochastic estimate with fixed probes. Time O(n_rows * n_features) gradients.

        Raises
        ------
        ValueError
            If the transport was fitted with a target sample, whose density is not known.

        Notes
        -----
        The density integrates to one if f is convex, as with :class:`~skot.networks.ICNN`. Another
        potential may fold away from the data, and counts such places twice.
        """
        check_is_fitted(self)
        split = split_domains(self, X, reset=False)
        self._check_flow("score_samples")
        x = self._to_compute(split.X_source)
        return self._restore(self._learned.log_density(x, self.reference), X, split)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        r"""Draw from the flow: :math:`\nabla f^*` of draws from the reference.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Seeds the draws from the reference.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows like those of the source.

        Raises
        ------
        ValueError
            If the transport was fitted with a target sample.
        """
        check_is_fitted(self)
        self._check_flow("sample")
        generator = check_generator(random_state)
        rows = draw_reference(self.reference, n_samples, self.n_features_in_, generator)
        return self._inverse_map(self._to_compute(rows)).cpu().numpy()

    # Fitting

    def _method(self, optimizer: Optimizer) -> DualMethod:
        conjugate_solver = check_component(
            self.conjugate_solver, default=LBFGSConjugate, kind="solve", name="conjugate_solver"
        )
        amortization = check_component(
            self.amortization,
            default=RegressionAmortization,
            kind=Amortization,
            name="amortization",
        )
        amortization.check_solver(conjugate_solver)
        return DualMethod(
            optimizer,
            self.averaging,
            self.batch_size,
            check_component(self.potential, default=MLPPotential, kind="build", name="potential"),
            check_component(self.amortizer, default=MLPMap, kind="build", name="amortizer"),
            self.preconditioning,
            conjugate_solver,
            amortization,
            self.n_amortizer_steps,
        )

    def _fit_by(self, predict: Callable, views: Any, X: Any, Y: Any) -> Self:
        """Fit without training: `predict(frame, (source, target), views)` gives the networks.

        ``warm_start`` goes on from them.
        """
        method = self._method(self._training_components())
        generator = check_generator(self.random_state)
        data = self._read(X, Y, None, method, generator, reset=True)
        frame = LinearFrame.of(data.source, data.target, self.preconditioning)
        learned = LearnedPotential(
            modules=predict(frame, (data.source, data.target), views),
            frame=frame,
            conjugate_solver=method.conjugate_solver,
        )
        learned = method.at_rows(learned, data)
        self._adopt(method, learned, data, generator)
        return self

    def _attributes(self, learned: LearnedPotential) -> dict[str, Any]:
        return {"potential_": learned.potential}

    # Inference

    def _map(self, x: Tensor, labels: np.ndarray | None) -> Tensor:
        return self.potential_.gradient(x)

    def _inverse_map(self, y: Tensor) -> Tensor:
        rows, n_failed = self._learned.inverse(y)
        if n_failed:
            warn_not_converged(
                f"The conjugates of {n_failed} of {len(y)} rows were not found to the tolerance of "
                f"{type(self.conjugate_solver_).__name__}: their inverse is approximate. Increase "
                "its max_iter, or train longer."
            )
        return rows

    def _check_flow(self, method: str) -> None:
        if not self._target.is_reference:
            raise ValueError(
                f"{method} needs a target of known density, but this W2GNTransport was fitted "
                "with a target sample. Fit it on X alone: the target is then the reference."
            )
