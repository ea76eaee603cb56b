"""Minibatches of rows."""

from typing import Any

import torch
from torch import Tensor


class MinibatchSampler:
    r"""Draws minibatches of rows, in a repeatable order.

    With equal weights each epoch runs through all rows in a new random order, so that every row
    is seen equally often; batches run on over the end of an epoch, so that they all have the same
    size. With unequal weights w (of sum 1) an epoch of n rows is a systematic sample [1]_ in random
    order: with one uniform number u, the rows at the quantiles (k + u) / n of w, k = 0, ..., n - 1.
    Row i then comes up :math:`\lfloor n w_i \rfloor` or :math:`\lceil n w_i \rceil` times, n w_i
    times on average.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, ...)
        What is drawn from; not copied.
    batch_size : int
        Rows a batch; at most n_rows are taken.
    generator : torch.Generator
        On the CPU, whatever the device of `rows`: the draws repeat from one machine to another.
    weights : Tensor of shape (n_rows,), default=None
        Non-negative and not all zero; None means equal weights.

    Attributes
    ----------
    batch_size : int
        The size of all batches.

    References
    ----------
    .. [1] Madow, W. G. (1949). On the theory of systematic sampling, II. Annals of Mathematical
       Statistics, 20(3).

    Examples
    --------
    >>> import torch
    >>> from skot.training import MinibatchSampler
    >>> sampler = MinibatchSampler(torch.arange(4.0), 2, generator=torch.Generator())
    >>> torch.cat([sampler.sample(), sampler.sample()]).sort().values
    tensor([0., 1., 2., 3.])
    """

    def __init__(
        self,
        rows: Tensor,
        batch_size: int,
        *,
        generator: torch.Generator,
        weights: Tensor | None = None,
    ):
        if not len(rows) or batch_size < 1:
            raise ValueError(
                f"Minibatches need at least one row and a positive batch_size. Got {len(rows)} "
                f"rows and batch_size={batch_size}."
            )
        self.rows = rows
        self.batch_size = min(int(batch_size), len(rows))
        self._generator = generator
        self._cumulative = None if weights is None else _cumulative(weights, len(rows))
        # On the device of the rows: a batch is then drawn without a transfer.
        self._order = torch.empty(0, dtype=torch.int64, device=rows.device)
        self._position = 0

    def sample(self) -> Tensor:
        """Return the next batch.

        Returns
        -------
        batch : Tensor of shape (batch_size, ...)
            A copy of rows.
        """
        return self.rows.index_select(0, self.sample_indices())

    def sample_indices(self) -> Tensor:
        """Return the indices of the next batch, for data that lies in several tensors.

        Returns
        -------
        indices : Tensor of shape (batch_size,)
            Of integers, on the device of the rows.
        """
        stop = self._position + self.batch_size
        if stop <= len(self._order):
            indices = self._order[self._position : stop]
            self._position = stop
            return indices
        left = self._order[self._position :]
        self._order = self._draw_order().to(self.rows.device)
        self._position = self.batch_size - len(left)
        return torch.cat([left, self._order[: self._position]])

    def _draw_order(self) -> Tensor:
        n = len(self.rows)
        order = torch.randperm(n, generator=self._generator)
        if self._cumulative is None:
            return order
        offset = torch.rand((), generator=self._generator, dtype=torch.float64)
        quantiles = (torch.arange(n) + offset) * (self._cumulative[-1] / n)
        # Rows without mass add no length, so nothing is ever found in them, except by rounding at
        # the very end.
        drawn = torch.searchsorted(self._cumulative, quantiles, right=True)
        last = int(torch.searchsorted(self._cumulative, self._cumulative[-1]))
        return drawn.clamp_max(last)[order]

    def state_dict(self) -> dict[str, Any]:
        """Return the order of this epoch and the place in it; the generator is not included.

        Returns
        -------
        state : dict
            Of numbers and tensors.
        """
        return {"order": self._order.cpu(), "position": self._position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Parameters
        ----------
        state : dict
            State of a sampler of as many rows.

        Raises
        ------
        ValueError
            If the number of rows differs.
        """
        if len(state["order"]) not in (0, len(self.rows)):
            raise ValueError(
                f"The state is one of {len(state['order'])} rows, and there are {len(self.rows)}."
            )
        self._order = state["order"].to(self.rows.device)
        self._position = state["position"]


def _cumulative(weights: Tensor, n: int) -> Tensor | None:
    """Cumulative weights in float64 on the CPU; None if the weights are all the same."""
    weights = weights.detach().to("cpu", torch.float64)
    valid = weights.shape == (n,) and bool((weights >= 0).all()) and bool(weights.sum() > 0)
    if not valid or not bool(torch.isfinite(weights).all()):
        raise ValueError(f"weights must be {n} finite, non-negative numbers that are not all zero.")
    if bool((weights == weights[0]).all()):
        return None
    return weights.cumsum(0)
