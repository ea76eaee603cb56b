"""Several potentials of one architecture, each with weights and rows of its own; their dual."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from skot.numerics.lbfgs import batched_lbfgs
from skot.numerics.value_and_gradient import value_and_gradient

#: Rows at which it is tried whether a network can be evaluated for all weights at once.
_PROBE_ROWS = 64


class StackedPotentials:
    """Potentials of one architecture, evaluated together.

    Parameters and buffers of the potentials are in `weights` by name, each of shape (n_potentials,
    *shape of the parameter); the own weights of `template` are not used. One call does all
    potentials if `batched`, see `can_batch`; otherwise there is one for each, which is slower.
    """

    def __init__(self, template: nn.Module, weights: dict[str, Tensor], *, batched: bool):
        self.template = template
        self.weights = weights
        self.batched = batched

    def __call__(self, x: Tensor) -> Tensor:
        """Values (n_potentials, n) at points x of each potential, (n_potentials, n, n_features)."""
        return self._evaluate(self.template, self.weights, x)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values, as `__call__` gives them, and gradients, of the shape of x, without a graph."""
        weights = {f"potential.{name}": w.detach() for name, w in self.weights.items()}
        # Some activations work in place where no graph is recorded, which vmap cannot do.
        with torch.enable_grad():
            values, gradients = self._evaluate(_Both(self.template), weights, x.detach())
        return values.detach(), gradients.detach()

    def _evaluate(self, module: nn.Module, weights: dict[str, Tensor], x: Tensor) -> Any:
        def one(own_weights: dict[str, Tensor], own_x: Tensor) -> Any:
            return functional_call(module, own_weights, (own_x,))

        if self.batched:
            return vmap(one)(weights, x)
        results = [one({k: w[i] for k, w in weights.items()}, x[i]) for i in range(len(x))]
        if isinstance(results[0], tuple):
            return tuple(torch.stack(parts) for parts in zip(*results, strict=True))
        return torch.stack(results)


class _Both(nn.Module):
    """Gives values and gradients where the potential gives values."""

    def __init__(self, potential: nn.Module) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return value_and_gradient(self.potential, x)


def can_batch(template: nn.Module, n_features: int) -> bool:
    """Say whether `torch.func.vmap` knows the operations of a potential, which is on the CPU."""
    named = [*template.named_parameters(), *template.named_buffers()]
    weights = {name: tensor.detach()[None].requires_grad_() for name, tensor in named}
    stacked = StackedPotentials(template, weights, batched=True)
    x = torch.zeros(1, _PROBE_ROWS, n_features)
    try:
        stacked(x).sum().backward()
        stacked.value_and_gradient(x)
    except RuntimeError:
        return False
    return True


def stacked_dual_loss(potentials: Any, x: Tensor, y: Tensor, solution: Tensor) -> Tensor:
    r"""Dual objective of the quadratic cost, averaged over p pairs of measures: a number.

    .. math::

        \frac{1}{p} \sum_{k=1}^p \Big( \frac{1}{n} \sum_i f_k(x_{ki}) + \frac{1}{m} \sum_j
        \bigl( \langle x^*_{kj}, y_{kj} \rangle - f_k(x^*_{kj}) \bigr) \Big).

    It is to be minimised over what the potentials, from (p, n, n_features) to (p, n), are made of:
    Section 3.3 of Amos, Luise, Cohen and Redko (2023), Meta optimal transport, ICML. The conjugates
    of target rows y (p, m, n_features) are attained at `solution`, of the same shape and without a
    graph: see `stacked_conjugates`; x has the source rows (p, n, n_features). For one pair, see
    `skot.losses.dual_loss`.
    """
    values = potentials(torch.cat([x, solution], dim=1))
    source, target = values[:, : x.shape[1]], values[:, x.shape[1] :]
    return source.mean() + ((solution * y).sum(dim=2) - target).mean()


@torch.no_grad()
def stacked_conjugates(
    potentials: Any, x: Tensor, y: Tensor, prediction: Tensor, *, n_steps: int
) -> Tensor:
    r"""Find where the conjugates of many potentials are attained, (n_pairs, m, n_features).

    They are wanted at target rows y, of that shape. Every row starts from its `prediction`, of that
    shape too, or from the best of the source rows :math:`x_i`, (n_pairs, n, n_features), whichever
    has the larger :math:`\langle x_i, y \rangle - f(x_i)`, and takes `n_steps` of L-BFGS from
    there, a few or none.

    With the source rows among the candidates, the dual objective is at least the optimal value of
    transport between the two samples, whatever the potential. With predictions and a few steps
    alone it has no lower bound, and potentials learn to be where those do not find their
    conjugates.
    """
    values = potentials(torch.cat([x, prediction], dim=1))
    of_rows, of_prediction = values[:, : x.shape[1]], values[:, x.shape[1] :]
    products = torch.bmm(y, x.transpose(1, 2))
    best, row = (products - of_rows[:, None, :]).max(dim=2)
    candidate = x.gather(1, row[:, :, None].expand_as(y))
    is_better = best > (prediction * y).sum(dim=2) - of_prediction
    start = torch.where(is_better[:, :, None], candidate, prediction)
    if n_steps == 0:
        return start
    rows_of_y = y.flatten(0, 1)
    points = start.flatten(0, 1).clone()

    def objective(trial: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        # All rows are evaluated, since all potentials are evaluated together.
        points.index_copy_(0, rows, trial)
        values, gradients = potentials.value_and_gradient(points.view_as(y))
        own_y = rows_of_y.index_select(0, rows)
        own_values = values.flatten().index_select(0, rows) - (trial * own_y).sum(dim=1)
        return own_values, gradients.flatten(0, 1).index_select(0, rows) - own_y

    return batched_lbfgs(objective, points.clone(), max_iter=n_steps).argument.view_as(y)
