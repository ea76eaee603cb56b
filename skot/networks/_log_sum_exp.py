"""Log-sum-exp networks: convex potentials that resolve details in a few dimensions."""

from numbers import Integral, Real
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.networks._base import Potential, PotentialModule
from skot.utils._sklearn import Interval


class LogSumExpPotential(Potential):
    r"""Soft maximum of affine functions, convex by construction.

    The gradient is a weighted mean of slopes, as the entropic map is one of target points: with
    as many slopes as it takes to cover the target, the potential follows details that
    :class:`~skot.networks.ICNN` takes far longer to learn. That is for a few features.

    Parameters
    ----------
    n_slopes : int, default=512
        Number of affine functions.
    temperature : float, default=0.05
        Initial value of the learned temperature, below 1. Smaller ones resolve more and overfit
        sooner; below the squared distance between neighbouring slopes the map is a staircase.
    strong_convexity : float, default=0.01
        The smallest eigenvalue that the Hessian can have, in (0, 1).

    See Also
    --------
    ICNN : Convex too, for any number of features.

    Notes
    -----
    With slopes :math:`s_j`, offsets :math:`c_j` and temperature :math:`\tau`, all learned,

    .. math:: f(x) = \tau \log \sum_j \exp \frac{\langle s_j, x \rangle - c_j}{\tau}
        + \frac{\mu}{2} |x|^2 + \frac{1}{2} \max(|\Sigma^{-1/2} x| - r, 0)^2.

    The last term, with r = 3, is zero where the points are. Beyond the hull of the slopes it is
    what makes f grow: without it, a draw of the reference there would come from very far away.
    Every convex function is a limit of such f [1]_. The first slopes are quasi-random points of
    :math:`N(0, \sigma^2 \Sigma)`, with :math:`\Sigma` the covariance of the points, and
    :math:`c_j = s_j^\top A s_j / 2`, :math:`A = I / (1 - \mu) - \tau \Sigma^{-1} / \sigma^2`. With
    ever more of them the Hessian becomes the identity at first: the sums tend to Gaussian
    integrals.

    References
    ----------
    .. [1] Calafiore, G. C., Gaubert, S. and Possieri, C. (2020). Log-sum-exp neural networks and
       posynomial models for convex and log-log-convex data. IEEE Transactions on Neural Networks
       and Learning Systems, 31(3), Theorem 2.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import LogSumExpPotential
    >>> generator = torch.Generator().manual_seed(0)
    >>> potential = LogSumExpPotential(64).build(2, generator=generator)
    >>> ends = torch.tensor([[-1.0, 0.0], [1.0, 2.0]])
    >>> bool(potential(ends.mean(0, keepdim=True)) <= potential(ends).mean())
    True
    """

    has_quadratic_term = True

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_slopes": [Interval(Integral, 1, None, closed="left")],
        "temperature": [Interval(Real, 0, 1, closed="neither")],
        "strong_convexity": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        n_slopes: int = 512,
        *,
        temperature: float = 0.05,
        strong_convexity: float = 0.01,
    ) -> None:
        self.n_slopes = n_slopes
        self.temperature = temperature
        self.strong_convexity = strong_convexity

    def build(self, n_features: int, *, generator: Generator) -> PotentialModule:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : PotentialModule
            The potential, of float32 parameters.
        """
        self.validate()
        return _LogSumExpModule(
            self.n_slopes, self.temperature, self.strong_convexity, n_features, generator
        )


class _LogSumExpModule(PotentialModule):
    #: The first slopes reach a little farther than the target, in standard deviations of it.
    spread = 1.1
    #: Radius of the ball outside of which f grows, in standard deviations of the points.
    radius = 3.0
    #: The whitening is about zero in directions without spread; the first slopes have none there.
    flatness = 0.05

    def __init__(
        self,
        n_slopes: int,
        temperature: float,
        strong_convexity: float,
        n_features: int,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.strong_convexity = strong_convexity
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        uniform = torch.quasirandom.SobolEngine(n_features, scramble=True, seed=seed).draw(n_slopes)
        normal = torch.special.ndtri(uniform.clamp(1e-6, 1.0 - 1e-6))
        self.slopes = nn.Parameter(self.spread * normal)
        self.offsets = nn.Parameter(torch.zeros(n_slopes))
        self.log_temperature = nn.Parameter(torch.tensor(temperature).log())
        self.whitening: Tensor
        self.register_buffer("whitening", torch.eye(n_features))
        self.precondition_(torch.eye(n_features), torch.eye(n_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.value_and_gradient(x)[0]

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        temperature = self.log_temperature.exp()
        logits = torch.addmm(-self.offsets, x, self.slopes.T) / temperature
        log_sum = torch.logsumexp(logits, dim=1)
        weights = torch.exp(logits - log_sum[:, None])
        quadratic = 0.5 * self.strong_convexity * torch.linalg.vecdot(x, x)
        gradients = torch.addmm(x, weights, self.slopes, beta=self.strong_convexity)

        # The last term of f, which makes it grow beyond the hull of the slopes: half the squared
        # distance to the ball of the radius, in coordinates where the points are white.
        white = x @ self.whitening
        # Clamped before the root, which has no derivative at zero.
        lengths = torch.linalg.vecdot(white, white).clamp_min(self.radius**2).sqrt()[:, None]
        values = quadratic + temperature * log_sum + 0.5 * (lengths[:, 0] - self.radius).square()
        outward = (1.0 - self.radius / lengths) * white
        return values, torch.addmm(gradients, outward, self.whitening.T)

    def precondition_(self, whitening: Tensor, original: Tensor) -> None:
        self.whitening = whitening.to(self.slopes)
        with torch.no_grad():
            covering = torch.linalg.pinv(whitening, rtol=self.flatness, hermitian=True)
            slopes = self.slopes @ covering.to(self.slopes)
            # Back again, not as drawn: in a flat direction there is no density to correct for.
            white = slopes @ self.whitening / self.spread
            # The offsets s' A s / 2: a Gaussian integral over the slopes with these, and with it f
            # at first, is a quadratic form with the Hessian I.
            growth = slopes.square().sum(dim=1) / (1.0 - self.strong_convexity)
            correction = self.log_temperature.exp() * white.square().sum(dim=1)
            self.slopes.copy_(slopes)
            self.offsets.copy_(0.5 * (growth - correction))
