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

    Parameters
    ----------
    template : torch.nn.Module
        A potential of the architecture; its own weights are not used.
    weights : dict of str to Tensor
        Parameters and buffers of the potentials by name, each of shape (n_potentials, *shape of
        the parameter).
    batched : bool
        Whether one call does all potentials: see :func:`can_batch`. Otherwise there is one for
        each, which is slower.
    """

    def __init__(self, template: nn.Module, weights: dict[str, Tensor], *, batched: bool):
        self.template = template
        self.weights = weights
        self.batched = batched

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate the potentials.

        Parameters
        ----------
        x : Tensor of shape (n_potentials, n, n_features)
            Points of each of them.

        Returns
        -------
        values : Tensor of shape (n_potentials, n)
            Values.
        """
        return self._evaluate(self.template, self.weights, x)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the potentials and their gradients in the points, without a graph.

        Parameters
        ----------
        x : Tensor of shape (n_potentials, n, n_features)
            Points of each of them.

        Returns
        -------
        values : Tensor of shape (n_potentials, n)
            Values.
        gradients : Tensor of shape (n_potentials, n, n_features)
            Gradients.
        """
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
    """Say whether `torch.func.vmap` knows the operations of a potential.

    Parameters
    ----------
    template : torch.nn.Module
        The potential, on the CPU.
    n_features : int
        Number of features of its rows.

    Returns
    -------
    batched : bool
        For `StackedPotentials`.
    """
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
    r"""Dual objective of the quadratic cost, averaged over pairs of measures.

    .. math::

        \frac{1}{p} \sum_{k=1}^p \Big( \frac{1}{n} \sum_i f_k(x_{ki}) + \frac{1}{m} \sum_j
        \bigl( \langle x^*_{kj}, y_{kj} \rangle - f_k(x^*_{kj}) \bigr) \Big).

    Parameters
    ----------
    potentials : callable
        The potentials :math:`f_k`: from (n_pairs, n, n_features) to (n_pairs, n).
    x : Tensor of shape (n_pairs, n, n_features)
        Source rows of each pair.
    y : Tensor of shape (n_pairs, m, n_features)
        Target rows.
    solution : Tensor of shape (n_pairs, m, n_features)
        Where the conjugates are attained, without a graph: see `stacked_conjugates`.

    Returns
    -------
    loss : Tensor
        A number, to be minimised over what the potentials are made of.

    See Also
    --------
    dual_loss : For one pair.

    References
    ----------
    .. [1] Amos, B., Luise, G., Cohen, S. and Redko, I. (2023). Meta optimal transport. ICML,
       Section 3.3.

    Examples
    --------
    >>> import torch
    >>> def half_squares(x):
    ...     return 0.5 * x.square().sum(dim=2)
    >>> x, y = torch.ones(1, 1, 2), 2.0 * torch.ones(1, 1, 2)
    >>> stacked_dual_loss(half_squares, x, y, y)  # |x|^2 / 2 + |y|^2 / 2
    tensor(5.)
    """
    values = potentials(torch.cat([x, solution], dim=1))
    source, target = values[:, : x.shape[1]], values[:, x.shape[1] :]
    return source.mean() + ((solution * y).sum(dim=2) - target).mean()


@torch.no_grad()
def stacked_conjugates(
    potentials: Any, x: Tensor, y: Tensor, prediction: Tensor, *, n_steps: int
) -> Tensor:
    r"""Find where the conjugates of many potentials are attained.

    Every row starts from its prediction or from the best of the source rows :math:`x_i`,
    whichever has the larger :math:`\langle x_i, y \rangle - f(x_i)`, and takes a few steps of
    L-BFGS from there.

    Parameters
    ----------
    potentials : object
        Callable, from (n_pairs, n, n_features) to (n_pairs, n), with a method
        ``value_and_gradient``.
    x : Tensor of shape (n_pairs, n, n_features)
        Source rows of each pair.
    y : Tensor of shape (n_pairs, m, n_features)
        Where the conjugates are wanted.
    prediction : Tensor of shape (n_pairs, m, n_features)
        Where they may be attained.
    n_steps : int
        Steps of L-BFGS; may be 0.

    Returns
    -------
    solution : Tensor of shape (n_pairs, m, n_features)
        The points.

    Notes
    -----
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
