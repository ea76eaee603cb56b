"""Activations, with derivatives taken from what the forward pass has computed already.

Half of the time of a small network on a CPU goes into its activations, so each of them does as
few passes over memory as possible, in two ways. Where gradients are recorded, one fused operation
forward and one backward keep the graph small. Where they are not, buffers are reused and the
exponential is taken by `exp2`, which is several times faster than `exp` on a CPU.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

_aten = torch.ops.aten
_LOG2_E = 1.0 / math.log(2.0)


class Activation:
    """Interface of an activation."""

    #: Mean and mean square under a standard normal, for the scale of initial weights.
    mean: ClassVar[float]
    mean_square: ClassVar[float]
    #: Whether it is convex and non-decreasing, as input-convex networks need.
    convex: ClassVar[bool] = True

    def value(self, z: Tensor) -> Tensor:
        """Value at every entry of `z`."""
        raise NotImplementedError

    def consume(self, z: Tensor) -> Tensor:
        """Value; may overwrite `z`, which must be the result of an operation and not a view."""
        return self.value(z)

    def evaluate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Value, and what `pull_back` needs; `z` is used up where gradients are not recorded."""
        raise NotImplementedError

    def pull_back(self, gradient: Tensor, saved: Tensor) -> Tensor:
        """Multiply `gradient`, which broadcasts, by the derivative; `saved` is used up."""
        raise NotImplementedError


class _Softplus(Activation):
    mean, mean_square = 0.8060592, 0.9212459

    def value(self, z: Tensor) -> Tensor:
        return F.softplus(z)

    def evaluate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return F.softplus(z), z

    def pull_back(self, gradient: Tensor, saved: Tensor) -> Tensor:
        return _aten.softplus_backward.default(gradient.expand_as(saved), saved, 1.0, 20.0)


class _ELU(Activation):
    mean, mean_square = 0.1605206, 0.6449454

    def value(self, z: Tensor) -> Tensor:
        return F.elu(z)

    def consume(self, z: Tensor) -> Tensor:
        # One buffer a layer less to keep for the backward pass.
        return F.elu_(z)

    def evaluate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            value = F.elu(z)
            return value, value
        # exp(min(z, 0)) is the derivative everywhere, and the value plus one below zero.
        slope = z.clamp(max=0.0).mul_(_LOG2_E).exp2_()
        return z.clamp_(min=0.0).add_(slope).sub_(1.0), slope

    def pull_back(self, gradient: Tensor, saved: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            gradient = gradient.expand_as(saved)
            return _aten.elu_backward.default(gradient, 1.0, 1.0, 1.0, True, saved)
        return saved.mul_(gradient)


class _SiLU(Activation):
    mean, mean_square = 0.2066210, 0.3557755
    convex = False

    def value(self, z: Tensor) -> Tensor:
        return F.silu(z)

    def evaluate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        # The derivative is s + v (1 - s), for s the logistic function and v = z s the value.
        sigmoid = torch.sigmoid(z)
        value = z * sigmoid
        return value, torch.addcmul(sigmoid, value, 1.0 - sigmoid)

    def pull_back(self, gradient: Tensor, saved: Tensor) -> Tensor:
        return gradient * saved if torch.is_grad_enabled() else saved.mul_(gradient)


class _LeakyReLU(Activation):
    mean, mean_square = 0.3191538, 0.52
    slope: ClassVar[float] = 0.2

    def value(self, z: Tensor) -> Tensor:
        return F.leaky_relu(z, self.slope)

    def evaluate(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return F.leaky_relu(z, self.slope), z

    def pull_back(self, gradient: Tensor, saved: Tensor) -> Tensor:
        gradient = gradient.expand_as(saved)
        return _aten.leaky_relu_backward.default(gradient, saved, self.slope, False)


#: By name. CELU with its default alpha = 1 is ELU.
ACTIVATIONS: dict[str, Activation] = {
    "celu": _ELU(),
    "elu": _ELU(),
    "leaky_relu": _LeakyReLU(),
    "silu": _SiLU(),
    "softplus": _Softplus(),
}
CONVEX_ACTIVATIONS = tuple(name for name, one in ACTIVATIONS.items() if one.convex)
