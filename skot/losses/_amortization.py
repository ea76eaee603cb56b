"""How the amortizer, the network that predicts the conjugate points, is trained."""

from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from skot.base import Component
from skot.losses._dual import DualBatch
from skot.numerics.value_and_gradient import value_and_gradient
from skot.utils._sklearn import Interval


class Amortization(Component, ABC):
    r"""Base class of the losses that train the amortizer.

    The amortizer predicts the conjugate points :math:`\tilde{x}(y) \approx \nabla f^*(y)`, where
    :math:`\nabla f(\tilde{x}(y)) = y`. A subclass implements :meth:`amortizer_loss`, and overrides
    :meth:`potential_penalty` if the potential is to be trained by more than the dual.

    Examples
    --------
    >>> import torch
    >>> from skot.losses import Amortization
    >>> class AbsoluteRegression(Amortization):
    ...     def amortizer_loss(self, batch):
    ...         return (batch.prediction - batch.solution).abs().mean()
    >>> AbsoluteRegression()
    AbsoluteRegression()
    """

    def check_solver(self, solver: Any) -> None:
        """Raise if the loss cannot be used with a conjugate solver; the base class accepts all.

        Parameters
        ----------
        solver : ConjugateSolver
            The solver that will refine the predictions; its attribute ``refines`` says whether
            it does.

        Raises
        ------
        ValueError
            If the loss has no gradient with this solver.
        """

    @abstractmethod
    def amortizer_loss(self, batch: DualBatch) -> Tensor:
        """Loss of the amortizer.

        Parameters
        ----------
        batch : DualBatch
            The rows and the predictions.

        Returns
        -------
        loss : Tensor
            A number. Only its gradient in the parameters of the amortizer is meant to be used.
        """

    def potential_penalty(self, batch: DualBatch) -> Tensor | None:
        """Return what is added to the dual loss of the potential.

        Parameters
        ----------
        batch : DualBatch
            The rows and the predictions.

        Returns
        -------
        penalty : Tensor or None
            A number. Only its gradient in the parameters of the potential is meant to be used.
            None, as in the base class, adds nothing.
        """
        return None


class ObjectiveAmortization(Amortization):
    r"""Train the amortizer on the objective that the conjugate point minimises.

    .. math::

        E_y \, J(\tilde{x}(y); y), \qquad J(x; y) = f(x) - \langle x, y \rangle.

    Notes
    -----
    The gradient in the prediction is :math:`\nabla f(\tilde{x}) - y`, so one evaluation of
    :math:`\nabla f` does, and nothing is differentiated through the potential. The minimum exists
    only where the potential grows fast enough: without a conjugate solver, this is the min-max of
    [1]_, which needs a convex potential to be stable.

    References
    ----------
    .. [1] Makkuva, A., Taghvaei, A., Oh, S., Lee, J. (2020). Optimal transport mapping via input
       convex neural networks. ICML, equation 6.
    .. [2] Taghvaei, A., Jalali, A. (2019). 2-Wasserstein approximation via restricted convex
       potentials with application to improved training for GANs. arXiv:1902.07197.
    .. [3] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       equation 9.

    Examples
    --------
    >>> from skot.losses import ObjectiveAmortization
    >>> ObjectiveAmortization()
    ObjectiveAmortization()
    """

    def amortizer_loss(self, batch: DualBatch) -> Tensor:
        prediction = batch.prediction
        with torch.no_grad():
            values, gradients = value_and_gradient(batch.potential, prediction.detach())
            objective = (values - (prediction * batch.y).sum(dim=1)).mean()
            direction = gradients - batch.y
        # Linear in the prediction: the gradient of J, and its value put back in.
        surrogate = (direction * prediction).sum(dim=1).mean()
        return objective + (surrogate - surrogate.detach())


class RegressionAmortization(Amortization):
    r"""Train the amortizer by regression on what the conjugate solver found.

    .. math:: E_y \, \lVert \tilde{x}(y) - x^*(y) \rVert^2.

    It needs a solver that changes the predictions, since otherwise the loss is zero:
    :meth:`check_solver` refuses one that returns them as they are.

    References
    ----------
    .. [1] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       equation 11.

    Examples
    --------
    >>> from skot.losses import RegressionAmortization
    >>> RegressionAmortization()
    RegressionAmortization()
    """

    def check_solver(self, solver: Any) -> None:
        if not getattr(solver, "refines", True):
            raise ValueError(
                f"{type(self).__name__} has no gradient with {type(solver).__name__}, which"
                " returns the predictions of the amortizer as they are. Pass a conjugate solver"
                " that refines them, or another amortization, for example"
                " ObjectiveAmortization()."
            )

    def amortizer_loss(self, batch: DualBatch) -> Tensor:
        return _mean_square(batch.prediction - batch.solution)


class CycleAmortization(Amortization):
    r"""Train the amortizer to be the inverse of the map.

    With a conjugate solver, the amortizer alone minimises

    .. math:: R_Y = E_y \, \lVert \nabla f(\tilde{x}(y)) - y \rVert^2.

    Without one, both networks minimise

    .. math:: R_Y + R_X, \qquad R_X = E_x \, \lVert \tilde{x}(\nabla f(x)) - x \rVert^2,

    the potential with a weight relative to the dual, as in [1]_: :meth:`amortizer_loss` is the
    cycle without the weight, :meth:`potential_penalty` with it.

    Parameters
    ----------
    weight : float, default=None
        Weight of the cycle in the loss of the potential. None is the number of features. Not
        used with a conjugate solver.

    Notes
    -----
    The gradient in the prediction involves a product with the Hessian of the potential, and
    vanishes where the Hessian is singular.

    References
    ----------
    .. [1] Korotin, A., Egiazarian, V., Asadulaev, A., Safin, A., Burnaev, E. (2021).
       Wasserstein-2 generative networks. ICLR, equations 10 to 12.
    .. [2] Amos, B. (2023). On amortizing convex conjugates for optimal transport. ICLR,
       equation 10.

    Examples
    --------
    >>> from skot.losses import CycleAmortization
    >>> CycleAmortization(weight=10.0)
    CycleAmortization(weight=10.0)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "weight": [Interval(Real, 0, None, closed="left"), None],
    }

    def __init__(self, weight: float | None = None) -> None:
        self.weight = weight

    def amortizer_loss(self, batch: DualBatch) -> Tensor:
        # The cycle without its weight.
        _, gradients = value_and_gradient(batch.potential, batch.prediction)
        loss = _mean_square(gradients - batch.y)
        if batch.refined:
            return loss
        with torch.no_grad():
            _, image = value_and_gradient(batch.potential, batch.x)
        return loss + _mean_square(batch.amortizer(image) - batch.x)

    def potential_penalty(self, batch: DualBatch) -> Tensor | None:
        if batch.refined:
            return None
        points = torch.cat([batch.x, batch.prediction.detach()])
        _, gradients = value_and_gradient(batch.potential, points)
        image, cycled = gradients[: len(batch.x)], gradients[len(batch.x) :]
        cycle = _mean_square(cycled - batch.y) + _mean_square(batch.amortizer(image) - batch.x)
        weight = batch.x.shape[1] if self.weight is None else self.weight
        return weight * cycle


def _mean_square(residual: Tensor) -> Tensor:
    return residual.square().sum(dim=1).mean()
