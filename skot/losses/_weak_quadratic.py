"""The weak quadratic cost."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

from torch import Tensor

from skot.losses._weak_cost import WeakCost
from skot.utils._sklearn import Interval


class WeakQuadratic(WeakCost):
    r"""Half the squared distance, less a reward for spread.

    .. math::

        C(x, \mu) = \frac{1}{2} E_{y \sim \mu} |x - y|^2
        - \frac{\gamma}{2} \operatorname{Var}(\mu)
        = \frac{\gamma}{2} |m|^2 - \langle x, m \rangle + \frac{1}{2} |x|^2
        + \frac{1 - \gamma}{2} E |y|^2,

    where m is the mean of :math:`\mu` and Var its total variance. For :math:`\gamma = 0` this is
    the strong quadratic cost, and the plan a deterministic map; the larger :math:`\gamma`, the
    more mass is split [1]_. From draws the variance is estimated without bias.

    Parameters
    ----------
    gamma : float, default=1.0
        Weight of the variance, at least 0. Where mass is split, the plan is determined only in its
        conditional means, and training may wander among plans that share them; see
        :class:`WeakKernel` for costs without such solutions. Above 1 the cost decreases without
        bound in the spread, and the potential needs a quadratic term to hold it.
    warmup : int, default=0
        Number of iterations over which gamma grows from 0 in training.

    See Also
    --------
    WeakKernel : Weak costs with a unique plan.

    References
    ----------
    .. [1] Korotin, A., Selikhanovych, D., Burnaev, E. (2023). Neural optimal transport. ICLR,
       Equation 6.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import WeakQuadratic
    >>> x, y = torch.zeros(1, 1), torch.tensor([[[-1.0], [1.0]]])
    >>> WeakQuadratic(gamma=0.0).evaluate(x, y), WeakQuadratic(gamma=0.25).evaluate(x, y)
    (tensor([0.5000]), tensor([0.2500]))
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "gamma": [Interval(Real, 0, None, closed="left")],
        "warmup": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, gamma: float = 1.0, warmup: int = 0):
        self.gamma = gamma
        self.warmup = warmup

    @property
    def splits_mass(self) -> bool:  # type: ignore[override]
        """Whether gamma is positive."""
        return self.gamma > 0

    @property
    def invariance(self) -> str:  # type: ignore[override]
        """Which changes of coordinates leave plans what they are; see :class:`WeakCost`."""
        return "separate" if self.gamma > 0 else "linear"

    @property
    def quadratic_coefficient(self) -> float:  # type: ignore[override]
        """Coefficient of the term of the target alone, 1 - gamma; see :class:`WeakCost`."""
        return 1.0 - self.gamma

    def evaluate(self, x: Tensor, y: Tensor) -> Tensor:
        n_samples = y.shape[1]
        distance = 0.5 * (y - x[:, None]).square().sum(dim=2).mean(dim=1)
        if self.gamma == 0:
            return distance
        spread = y - y.mean(dim=1, keepdim=True)
        variance = spread.square().sum(dim=(1, 2)) / (n_samples - 1)
        return distance - 0.5 * self.gamma * variance

    def at(self, iteration: int) -> Self:
        """Return the cost with the gamma of this iteration.

        Parameters
        ----------
        iteration : int
            Number of iterations done.

        Returns
        -------
        cost : WeakQuadratic
            Itself once gamma has grown up.
        """
        if iteration >= self.warmup:
            return self
        return type(self)(gamma=self.gamma * iteration / self.warmup)

    def check_potential(self, potential: Any) -> None:
        """Raise for gamma > 1 and a potential without a quadratic term.

        Parameters
        ----------
        potential : Potential
            The architecture.

        Raises
        ------
        ValueError
            If the potential cannot hold the spread that the cost rewards.
        """
        if self.gamma > 1 and not getattr(potential, "has_quadratic_term", False):
            raise ValueError(
                f"WeakQuadratic(gamma={self.gamma}) rewards spread without bound, and "
                f"{type(potential).__name__} has no quadratic term to hold it: use gamma <= 1, or "
                "a potential with a quadratic term such as MLPPotential()."
            )
