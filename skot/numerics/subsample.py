"""A part of the rows, where all of them would take too long."""

import torch
from torch import Generator, Tensor


def spread_rows(rows: Tensor, n: int) -> Tensor:
    """Return at most `n` rows, spread over all of them."""
    if len(rows) <= n:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, n, device=rows.device).long()]


def drawn_rows(rows: Tensor, n: int, generator: Generator) -> Tensor:
    """Return at most `n` rows, drawn without replacement."""
    if len(rows) <= n:
        return rows
    return rows[torch.randperm(len(rows), generator=generator)[:n].to(rows.device)]
