import math

import pytest
import torch

from skot.numerics.softmax import clamped_exp_, softmax_tile
from skot.numerics.tiles import TILE_ENTRIES, row_tiles


@pytest.mark.parametrize(
    "n, m, entries", [(5, 10, 20), (1, 1, 1), (7, 100, 10), (6, 3, 18), (0, 4, 8)]
)
def test_row_tiles_cover_every_row_once_in_order(n, m, entries):
    tiles = list(row_tiles(n, m, entries))
    covered = [i for rows in tiles for i in range(rows.start, rows.stop)]
    assert covered == list(range(n))
    assert all((rows.stop - rows.start) * m <= max(entries, m) for rows in tiles)


def test_row_tiles_of_rows_without_entries():
    assert list(row_tiles(3, 0)) == [slice(0, 3)]
    assert len(list(row_tiles(10, TILE_ENTRIES))) == 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e4])
def test_softmax_tile_agrees_with_torch(dtype, offset):
    generator = torch.Generator().manual_seed(0)
    logits = 5.0 * torch.randn(6, 9, generator=generator, dtype=dtype) + offset
    expected, expected_log = torch.softmax(logits, 1), torch.logsumexp(logits, 1)
    buffer = logits.clone()
    probabilities, logsumexp = softmax_tile(buffer)
    assert probabilities.data_ptr() == buffer.data_ptr()
    torch.testing.assert_close(probabilities, expected)
    torch.testing.assert_close(logsumexp, expected_log)


def test_softmax_tile_is_finite_for_huge_differences_and_excluded_columns():
    logits = torch.tensor([[0.0, 1e300, -1e300], [-torch.inf, 3.0, 2.0]], dtype=torch.float64)
    probabilities, logsumexp = softmax_tile(logits)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2, dtype=torch.float64))
    assert logsumexp[0] == 1e300
    assert probabilities[0, 1] == 1.0
    assert probabilities[1, 0] < 1e-130


@pytest.mark.parametrize("dtype, lowest", [(torch.float32, -80.0), (torch.float64, -300.0)])
def test_clamped_exp_has_no_subnormal_results(dtype, lowest):
    exponents = torch.tensor([0.0, -3.0, -1e5, -torch.inf, 1.5], dtype=dtype)
    values = clamped_exp_(exponents)
    assert values.data_ptr() == exponents.data_ptr()
    assert values.min() >= torch.finfo(dtype).tiny
    expected = [1.0, math.exp(-3.0), math.exp(lowest), math.exp(lowest), math.exp(1.5)]
    torch.testing.assert_close(values, torch.tensor(expected, dtype=dtype))
