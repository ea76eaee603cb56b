"""The expectile regularisation of the dual."""

from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from skot.losses._amortization import ObjectiveAmortization
from skot.losses._dual import DualBatch
from skot.utils._sklearn import Interval


class ExpectileAmortization(ObjectiveAmortization):
    r"""Train the amortizer on its objective, and bind the potential to its conjugate.

    No conjugate solver is needed. The potential is penalised by

    .. math::

        \lambda \, E_{x, y} \, \rho_\tau (u), \qquad
        u = \langle x, y \rangle - f(x)
        - \bigl( \langle \tilde{x}(y), y \rangle - f(\tilde{x}(y)) \bigr), \qquad
        \rho_\tau(u) = \lvert \tau - 1_{u < 0} \rvert \, u^2.

    Parameters
    ----------
    tau : float, default=1.0
        The expectile, in [0.5, 1]. At 1 only pairs with :math:`u > 0` are penalised.
    weight : float, default=0.25
        The weight :math:`\lambda` of the penalty relative to the dual. The penalty is
        quadratic in the potential, the dual is linear: the weight suits data of unit spread.

    Notes
    -----
    By the inequality of Fenchel and Young, :math:`u \leq 0` wherever :math:`\tilde{x}(y)` attains
    the conjugate. Where it does not, the dual loss underestimates :math:`f^*(y)`, which is how the
    min-max goes astray; a pair with :math:`u > 0` proves it, and the penalty then raises
    :math:`f(x)` and lowers :math:`f(\tilde{x}(y))`.

    In the terms of [1]_, whose cost is here :math:`-\langle x, y \rangle`, :math:`u` is
    :math:`g^T(y) - c(x, y) + g(x)` with :math:`g = -f` and
    :math:`g^T(y) = c(\tilde{x}(y), y) - g(\tilde{x}(y))`. The prediction is not
    differentiated here: the amortizer follows :class:`ObjectiveAmortization`. With a
    conjugate solver, its points take the place of the predictions.

    References
    ----------
    .. [1] Buzun, N., Bobrin, M., Dylov, D. (2024). Expectile regularization for fast and
       accurate training of neural optimal transport. NeurIPS, section 4.

    Examples
    --------
    >>> from skot.losses import ExpectileAmortization
    >>> ExpectileAmortization(tau=0.99)
    ExpectileAmortization(tau=0.99)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "tau": [Interval(Real, 0.5, 1, closed="both")],
        "weight": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(self, tau: float = 1.0, weight: float = 0.25) -> None:
        self.tau = tau
        self.weight = weight

    def potential_penalty(self, batch: DualBatch) -> Tensor:
        source, target = batch.potential_values
        conjugate = (batch.solution * batch.y).sum(dim=1) - target
        # Row i of both, as the reference does, up to the length of the shorter.
        n = min(len(source), len(conjugate))
        excess = (batch.x[:n] * batch.y[:n]).sum(dim=1) - source[:n] - conjugate[:n]
        weight = torch.where(excess < 0, 1.0 - self.tau, self.tau)
        return self.weight * (weight * excess.square()).mean()
