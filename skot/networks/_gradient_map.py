"""A map that is the gradient of a potential."""

from typing import Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from skot.base import check_component
from skot.networks._base import Map, MapModule
from skot.networks._mlp import MLPPotential
from skot.numerics.value_and_gradient import value_and_gradient


class GradientMap(Map):
    r"""Map :math:`y \mapsto \nabla \psi(y)`.

    Parameters
    ----------
    potential : Potential, default=None
        Architecture of :math:`\psi`: any object with ``build(n_features, *, generator)``. None is
        `MLPPotential()`. With `ICNN` the map is monotone, as the map it is to approximate.

    See Also
    --------
    MLPMap : A map without such a restriction, and cheaper.

    References
    ----------
    .. [1] Makkuva, A., Taghvaei, A., Oh, S. and Lee, J. (2020). Optimal transport mapping via
       input convex neural networks. ICML, Section 3.
    .. [2] Korotin, A., Egiazarian, V., Asadulaev, A., Safin, A. and Burnaev, E. (2021).
       Wasserstein-2 generative networks. ICLR, Section 4.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import ICNN, GradientMap
    >>> generator = torch.Generator().manual_seed(0)
    >>> amortizer = GradientMap(ICNN(hidden_layer_sizes=(8, 8))).build(2, generator=generator)
    >>> amortizer(torch.zeros(3, 2)).shape
    torch.Size([3, 2])
    """

    _default_components: ClassVar[dict[str, Any]] = {"potential": MLPPotential}

    def __init__(self, potential: Any = None) -> None:
        self.potential = potential

    def build(self, n_features: int, *, generator: Generator) -> MapModule:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : MapModule
            The map, of float32 parameters.
        """
        potential = check_component(
            self.potential, default=MLPPotential, kind="build", name="potential"
        )
        return _GradientModule(potential.build(n_features, generator=generator))


class _GradientModule(MapModule):
    def __init__(self, potential: nn.Module) -> None:
        super().__init__()
        self.potential = potential

    def forward(self, x: Tensor) -> Tensor:
        return value_and_gradient(self.potential, x)[1]

    def project_(self) -> None:
        project = getattr(self.potential, "project_", None)
        if project is not None:
            project()

    def precondition_(self, whitening: Tensor, spread: Tensor) -> None:
        precondition = getattr(self.potential, "precondition_", None)
        if precondition is not None:
            # Only dense layers profit: which coordinates are the data's own is not known here.
            precondition(whitening, torch.eye(len(whitening), dtype=whitening.dtype))
