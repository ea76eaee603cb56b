"""Wasserstein-2 maps that are predicted: a hyper-network trained over pairs of measures."""

from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted
from torch import Generator

from skot.base import check_component
from skot.networks import ICNN, DeepSets, GradientMap, HyperNetwork
from skot.training import Adam, CosineSchedule, ExponentialMovingAverage, Optimizer
from skot.transport._meta_w2gn.measures import (
    Pairs,
    check_measure,
    check_pairs,
    read_measure,
    rows_of,
)
from skot.transport._meta_w2gn.model import LearnedHyper
from skot.transport._meta_w2gn.training import PairMethod
from skot.transport._neural.fit import NeuralFit
from skot.transport._w2gn.estimator import W2GNTransport
from skot.utils._callbacks import with_callbacks
from skot.utils._sklearn import HasMethods, Interval, fit_context
from skot.utils.tensors import resolve_device


class MetaW2GN(NeuralFit, BaseEstimator):
    r"""Predict the Wasserstein-2 map between any two measures of a kind.

    Where :class:`W2GNTransport` trains the weights of a potential for one pair of samples, this
    estimator trains a hyper-network that predicts them for any pair :math:`(\mu, \nu)`, by the
    loss of W2GN averaged over pairs [1]_,

    .. math::

        \min_\theta \; E_{(\mu, \nu)} \Big[ E_{x \sim \mu} f(x) + E_{y \sim \nu} f^*(y) \Big],
        \qquad f = f_{h_\theta(\mu, \nu)},

    so that no solved problems are needed. :meth:`predict_transport` returns a fitted
    :class:`W2GNTransport` in milliseconds, which can be used as it is or fine-tuned.

    Parameters
    ----------
    potential : Potential, default=None
        Architecture of the predicted potentials: any object with
        ``build(n_features, *, generator)``. None is ``ICNN((32, 32))``.
    encoder : Encoder, default=None
        Makes codes of measures. None is :class:`~skot.networks.DeepSets` for clouds and
        :class:`~skot.networks.ResNetEncoder` for images. With only a few dozen images
        ``DeepSets()``, which sees their colours but not where these are, carries over better.
    hyper_network : HyperNetwork, default=None
        Predicts weights from codes. None is ``HyperNetwork()``.
    optimizer : Optimizer, default=None
        None is ``Adam(lr=2e-3, max_grad_norm=1.0, schedule=CosineSchedule(warmup=50))``.
    averaging : ExponentialMovingAverage, default=None
        Averages the weights over the last steps. None is ``ExponentialMovingAverage(0.998)``.
    stopping : Stopping, default=None
        Ends training before `max_iter`: :class:`~skot.training.EarlyStopping`, on pairs that are
        held out, or :class:`~skot.training.TimeBudget`. None never does.
    checkpoint : Checkpoint, default=None
        A file from which ``fit`` resumes after a crash. None writes nothing.
    code_size : int, default=128
        Length of the code of a measure.
    n_conjugate_steps : int, default=3
        Steps of L-BFGS by which the conjugates of a batch are refined.
    max_iter : int, default=2000
        Updates of the hyper-network in ``fit``.
    batch_size : int, default=8
        Pairs in a step; both directions of each are trained.
    n_points : int, default=256
        Rows of each measure in a step.
    warm_start : bool, default=False
        Whether ``fit`` goes on from the networks of the fit before, with a new optimizer.
    random_state : int, RandomState instance or None, default=None
        Seeds the initial weights and the batches, and the fine-tuning of what is predicted.
    device : str, torch.device or None, default=None
        Where to compute: ``None`` follows the input (NumPy: CPU), ``"auto"`` takes CUDA when
        there is one.
    verbose : bool, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    potential_, encoder_, hyper_network_, optimizer_, averaging_ : object
        The components that were used.
    loss_curve_ : list of float
        Dual loss of each step, less that of the maps between the Gaussian fits: negative where
        predictions are better than these.
    n_iter_ : int
        Number of steps.
    converged_ : bool
        False if `stopping` waits for convergence and it did not come, or if training diverged or
        was interrupted.
    n_features_in_ : int
        Number of features of the measures.

    See Also
    --------
    W2GNTransport : The map of one pair, and what is predicted.
    MetaOTRegressor : Predicts the potentials of entropic transport between histograms.

    Notes
    -----
    A pair is seen in the coordinates in which the optimal map between the Gaussian fits of both
    measures is the identity, so means, scales and linear parts of maps are exact from the start,
    and what is learned is the rest. The potential from target to source is predicted by the
    same hyper-network with the codes in the other order; its gradient is the amortizer of the
    predicted transport. In place of the cycle of [2]_ the conjugates of a batch are solved
    for: they start from the predicted inverse or from the best row of the batch, and are
    refined by a few steps [3]_. Both directions of a pair are trained by their own dual.

    Samples of images are their pixels: a transport that was predicted for images moves rows of
    shape (n_pixels, n_channels), in the units of the images.

    References
    ----------
    .. [1] Amos, B., Luise, G., Cohen, S. and Redko, I. (2023). Meta optimal transport. ICML,
       Section 3.3.
    .. [2] Korotin, A., Egiazarian, V., Asadulaev, A., Safin, A., Burnaev, E. (2021).
       Wasserstein-2 generative networks. ICLR.
    .. [3] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from skot import MetaW2GN
    >>> rng = np.random.RandomState(0)
    >>> clouds = [rng.normal(size=(200, 2)) ** power for power in (1, 2, 3)]
    >>> meta = MetaW2GN(max_iter=5, random_state=0).fit(clouds)
    >>> transport = meta.predict_transport(clouds[0], clouds[0] + 1.0)
    >>> transport.transform(clouds[0]).shape
    (200, 2)
    """

    _parameter_constraints: ClassVar[dict] = {
        "potential": [HasMethods("build"), None],
        "encoder": [HasMethods("build"), None],
        "hyper_network": [HasMethods("build"), None],
        "code_size": [Interval(Integral, 1, None, closed="left")],
        "n_conjugate_steps": [Interval(Integral, 0, None, closed="left")],
        "n_points": [Interval(Integral, 2, None, closed="left")],
        **NeuralFit._fit_constraints,
    }
    _default_components: ClassVar[dict] = {
        "potential": ICNN,
        "encoder": DeepSets,
        "hyper_network": HyperNetwork,
        "optimizer": Adam,
        "averaging": ExponentialMovingAverage,
    }
    _default_optimizer = Adam(lr=2e-3, max_grad_norm=1.0, schedule=CosineSchedule(warmup=50))
    _divergence_advice = "Lower the learning rate of the optimizer."

    def __init__(
        self,
        potential=None,
        *,
        encoder=None,
        hyper_network=None,
        optimizer=None,
        averaging=None,
        stopping=None,
        checkpoint=None,
        code_size=128,
        n_conjugate_steps=3,
        max_iter=2000,
        batch_size=8,
        n_points=256,
        warm_start=False,
        random_state=None,
        device=None,
        verbose=False,
    ):
        self.potential = potential
        self.encoder = encoder
        self.hyper_network = hyper_network
        self.optimizer = optimizer
        self.averaging = averaging
        self.stopping = stopping
        self.checkpoint = checkpoint
        self.code_size = code_size
        self.n_conjugate_steps = n_conjugate_steps
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.n_points = n_points
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags

    # Fitting

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the hyper-network.

        Parameters
        ----------
        X : list of array-like
            Point clouds of shape (n, n_features), or images of shape (height, width,
            n_channels).
        y : list of array-like, default=None
            The target of each of `X`. None pairs all of `X` with each other, or 4096 random
            pairs where there are more.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            For bad input: no list, clouds and images mixed, different widths, values that are
            not finite.
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
        """Train on one pass over the given pairs, from where training stands.

        For streams: every call may bring fresh measures. `stopping` and `checkpoint` are not
        used, and a schedule without a length of its own does not decay.

        Parameters
        ----------
        X : list of array-like
            Point clouds or images, as in ``fit``.
        y : list of array-like, default=None
            The target of each of `X`. None pairs all of `X` with each other.

        Returns
        -------
        self : object
            The estimator, usable after every call.

        Raises
        ------
        ValueError
            For bad input, as ``fit``.
        """
        return self._partial_fit(partial(self._read, X, y))

    def _method(self, optimizer: Optimizer) -> PairMethod:
        averaging = check_component(
            self.averaging,
            default=lambda: ExponentialMovingAverage(0.998),
            kind=ExponentialMovingAverage,
            name="averaging",
        )
        defaults = {"potential": lambda: ICNN((32, 32)), "hyper_network": HyperNetwork}
        architectures = {
            name: check_component(getattr(self, name), default=default, kind="build", name=name)
            for name, default in defaults.items()
        }
        encoder = self.encoder
        if encoder is not None:  # the default depends on the kind of measures
            encoder = check_component(encoder, default=None, kind="build", name="encoder")
        return PairMethod(
            optimizer,
            averaging,
            self.batch_size,
            architectures["potential"],
            encoder,
            architectures["hyper_network"],
            self.code_size,
            self.n_points,
            self.n_conjugate_steps,
        )

    def _read(
        self, X: Any, y: Any, method: PairMethod, generator: Generator, *, reset: bool
    ) -> Pairs:
        """Check lists of measures."""
        samples, pairs = check_pairs(X, y, owner=type(self).__name__)
        if not reset:
            self._check_sample(samples[0], "X[0]")
        data = Pairs(samples, pairs, resolve_device(self.device, like=samples[0]))
        if reset:
            self.n_features_in_ = data.n_features
        return data

    def _attributes(self, learned: LearnedHyper) -> dict[str, Any]:
        return {"encoder_": learned.encoder}

    # Inference

    def predict_transport(self, X: Any, Y: Any) -> W2GNTransport:
        """Predict the transport between two measures, without iterations.

        Parameters
        ----------
        X, Y : array-like of shape (n, n_features) or (height, width, n_channels)
            Source and target, of the kind seen in ``fit``.

        Returns
        -------
        transport : W2GNTransport
            Fitted. ``transport.set_params(warm_start=True, max_iter=1000).fit(X, Y)`` trains on,
            from the predicted weights; for images pass rows of pixels there.

        Raises
        ------
        ValueError
            For bad input, or of another kind or width than in ``fit``.
        """
        check_is_fitted(self)
        learned: LearnedHyper = self._learned
        samples = []
        for sample, name in ((X, "X"), (Y, "Y")):
            samples.append(check_measure(sample, owner=type(self).__name__, name=name))
            self._check_sample(samples[-1], name)
        views = [read_measure(s, learned.image_size, learned.device).view for s in samples]
        transport = W2GNTransport(
            clone(self.potential_, safe=False),
            amortizer=GradientMap(clone(self.potential_, safe=False)),
            random_state=learned.seed,
            device=learned.device if self.device is not None else None,
        )
        return transport._fit_by(learned.predict, views, *(rows_of(sample) for sample in samples))

    def _check_sample(self, sample: Any, name: str) -> None:
        """Raise if a validated sample is not like those of the fit."""
        if (sample.ndim == 3) != self._learned.reads_images:
            kinds = (
                ("images", "point clouds")
                if self._learned.reads_images
                else ("point clouds", "images")
            )
            raise ValueError(
                f"{name} has shape {tuple(sample.shape)}, but {type(self).__name__} was fitted on "
                f"{kinds[0]}, not on {kinds[1]}."
            )
        if sample.shape[-1] != self.n_features_in_:
            raise ValueError(
                f"{name} has {sample.shape[-1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
