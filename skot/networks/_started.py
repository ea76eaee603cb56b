"""Networks that start from a known solution and learn what is left."""

import torch
from torch import Tensor, nn

from skot.networks._base import MapModule, PotentialModule
from skot.numerics.value_and_gradient import value_and_gradient


class StartedPotential(PotentialModule):
    r"""Potential :math:`y \mapsto \frac12 y^\top (H + I) y + \langle b, y \rangle - \psi(y)`.

    A network :math:`\psi` of this package starts near :math:`|y|^2 / 2`, so that the quadratic
    function with H and b is what training starts from.

    Parameters
    ----------
    learned : Module
        The network.
    hessian : Tensor of shape (n_features, n_features)
        The matrix H.
    slope : Tensor of shape (n_features,)
        The vector b.
    """

    def __init__(self, learned: nn.Module, hessian: Tensor, slope: Tensor) -> None:
        super().__init__()
        self.learned = learned
        self.register_buffer("hessian", hessian + torch.eye(len(hessian)).to(hessian))
        self.register_buffer("slope", slope)
        self.hessian: Tensor
        self.slope: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * ((x @ self.hessian) * x).sum(1) + x @ self.slope - self.learned(x)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        values, gradients = value_and_gradient(self.learned, x)
        applied = x @ self.hessian
        start = 0.5 * (applied * x).sum(1) + x @ self.slope
        return start - values, applied + self.slope - gradients

    def project_(self) -> None:
        project = getattr(self.learned, "project_", None)
        if project is not None:
            project()


class StartedMap(MapModule):
    r"""Map :math:`x \mapsto \mathrm{net}(A x + c)`, of a network that starts near the identity.

    Parameters
    ----------
    learned : Module
        The network.
    matrix : Tensor of shape (n_features, n_features)
        The transpose of A: rows are multiplied from the right.
    shift : Tensor of shape (n_features,)
        The vector c.
    """

    def __init__(self, learned: nn.Module, matrix: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.learned = learned
        self.register_buffer("matrix", matrix)
        self.register_buffer("shift", shift)
        self.matrix: Tensor
        self.shift: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return self.learned(torch.addmm(self.shift, x, self.matrix))

    def project_(self) -> None:
        project = getattr(self.learned, "project_", None)
        if project is not None:
            project()
