"""A transport of one's own, in one file: marginals matched along random axes, round by round."""

from numbers import Integral

import numpy as np
import torch
from sklearn.utils import check_random_state, check_scalar

from skot.transport import BaseTransport
from skot.utils import split_domains


class DistributionTransfer(BaseTransport):
    """Turn the axes at random, match the quantiles along each of them, and repeat.

    The iterative distribution transfer of Pitie, Kokaram and Dahyot (2007), Automated colour
    grading using colour distribution transfer, Computer Vision and Image Understanding 107. It is
    for features that are continuous: equal rows go to one place.
    """

    def __init__(self, n_rounds=10, *, n_quantiles=32, random_state=None):
        self.n_rounds = n_rounds
        self.n_quantiles = n_quantiles
        self.random_state = random_state

    def fit(self, X, y=None, *, sample_domain=None):
        check_scalar(self.n_rounds, "n_rounds", Integral, min_val=1)
        check_scalar(self.n_quantiles, "n_quantiles", Integral, min_val=2)
        split = split_domains(self, X, y, sample_domain)
        source, target = self._read_samples(X, split, "normal", self.random_state)
        x, goal = source.points, target.measure.points
        # A few rows for each: steep steps between chance gaps would add up from round to round.
        n_quantiles = max(2, min(self.n_quantiles, len(x) // 5, len(goal) // 5))
        levels = torch.linspace(0.0, 1.0, n_quantiles, dtype=x.dtype, device=x.device)
        shape = (self.n_rounds, x.shape[1], x.shape[1])
        turns = np.linalg.qr(check_random_state(self.random_state).normal(size=shape))[0]
        rounds = []
        for axes in torch.tensor(turns, device=x.device):
            knots = [torch.quantile(rows @ axes, levels, dim=0).T for rows in (x, goal)]
            rounds.append((axes, *knots))
            x = match(x, *rounds[-1])
        stacks = (torch.stack(parts).cpu().numpy() for parts in zip(*rounds, strict=True))
        self.axes_, self.source_knots_, self.target_knots_ = stacks
        self._target = target
        return self

    def _map(self, x, labels):
        for axes, before, after in self._rounds(x):
            x = match(x, axes, before, after)
        return x

    def _inverse_map(self, y):
        for axes, before, after in reversed(self._rounds(y)):
            y = match(y, axes, after, before)
        return y

    def _rounds(self, x):
        stacks = (self.axes_, self.source_knots_, self.target_knots_)
        return list(zip(*(torch.tensor(stack, device=x.device) for stack in stacks), strict=True))


def match(x, axes, before, after):
    """Interpolate between quantiles (n_features, n_quantiles); beyond the last ones, shift."""
    along = (x @ axes).T.contiguous()
    inside = along.clamp(before[:, :1], before[:, -1:])
    i = torch.searchsorted(before.contiguous(), inside, right=True).clamp(1, before.shape[1] - 1)
    low, high = before.gather(1, i - 1), before.gather(1, i)
    share = (inside - low) / (high - low).clamp(min=torch.finfo(x.dtype).tiny)
    moved = torch.lerp(after.gather(1, i - 1), after.gather(1, i), share)
    return (moved + along - inside).T @ axes.T
