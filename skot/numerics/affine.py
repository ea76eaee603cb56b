"""Rows times a matrix, by the fastest kernel there is."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

#: With fewer rows or multiplications a call of the other kernel costs more than it gains.
_LEAST_ROWS, _LEAST_WORK = 64, 2**18


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""Compute :math:`x W^\top + b` from x (n, n_in), W (n_out, n_in) and b (n_out,) or None.

    The same as :func:`torch.nn.functional.linear`, up to rounding, and differentiable as often as
    one wants, in all arguments.
    """
    if not _pays(x, weight):
        return F.linear(x, weight, bias)
    needs_graph = torch.is_grad_enabled() and (
        x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)
    )
    return _Affine.apply(x, weight, bias) if needs_graph else _one_dnn(x, weight, bias)


class _Affine(torch.autograd.Function):
    """The kernel of oneDNN, forward and backward: on its own it knows no gradients."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _one_dnn(x, weight, bias)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        # With images y = x W^T + b and a gradient G in y: G W in x, G^T x in W, column sums in b.
        x, weight = ctx.saved_tensors
        needed = ctx.needs_input_grad
        return (
            affine(gradient, weight.T) if needed[0] else None,
            affine(gradient.T, x.T) if needed[1] else None,
            gradient.sum(dim=0) if needed[2] else None,
        )


def _pays(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype is torch.float32
        and weight.dtype is torch.float32
        and x.shape[0] >= _LEAST_ROWS
        and x.shape[0] * weight.numel() >= _LEAST_WORK
        and x.device.type == "cpu"
        and has_wide_kernels()
        and not torch.is_autocast_enabled("cpu")
        # A function with a backward pass of its own takes no part in these.
        and not torch._C._are_functorch_transforms_active()
        and not torch.compiler.is_compiling()
    )


def _one_dnn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    # On a CPU, PyTorch leaves products in float32 to MKL, which uses the narrower AVX2 on
    # processors that are not Intel's. The kernels of oneDNN, which PyTorch ships too, take AVX-512
    # where there is any: measured twice as fast on an AMD EPYC, for 128 to 2048 rows and 64
    # to 256 columns.
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@functools.cache
def has_wide_kernels() -> bool:
    """Say whether oneDNN is there, with AVX-512, and takes the call; once for the whole process.

    Asked at the first product rather than at import, which the answer would slow.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    if not torch.backends.mkldnn.is_available():
        return False
    one = torch.ones(1, 1)
    try:
        return bool(_one_dnn(one, one, one[0]) == 2.0)
    except (AttributeError, RuntimeError, TypeError):
        # Not part of PyTorch's public interface: a build may lack it, or a version change it.
        return False
