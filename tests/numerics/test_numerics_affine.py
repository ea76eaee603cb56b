import pytest
import torch
import torch.nn.functional as F

from skot.numerics import affine as module
from skot.numerics.affine import affine, has_wide_kernels

LARGE, SMALL = (300, 64, 96), (5, 3, 2)


def arguments(shape, dtype=torch.float32, requires_grad=False):
    n, n_in, n_out = shape
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(*size, generator=generator, dtype=dtype).requires_grad_(requires_grad)
        for size in ((n, n_in), (n_out, n_in), (n_out,))
    ]


def assert_close(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-4, atol=1e-4 * other.detach().abs().max().item()
        )


def with_derivatives(function, tensors):
    """Value, gradients and the gradients of a function of the gradients."""
    value = function(*tensors)
    first = torch.autograd.grad(value.sin().sum(), tensors, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), tensors)
    return [value, *first, *second]


@pytest.mark.parametrize("shape", [LARGE, SMALL])
@pytest.mark.parametrize("wide", [True, False])
def test_value_and_two_derivatives(shape, wide, monkeypatch):
    answer = wide and has_wide_kernels()
    monkeypatch.setattr(module, "has_wide_kernels", lambda: answer)
    tensors = arguments(shape, requires_grad=True)
    assert_close(with_derivatives(affine, tensors), with_derivatives(F.linear, tensors))


@pytest.mark.skipif(not has_wide_kernels(), reason="no such kernels here")
def test_large_products_take_the_wide_kernels(monkeypatch):
    taken, original = [], module._one_dnn
    monkeypatch.setattr(module, "_one_dnn", lambda *args: taken.append(1) or original(*args))
    affine(*arguments(LARGE))
    affine(*arguments(SMALL))
    affine(*arguments(LARGE, dtype=torch.float64))
    assert len(taken) == 1


def test_strided_and_expanded_arguments():
    x, weight, bias = arguments((600, 128, 96))
    for rows, matrix in (
        (x[::2], weight),
        (x[:, :64], weight[:, :64]),
        (x[:1].expand(300, -1), weight),
        (x, weight.T.contiguous().T),
    ):
        assert_close([affine(rows, matrix, bias)], [F.linear(rows, matrix, bias)])


def test_only_what_needs_a_gradient_gets_one():
    x, weight, bias = arguments(LARGE)
    weight.requires_grad_()
    (gradient,) = torch.autograd.grad(affine(x, weight, bias).sum(), weight)
    assert_close([gradient], [x.sum(dim=0).expand_as(weight)])
    with torch.no_grad():
        assert affine(x, weight).grad_fn is None


def test_function_transforms():
    x, weight, bias = arguments(LARGE)
    gradient = torch.func.grad(lambda rows: affine(rows, weight, bias).sum())(x)
    assert_close([gradient], [weight.sum(dim=0).expand_as(x)])


def test_no_rows():
    x, weight, bias = arguments(LARGE)
    assert affine(x[:0], weight, bias).shape == (0, len(bias))
