"""Averages of weights over the steps of a training run."""

import copy
from numbers import Integral, Real
from typing import Any, ClassVar

import torch
from torch import nn

from skot.base import Component
from skot.utils._sklearn import Interval

#: The window is at most 1 / _SHARE of the steps so far: the start is forgotten like t**-_SHARE.
_SHARE = 9


class WeightAverage:
    """The running average of the weights of one module.

    Built by :meth:`ExponentialMovingAverage.build`.

    Parameters
    ----------
    module : torch.nn.Module
        The module that is trained.
    decay : float
        Largest weight that an update leaves on the average so far.
    start : int
        Number of updates before averaging begins.

    Attributes
    ----------
    module : torch.nn.Module
        A copy of the trained module with averaged parameters, in evaluation mode and without
        gradients. Its buffers are those of the trained module.
    n_updates : int
        Number of updates so far.
    """

    def __init__(self, module: nn.Module, *, decay: float, start: int):
        self.module = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay
        self.start = start
        self.n_updates = 0
        self._source = module
        self._pair_tensors()

    def _pair_tensors(self) -> None:
        # Walking through a module takes longer than averaging it, hence the lists.
        self._trained = [parameter.detach() for parameter in self._source.parameters()]
        self._averaged = [parameter.detach() for parameter in self.module.parameters()]
        self._buffers = list(zip(self.module.buffers(), self._source.buffers(), strict=True))

    def update(self) -> None:
        """Take the current weights into the average."""
        count = max(self.n_updates - self.start, 0)
        decay = min(self.decay, count / (count + _SHARE))
        torch._foreach_lerp_(self._averaged, self._trained, 1.0 - decay)
        for average, current in self._buffers:
            average.copy_(current)
        self.n_updates += 1

    def synchronize(self) -> None:
        """Look up the tensors of both modules again, after a move to another device."""
        self._pair_tensors()

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the counter.

        Returns
        -------
        state : dict
            Of numbers and tensors.
        """
        return {"module": self.module.state_dict(), "n_updates": self.n_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Parameters
        ----------
        state : dict
            State of an average over a module of the same shapes.
        """
        self.module.load_state_dict(state["module"])
        self.n_updates = state["n_updates"]

    def __getstate__(self) -> dict[str, Any]:
        # The lists are paired anew, because copies would not share memory with the parameters.
        lists = ("_trained", "_averaged", "_buffers")
        return {key: value for key, value in vars(self).items() if key not in lists}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._pair_tensors()


class ExponentialMovingAverage(Component):
    r"""Exponential moving average of the weights.

    Update t = 0, 1, ... of the average :math:`\bar\theta` takes in the weights
    :math:`\theta_t` after a training step,

    .. math::

        \bar\theta \leftarrow d_t \bar\theta + (1 - d_t) \theta_t, \qquad
        d_t = \min\Big(d, \frac{k}{k + 9}\Big), \quad k = \max(t - s, 0),

    with the decay d and the start s. The first weights are copied, so there is no bias towards
    zero, and as long as :math:`d_t` grows the average looks back over a fixed share (a ninth) of
    the steps taken: the untrained weights are forgotten like :math:`k^{-9}`, instead of lingering
    for a multiple of 1 / (1 - d) steps.

    Parameters
    ----------
    decay : float, default=0.999
        The window is about 1 / (1 - decay) steps.
    start : int, default=0
        Number of steps before averaging begins; until then the current weights are copied.

    References
    ----------
    .. [1] Polyak, B. T. and Juditsky, A. B. (1992). Acceleration of stochastic approximation by
       averaging. SIAM Journal on Control and Optimization, 30(4).
    .. [2] Karras, T., Aittala, M., Lehtinen, J., Hellsten, J., Aila, T. and Laine, S. (2024).
       Analyzing and improving the training dynamics of diffusion models. CVPR, Section 3.1 (windows
       that grow with the run).

    Examples
    --------
    >>> import torch
    >>> from skot.training import ExponentialMovingAverage
    >>> module = torch.nn.Linear(1, 1)
    >>> average = ExponentialMovingAverage().build(module)
    >>> average.update()
    >>> bool(average.module.weight == module.weight)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "decay": [Interval(Real, 0, 1, closed="left")],
        "start": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, decay: float = 0.999, start: int = 0):
        self.decay = decay
        self.start = start

    def build(self, module: nn.Module) -> WeightAverage:
        """Return the average of a module, without an update so far.

        Parameters
        ----------
        module : torch.nn.Module
            The module that is trained; it is not changed.

        Returns
        -------
        average : WeightAverage
            To be updated after every step.
        """
        self.validate()
        return WeightAverage(module, decay=float(self.decay), start=int(self.start))
