"""A conjugate solver of one's own, in one file: accelerated gradient descent."""

from numbers import Integral, Real

import torch

from skot.solvers.conjugate import ConjugateResult, ConjugateSolver


class NesterovConjugate(ConjugateSolver):
    """Nesterov's method; the step must be below one over the largest curvature."""

    _parameter_constraints = {"step": [Real], "max_iter": [Integral], "tol": [Real]}

    def __init__(self, step=0.1, *, max_iter=200, tol=1e-3):
        self.step = step
        self.max_iter = max_iter
        self.tol = tol

    def minimize(self, objective, x_init):
        x = previous = x_init
        n_iter = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        running = torch.ones_like(n_iter, dtype=torch.bool)
        for i in range(self.max_iter + 1):
            momentum = i / (i + 3) * (x - previous)
            ahead = torch.where(running[:, None], x + momentum, x)
            value, gradient = objective(ahead)
            running = running & (gradient.square().mean(1).sqrt() > self.tol)
            if i == self.max_iter or not running.any():
                break
            previous, x = x, torch.where(running[:, None], ahead - self.step * gradient, ahead)
            n_iter += running
        return ConjugateResult(-value, ahead, n_iter, ~running)
