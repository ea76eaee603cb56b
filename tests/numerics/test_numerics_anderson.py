import pytest
import torch

from skot.numerics.anderson import AndersonAcceleration


def linear_problem(n=12, seed=0, radius=0.97):
    """A fixed point of h -> M h + c with a spectral radius close to one."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]
    values = torch.linspace(0.1, radius, n, dtype=torch.float64)
    matrix = (vectors * values) @ vectors.T
    constant = torch.randn(n, generator=generator, dtype=torch.float64)
    return matrix, constant


def run(matrix, constant, memory, n_iter, weights=None):
    h = torch.zeros(1, len(constant), dtype=torch.float64)
    weights = torch.ones_like(h) if weights is None else weights[None]
    acceleration = AndersonAcceleration(weights, memory)
    for _ in range(n_iter):
        h = acceleration.step(h, h @ matrix.T + constant - h)
    return h[0]


def test_beats_plain_iteration_on_a_linear_fixed_point():
    matrix, constant = linear_problem()
    solution = torch.linalg.solve(torch.eye(12, dtype=torch.float64) - matrix, constant)
    plain = (run(matrix, constant, 0, 20) - solution).norm()
    accelerated = (run(matrix, constant, 15, 20) - solution).norm()
    assert plain > 0.1 * solution.norm()
    # In n + 1 steps a linear problem of n unknowns is solved exactly.
    assert accelerated < 1e-5 * solution.norm()


def test_memory_zero_is_the_plain_iteration():
    matrix, constant = linear_problem()
    h = torch.zeros(12, dtype=torch.float64)
    for _ in range(7):
        h = matrix @ h + constant
    torch.testing.assert_close(run(matrix, constant, 0, 7), h, rtol=1e-12, atol=0)


def test_the_memory_slides():
    matrix, constant = linear_problem()
    solution = torch.linalg.solve(torch.eye(12, dtype=torch.float64) - matrix, constant)
    short = (run(matrix, constant, 3, 60) - solution).norm()
    assert short < 1e-3 * (run(matrix, constant, 0, 60) - solution).norm()


def test_a_coordinate_given_twice_counts_like_one_with_twice_the_weight():
    matrix, constant = linear_problem(6)
    weights = torch.rand(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    expected = run(matrix, constant, 5, 6, weights)
    # Copies of coordinate 2: each copy reads the coordinates through one of them.
    order = [0, 1, 2, 2, 3, 4, 5]
    spread = torch.zeros(7, 7, dtype=torch.float64)
    spread[:, [0, 1, 2, 4, 5, 6]] = matrix[order]
    halved = weights[order]
    halved[2:4] = 0.5 * weights[2]
    doubled = run(spread, constant[order], 5, 6, halved)
    torch.testing.assert_close(doubled, expected[order], rtol=1e-6, atol=1e-8)
    # The weights matter, or the test could not fail.
    assert (run(matrix, constant, 5, 6) - expected).abs().max() > 1e-4


def test_rows_of_a_batch_do_not_see_each_other():
    problems = [linear_problem(8, seed, 0.9) for seed in range(3)]
    h = torch.zeros(3, 8, dtype=torch.float64)
    acceleration = AndersonAcceleration(torch.ones_like(h), 4)
    for _ in range(9):
        mapped = torch.stack([m @ row + c for (m, c), row in zip(problems, h, strict=True)])
        h = acceleration.step(h, mapped - h)
    for row, (matrix, constant) in zip(h, problems, strict=True):
        torch.testing.assert_close(row, run(matrix, constant, 4, 9), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rows", [None, torch.tensor([True])])
def test_restart_forgets_the_past(rows):
    matrix, constant = linear_problem()
    h = torch.zeros(1, 12, dtype=torch.float64)
    acceleration = AndersonAcceleration(torch.ones_like(h), 5)
    for _ in range(4):
        h = acceleration.step(h, h @ matrix.T + constant - h)
    acceleration.restart(rows)
    following = acceleration.step(h, h @ matrix.T + constant - h)
    torch.testing.assert_close(following, h @ matrix.T + constant, rtol=1e-12, atol=1e-12)


def test_restart_of_one_row_leaves_the_others_alone():
    problems = [linear_problem(8, seed, 0.9) for seed in range(2)]

    def step(acceleration, h):
        mapped = torch.stack([m @ row + c for (m, c), row in zip(problems, h, strict=True)])
        return acceleration.step(h, mapped - h)

    results = []
    for restarts in (False, True):
        h = torch.zeros(2, 8, dtype=torch.float64)
        acceleration = AndersonAcceleration(torch.ones_like(h), 4)
        for i in range(7):
            if restarts and i == 3:
                acceleration.restart(torch.tensor([True, False]))
            h = step(acceleration, h)
        results.append(h)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-10, atol=1e-12)
    assert (results[0][0] - results[1][0]).abs().max() > 1e-6


def test_select_keeps_the_past_of_the_problems_that_stay():
    problems = [linear_problem(8, seed, 0.9) for seed in range(3)]
    h = torch.zeros(3, 8, dtype=torch.float64)
    acceleration = AndersonAcceleration(torch.ones_like(h), 4)
    for i in range(9):
        if i == 5:
            kept = torch.tensor([False, True, False])
            acceleration.select(kept)
            h, problems = h[kept], problems[1:2]
        mapped = torch.stack([m @ row + c for (m, c), row in zip(problems, h, strict=True)])
        h = acceleration.step(h, mapped - h)
    torch.testing.assert_close(h[0], run(*problems[0], 4, 9), rtol=1e-8, atol=1e-10)


def test_a_repeated_iterate_does_no_harm():
    h = torch.ones(1, 3, dtype=torch.float64)
    residual = torch.full_like(h, 0.5)
    acceleration = AndersonAcceleration(torch.ones_like(h), 3)
    for _ in range(5):
        following = acceleration.step(h, residual)
        torch.testing.assert_close(following, h + residual)
