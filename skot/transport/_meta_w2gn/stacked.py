"""Several networks of one architecture, each with weights and rows of its own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

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
