"""Neural optimal transport for strong and weak costs: maps that may split mass."""

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skot.base import check_component
from skot.costs import Cost, SquaredEuclidean, check_cost
from skot.losses import EnergyAugmentation, GradientPenalty, StrongCost, WeakCost, WeakQuadratic
from skot.measures import EmpiricalMeasure, Noise
from skot.networks import ConditionalMLP, MLPMap, MLPPotential
from skot.training import Adam, CosineSchedule, Optimizer, TrainingResult, TrainingState
from skot.transport._neural.two_samples import BaseNeuralTransport, Samples
from skot.transport._neural_ot.diagnostics import PlanDiagnostics, convergence_messages, of_plan
from skot.transport._neural_ot.model import LearnedMaps
from skot.transport._neural_ot.training import MaximinMethod
from skot.utils._sklearn import HasMethods, Interval
from skot.utils.random import check_generator
from skot.utils.validation import split_domains


def _learns_inverse(transport: "NeuralOT") -> bool:
    return transport.fit_inverse_transform


class NeuralOT(BaseNeuralTransport):
    r"""Transport by a network trained against a potential, for strong and weak costs.

    .. math::

        \sup_g \inf_T \; E_y \, g(y) + E_x \big[ C(x, T(x, \cdot)_\# S) - E_z \, g(T(x, z)) \big]

    The potential g tells the map T what each place is worth; the map finds the cheapest way to
    places of worth [1]_. With a strong cost T is a deterministic map. With a weak cost it takes
    noise z and gives every row a distribution of images: a plan that splits mass.

    Parameters
    ----------
    cost : WeakCost, Cost or str, default=None
        :class:`~skot.losses.WeakQuadratic`, :class:`~skot.losses.WeakKernel`, any
        :class:`~skot.losses.WeakCost`, or a strong cost: a component of :mod:`skot.costs` or its
        name. None is ``WeakQuadratic(gamma=0)``, the strong cost :math:`|x - y|^2 / 2`.
    transport_map : Map, default=None
        Architecture of T: :class:`~skot.networks.MLPMap`,
        :class:`~skot.networks.ConditionalMLP` (with noise), :class:`~skot.networks.UNet` (either),
        or any object with ``build(n_features, *, generator)``. None is ``MLPMap()`` for a strong
        cost and ``ConditionalMLP()`` for a weak one.
    potential : Potential, default=None
        Architecture of the potential: :class:`~skot.networks.MLPPotential`,
        :class:`~skot.networks.ResNetPotential`, or any object with ``build``. None is
        ``MLPPotential()``.
    noise : Noise, default=None
        What a stochastic map is fed. None is ``Noise()``.
    augmentation : EnergyAugmentation, default=None
        Added to the loss of the map; it changes how training goes and not where it leads. None is
        ``EnergyAugmentation()``; ``EnergyAugmentation(weight=0)`` is the published method.
    regularization : GradientPenalty, default=None
        Added to the loss of the potential. None adds nothing.
    optimizer : Optimizer, default=None
        Of all networks. None is ``Adam(lr=5e-3, betas=(0.5, 0.9), schedule=CosineSchedule())``.
    averaging : ExponentialMovingAverage, default=None
        Averages the weights over the last steps. None does not.
    stopping : Stopping, default=None
        Ends training before `max_iter`. :class:`~skot.training.EarlyStopping` looks at the
        Sinkhorn divergence of held-out rows, transported, to the held-out target.
    checkpoint : Checkpoint, default=None
        A file from which ``fit`` resumes after a crash; it takes a `random_state` that repeats,
        such as an int. None writes nothing.
    n_map_steps : int, default=10
        Updates of the map per update of the potential. With weak costs fewer, such as 4, leave
        more of the time to the potential, which has to learn the spread.
    n_noise_samples : int, default=4
        Images of every row of a batch; at least 2 for a weak cost. Not used without noise.
    fit_inverse_transform : bool, default=False
        Whether to learn the transport back as well, with networks of its own. It doubles the
        time.
    preconditioning : {"gaussian", "identity"}, default="gaussian"
        The coordinates in which networks see the data. "gaussian", for the quadratic cost: those
        in which the optimal map between the Gaussian fits of the samples is the identity. Other
        costs, maps of images, and "identity": the data's own, each sample centred and both scaled
        by one number.
    reference : {"normal", "uniform"}, default="normal"
        The target when ``fit`` is given none: the standard normal, or the uniform distribution on
        the unit cube. Every step of training draws from it anew.
    max_iter : int, default=1000
        Updates of the potential in ``fit``.
    batch_size : int, default=256
        Rows of each side in a step; a smaller sample makes smaller batches.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the networks of the fit before, in its coordinates and with
        a new optimizer.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights, the batches and the noise.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    potential_ : KantorovichPotential
        The potential g on the target, on tensors.
    noise_bank_ : Tensor of shape (n_bank, n_noise_features) or None
        The noise over which ``transform`` averages; None for a deterministic map.
    cost_value_ : float
        Mean cost of the learned plan on training rows, with fresh noise: on at most 4096 images,
        16 of each row where there is noise.
    dual_value_ : float
        Value of the maximin objective on the same rows.
    duality_gap_ : float
        ``cost_value_ - dual_value_``: how much more the images are worth than the target, in the
        eyes of the potential. It is zero at the solution and may have either sign; one that is
        not small beside `cost_value_` means that the images do not follow the target.
    cost_, noise_, augmentation_, optimizer_ : object
        The components that were used.
    loss_curve_ : list of float
        Value of the maximin objective on each batch, in the units of the networks; with
        `fit_inverse_transform`, the sum over both directions.
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
    W2GNTransport : For the quadratic cost alone, and more accurate there.
    SinkhornTransport : Entropic transport, without training.

    Notes
    -----
    The potential is written as :math:`g(y) = c |y|^2 / 2 - \psi(y)`, with c the coefficient of
    :math:`|y|^2 / 2` in the cost, and networks learn :math:`\psi`. Those of this package begin at
    half a square, so that the inner problem is strictly convex when training begins. For the
    quadratic cost :math:`\psi` is the potential of Brenier's theorem.

    The method gives no certificate: :meth:`diagnose` puts together what there is to judge a fit
    by. Training is in float32; the fitted networks have the dtype of `X`.

    References
    ----------
    .. [1] Korotin, A., Selikhanovych, D., Burnaev, E. (2023). Neural optimal transport. ICLR,
       Algorithm 1.
    .. [2] Korotin, A., Selikhanovych, D., Burnaev, E. (2023). Kernel neural optimal transport.
       ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import NeuralOT
    >>> rng = np.random.RandomState(0)
    >>> X = rng.normal(size=(200, 2))
    >>> transport = NeuralOT(max_iter=10, random_state=0).fit(X, 2.0 * X + 1.0)
    >>> bool(np.abs(transport.transform(X) - (2.0 * X + 1.0)).mean() < 0.2)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "cost": [WeakCost, Cost, str, None],
        "transport_map": [HasMethods("build"), None],
        "potential": [HasMethods("build"), None],
        "noise": [Noise, None],
        "augmentation": [EnergyAugmentation, None],
        "regularization": [GradientPenalty, None],
        "n_map_steps": [Interval(Integral, 1, None, closed="left")],
        "n_noise_samples": [Interval(Integral, 1, None, closed="left")],
        "fit_inverse_transform": ["boolean"],
        **BaseNeuralTransport._training_constraints,
    }
    _default_components: ClassVar[dict] = {
        "cost": WeakQuadratic,
        "transport_map": MLPMap,
        "potential": MLPPotential,
        "noise": Noise,
        "augmentation": EnergyAugmentation,
        "optimizer": Adam,
    }
    _default_optimizer = Adam(lr=5e-3, betas=(0.5, 0.9), schedule=CosineSchedule())
    _divergence_advice = (
        "Lower the learning rate of the optimizer, or pass regularization=GradientPenalty()."
    )

    def __init__(
        self,
        cost=None,
        *,
        transport_map=None,
        potential=None,
        noise=None,
        augmentation=None,
        regularization=None,
        optimizer=None,
        averaging=None,
        stopping=None,
        checkpoint=None,
        n_map_steps=10,
        n_noise_samples=4,
        fit_inverse_transform=False,
        preconditioning="gaussian",
        reference="normal",
        max_iter=1000,
        batch_size=256,
        warm_start=False,
        random_state=None,
        device=None,
        verbose=False,
    ):
        self.cost = cost
        self.transport_map = transport_map
        self.potential = potential
        self.noise = noise
        self.augmentation = augmentation
        self.regularization = regularization
        self.optimizer = optimizer
        self.averaging = averaging
        self.stopping = stopping
        self.checkpoint = checkpoint
        self.n_map_steps = n_map_steps
        self.n_noise_samples = n_noise_samples
        self.fit_inverse_transform = fit_inverse_transform
        self.preconditioning = preconditioning
        self.reference = reference
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    @available_if(_learns_inverse)
    def inverse_transform(self, X: Any) -> Any:
        """Transport target rows back to the source, by the map learned for it.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Target rows.

        Returns
        -------
        X_new : array of shape (n_rows, n_features)
            Rows in the source's place: conditional means, if the cost is weak.

        Raises
        ------
        AttributeError
            If `fit_inverse_transform` is False.
        NotFittedError
            If it was False in ``fit``.
        """
        check_is_fitted(self)
        if "inverse_transport_map" not in self._learned.modules:
            raise NotFittedError(
                "This NeuralOT was fitted with fit_inverse_transform=False, so there is no inverse "
                "transform: fit it again."
            )
        return super().inverse_transform(X)

    def sample_transform(self, X: Any, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw images of rows.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows.
        n_samples : int, default=1
            Draws for each row.
        random_state : int, RandomState instance or None, default=None
            Seeds the noise.

        Returns
        -------
        images : array of shape (n_rows, n_samples, n_features)
            Of the kind and dtype of `X`, O(n_rows * n_samples * n_features) in memory. All draws
            of a row are alike if the map is deterministic.

        Raises
        ------
        ValueError
            If `n_samples` is not a positive integer.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(f"n_samples must be a positive integer. Got {n_samples!r}.")
        split = split_domains(self, X, reset=False)
        generator = check_generator(random_state)
        images = self._learned.plan().draw(
            self._to_compute(split.X_source), int(n_samples), generator
        )
        return self._restore(images, X, split)

    def conditional_variance(self, X: Any) -> Any:
        """Variance of the images of each row, over the noise bank.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows.

        Returns
        -------
        variance : array of shape (n_rows, n_features)
            Zero if the map is deterministic.
        """
        check_is_fitted(self)
        split = split_domains(self, X, reset=False)
        variance = self._learned.plan().moments(self._to_compute(split.X_source))[1]
        return self._restore(variance, X, split)

    def diagnose(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        sample_domain: Any = None,
        random_state: Any = 0,
    ) -> PlanDiagnostics:
        """Judge the fit on rows it has not seen, in numbers and in words.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Source rows, or both samples stacked.
        y : array-like of shape (n_target, n_features), default=None
            Target rows. Without them, and without target rows in `X`, the target of ``fit``.
        sample_weight : array-like of shape (n_rows,), default=None
            Weights of the rows of `X`, in the divergence and the spread; costs and potentials are
            means over rows.
        sample_domain : array-like of int, shape (n_rows,), default=None
            Source where >= 0, target where < 0.
        random_state : int, RandomState instance or None, default=0
            Seeds the noise.

        Returns
        -------
        diagnostics : PlanDiagnostics
            How far the images are from the target, their spread, costs, duality gap, and how much
            mass is split. At most 2000 rows a side are looked at.
        """
        source, target = self._compared("diagnose", X, y, sample_weight, sample_domain)
        generator = check_generator(random_state)
        values, images = self._learned.values_of(source.points, target.points, generator)
        moved = EmpiricalMeasure(images.double(), source.weights)
        return of_plan(self._common_numbers(source, target, moved), values)

    # Fitting

    def _method(self, optimizer: Optimizer) -> MaximinMethod:
        cost = check_cost(
            WeakQuadratic(gamma=0.0) if self.cost is None else self.cost, kind=(Cost, WeakCost)
        )
        cost = cost if isinstance(cost, WeakCost) else StrongCost(cost)
        noise, augmentation = (
            check_component(getattr(self, name), default=kind, kind=kind, name=name)
            for name, kind in (("noise", Noise), ("augmentation", EnergyAugmentation))
        )
        if self.regularization is not None:
            check_component(
                self.regularization, default=None, kind=GradientPenalty, name="regularization"
            )
        default_map = ConditionalMLP if cost.splits_mass else MLPMap
        transport_map = check_component(
            self.transport_map, default=default_map, kind="build", name="transport_map"
        )
        potential = check_component(
            self.potential, default=MLPPotential, kind="build", name="potential"
        )
        self._check_fit_together(cost, transport_map, potential)
        return MaximinMethod(
            optimizer,
            self.averaging,
            self.batch_size,
            cost,
            transport_map,
            potential,
            noise,
            augmentation,
            self.regularization,
            self.n_map_steps,
            self.n_noise_samples,
            self.fit_inverse_transform,
            self.preconditioning,
        )

    def _check_fit_together(self, cost: WeakCost, transport_map: Any, potential: Any) -> None:
        cost.check_potential(potential)
        if not cost.splits_mass:
            return
        if self.n_noise_samples < 2:
            raise ValueError(
                f"The weak cost {cost} is estimated from at least two images of a row: "
                f"n_noise_samples must be at least 2. Got {self.n_noise_samples}."
            )
        if not getattr(transport_map, "takes_noise", False):
            raise ValueError(
                f"The weak cost {cost} splits mass, which takes noise, and "
                f"{transport_map} has none: pass a map such as ConditionalMLP()."
            )

    def _attributes(self, learned: LearnedMaps) -> dict[str, Any]:
        return {"potential_": learned.potential, "noise_bank_": learned.noise_bank}

    def _store(
        self,
        attributes: dict[str, Any],
        state: TrainingState,
        data: Samples,
        result: TrainingResult,
    ) -> None:
        super()._store(attributes, state, data, result)
        self._values = self._learned.values()
        self.cost_value_, self.duality_gap_ = self._values[:2]
        self.dual_value_ = self.cost_value_ - self.duality_gap_

    def _convergence_messages(self) -> list[str]:
        return convergence_messages(
            self._values,
            self._learned.units[0] * self.n_features_in_,
            self.n_iter_,
            splits_mass=self.cost_.splits_mass,
            advice=self._divergence_advice,
        )

    # Inference

    def _map(self, x: Tensor, labels: np.ndarray | None) -> Tensor:
        return self._learned.plan().moments(x)[0]

    def _map_at(self, x: Tensor, t: float) -> Tensor:
        paths = self.cost_.cost if isinstance(self.cost_, StrongCost) else SquaredEuclidean()
        return paths.interpolate(x, self._map(x, None), t)

    def _map_to_score(self, x: Tensor) -> Tensor:
        # Conditional means are less spread than the target that the images follow.
        return self._learned.plan().draw(x, 1, check_generator(0))[:, 0]

    def _inverse_map(self, y: Tensor) -> Tensor:
        return self._learned.plan("inverse_").moments(y)[0]
