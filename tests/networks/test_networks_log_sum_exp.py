"""The log-sum-exp potential: convex, near the identity, with the gradient written out."""

import pytest
import torch

from skot.networks import LogSumExpPotential
from skot.numerics.log_determinant import hessian

WHITENING = torch.tensor([[2.0, 0.3], [0.3, 0.7]])


def drawn(n_slopes=512, whitening=None, seed=0, **settings):
    """Return a module in double precision."""
    generator = torch.Generator().manual_seed(seed)
    module = LogSumExpPotential(n_slopes, **settings).build(2, generator=generator)
    if whitening is not None:
        module.precondition_(whitening, whitening)
    return module.double()


def points(n, scale=1.0, seed=1):
    """Return rows of the standard normal law, times a number."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("whitening", [None, WHITENING])
def test_gradient_is_that_of_autograd(whitening):
    module = drawn(whitening=whitening)
    x = points(200, scale=3.0).requires_grad_()  # inside and outside of the ball
    values, gradients = module.value_and_gradient(x)
    (expected,) = torch.autograd.grad(values.sum(), x)
    torch.testing.assert_close(gradients, expected)
    torch.testing.assert_close(module(x), values)


@pytest.mark.parametrize("temperature", [0.01, 0.5])
def test_the_hessian_is_at_least_strong_convexity(temperature):
    module = drawn(64, temperature=temperature, strong_convexity=0.1)
    eigenvalues = torch.linalg.eigvalsh(hessian(module, points(500, scale=4.0)))
    assert eigenvalues.min() >= 0.1 - 1e-9


@pytest.mark.parametrize("whitening", [None, WHITENING])
def test_starts_near_the_identity(whitening):
    module = drawn(whitening=whitening)
    x = points(500)
    if whitening is not None:
        x = x @ torch.linalg.inv(whitening.double())
    gradients = module.value_and_gradient(x)[1]
    error = (gradients - x).square().sum() / x.square().sum()
    assert error <= 0.01


@pytest.mark.parametrize("flat", [0.0, 1e-3])
def test_slopes_have_no_spread_where_the_points_have_none(flat):
    module = drawn(whitening=torch.diag(torch.tensor([0.5, flat])))
    slopes = module.slopes.detach()
    assert slopes[:, 0].std() == pytest.approx(2.0 * module.spread, rel=0.1)
    assert slopes[:, 1].abs().max() < 1e-6
    x = 2.0 * points(50)
    x[:, 1] = 0.0
    gradients = module.value_and_gradient(x)[1]
    assert (gradients - x).square().sum() <= 0.01 * x.square().sum()


def test_far_away_it_grows_like_the_identity():
    x = 100.0 * torch.tensor([[1.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    gradients = drawn(strong_convexity=0.01).value_and_gradient(x)[1]
    torch.testing.assert_close(gradients, x, rtol=0.1, atol=1.0)


def test_the_generator_decides():
    one, same, other = drawn(seed=0), drawn(seed=0), drawn(seed=1)
    assert torch.equal(one.slopes, same.slopes)
    assert not torch.equal(one.slopes, other.slopes)


@pytest.mark.parametrize(
    "settings", [{"n_slopes": 0}, {"temperature": 1.0}, {"strong_convexity": 0.0}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))!r} parameter"):
        LogSumExpPotential(**settings).build(2, generator=torch.Generator())
