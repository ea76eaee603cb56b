"""Adam on many small problems at once."""

import torch

from skot.numerics.adam import batched_adam


def quadratics(x, rows):
    target = rows[:, None].to(x) * torch.ones_like(x)
    return (x - target).square().sum(1), 2.0 * (x - target)


def test_every_row_finds_its_own_minimum():
    result = batched_adam(quadratics, torch.zeros(4, 2), lr=0.3, max_iter=500)
    assert result.converged.all()
    assert torch.dist(result.argument, torch.arange(4.0)[:, None].expand(4, 2)) < 1e-2
    assert (result.value < 1e-5).all()


def test_a_row_that_starts_at_its_minimum_is_not_moved():
    result = batched_adam(quadratics, torch.zeros(2, 2), max_iter=5)
    assert result.n_iter.tolist() == [0, 5]
    assert result.argument[0].tolist() == [0.0, 0.0]
    assert result.converged.tolist() == [True, False]


def test_rows_do_not_depend_on_each_other():
    together = batched_adam(quadratics, torch.zeros(3, 2), max_iter=20)

    def last(x, rows):
        return quadratics(x, rows + 2)

    alone = batched_adam(last, torch.zeros(1, 2), max_iter=20)
    torch.testing.assert_close(together.argument[2:], alone.argument)


def test_rows_that_are_not_finite_stop():
    def broken(x, rows):
        value, gradient = quadratics(x, rows)
        return torch.where(rows == 1, torch.nan, value), gradient

    result = batched_adam(broken, torch.full((2, 2), 3.0), max_iter=200)
    assert result.converged.tolist() == [True, False]
    assert result.n_iter[1] == 0


def test_a_value_that_is_not_finite_has_not_converged_however_flat_it_is():
    def infinite(x, rows):
        value, gradient = quadratics(x, rows)
        return torch.where(rows == 1, torch.inf, value), torch.where(
            rows[:, None] == 1, 0, gradient
        )

    result = batched_adam(infinite, torch.full((2, 2), 3.0), max_iter=200)
    assert result.converged.tolist() == [True, False]
