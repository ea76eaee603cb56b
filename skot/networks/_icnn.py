"""Input-convex neural networks."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from skot.networks._activations import ACTIVATIONS, CONVEX_ACTIVATIONS
from skot.networks._base import Potential, PotentialModule
from skot.utils._sklearn import Interval, StrOptions


class ICNN(Potential):
    r"""Potential that is convex by construction, with input-quadratic skips.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(128, 128, 128)
        Widths of the hidden layers.
    activation : {"celu", "elu", "softplus", "leaky_relu"}, default="celu"
        Activation of the hidden layers, convex and non-decreasing. "celu" is "elu"; the map is
        smooth with "softplus" and jumps with "leaky_relu".
    rank : int, default=1
        Rank r of the quadratic form in each skip; 0 leaves the skips affine.
    convexity : {"projection", "softplus"}, default="projection"
        How weights are kept non-negative: by clamping them after every step of the optimizer,
        through ``project_`` of the module, or as the softplus of free parameters. The projection
        trains several times faster; the other needs no call after a step.
    strong_convexity : float, default=1e-4
        The smallest eigenvalue that the Hessian can have, in [0, 1). The gradient of the
        conjugate is Lipschitz with the inverse of it.

    See Also
    --------
    MLPPotential : Without the restriction to convex functions.

    Notes
    -----
    With :math:`h_0` empty and :math:`\sigma` the activation,

    .. math:: h_{k} = \sigma\Big(W_k h_{k-1} + \sum_{s \le r} (F_{ks} x)^2 + A_k x + b_k\Big),
        \qquad f(x) = w^\top h_K + \tfrac{1}{2} |L x|^2 + \tfrac{\mu}{2} |x|^2,

    where :math:`W_k, w \ge 0` and the square is taken entry by entry. Each layer is convex as a
    non-decreasing convex function of a convex one [1]_; the quadratic skips are those of the
    DenseICNN [2]_. The learned full form :math:`|L x|^2` lets f be any quadratic whose Hessian is
    at least :math:`\mu I`, so that linear maps are in the class; it starts at
    :math:`L^\top L = (1 - \mu) I` with small output weights w: f is close to :math:`|x|^2 / 2`
    right after `build`.

    The rows of the initial :math:`W_k` are log-normal, sum to one, and the biases cancel the mean
    of what comes in, in the spirit of [3]_: non-negative weights drawn as in an ordinary
    network would shift the activations further with every layer.

    References
    ----------
    .. [1] Amos, B., Xu, L. and Kolter, J. Z. (2017). Input convex neural networks. ICML,
       equation 2.
    .. [2] Korotin, A., Egiazarian, V., Asadulaev, A., Safin, A. and Burnaev, E. (2021).
       Wasserstein-2 generative networks. ICLR, Appendix B.2.
    .. [3] Hoedt, P.-J. and Klambauer, G. (2023). Principled weight initialisation for
       input-convex neural networks. NeurIPS.

    Examples
    --------
    >>> import torch
    >>> from skot.networks import ICNN
    >>> generator = torch.Generator().manual_seed(0)
    >>> potential = ICNN(hidden_layer_sizes=(8, 8)).build(2, generator=generator)
    >>> ends = torch.tensor([[-1.0, 0.0], [1.0, 2.0]])
    >>> bool(potential(ends.mean(0, keepdim=True)) <= potential(ends).mean())
    True
    """

    has_quadratic_term = True

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(CONVEX_ACTIVATIONS))],
        "rank": [Interval(Integral, 0, None, closed="left")],
        "convexity": [StrOptions({"softplus", "projection"})],
        "strong_convexity": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 128, 128),
        *,
        activation: str = "celu",
        rank: int = 1,
        convexity: str = "projection",
        strong_convexity: float = 1e-4,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.rank = rank
        self.convexity = convexity
        self.strong_convexity = strong_convexity

    def build(self, n_features: int, *, generator: Generator) -> PotentialModule:
        """Draw a module.

        Parameters
        ----------
        n_features : int
            Number of features of the points.
        generator : torch.Generator
            Source of the weights, on the CPU; torch's global state is neither read nor written.

        Returns
        -------
        module : PotentialModule
            The potential, of float32 parameters.
        """
        self.validate()
        return _ICNNModule(
            n_features,
            list(self.hidden_layer_sizes),
            activation=self.activation,
            rank=self.rank,
            projected=self.convexity == "projection",
            strong_convexity=self.strong_convexity,
            generator=generator,
        )


class _ICNNModule(PotentialModule):
    """The skips of all layers are stacked: one product with `x` serves them all."""

    #: Mean of the sum of the output weights, and of the quadratic part of a skip, at first.
    output_scale, quadratic_scale = 0.1, 0.1

    def __init__(
        self,
        n_features: int,
        sizes: list[int],
        *,
        activation: str,
        rank: int,
        projected: bool,
        strong_convexity: float,
        generator: Generator,
    ) -> None:
        super().__init__()
        self.activation, self.rank, self.projected = activation, rank, projected
        self.sizes, self.strong_convexity = sizes, strong_convexity
        total = sum(sizes)
        normal, uniform = nn.init.normal_, nn.init.uniform_

        skip = normal(torch.empty(total, n_features), std=n_features**-0.5, generator=generator)
        bias = uniform(torch.empty(total), -1, 1, generator=generator)
        bias[sizes[0] :] -= ACTIVATIONS[activation].mean
        if rank:
            factor = torch.empty(rank * total, n_features)
            std = (self.quadratic_scale / (rank * n_features)) ** 0.5
            self.factor = nn.Parameter(normal(factor, std=std, generator=generator))
            bias -= self.quadratic_scale
        self.skip, self.bias = nn.Parameter(skip), nn.Parameter(bias)
        self.hidden = nn.ParameterList(
            self._free(_averaging(n_out, n_in, generator))
            for n_in, n_out in zip(sizes, sizes[1:], strict=False)
        )
        self.output = self._free(self.output_scale * _averaging(1, sizes[-1], generator)[0])
        self.root = nn.Parameter((1.0 - strong_convexity) ** 0.5 * torch.eye(n_features))
        self.input_matrix: Tensor | None
        self.register_buffer("input_matrix", None)

    def forward(self, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        skips = self._skips(x)[0].split(self.sizes, dim=1)
        h = activation.value(skips[0])
        for raw, skip in zip(self.hidden, skips[1:], strict=True):
            h = activation.value(torch.addmm(skip, h, self._non_negative(raw).T))
        quadratic = 0.5 * torch.linalg.vecdot(x, x @ self._hessian())
        return torch.addmv(quadratic, h, self._non_negative(self.output))

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        activation = ACTIVATIONS[self.activation]
        weights = [self._non_negative(raw) for raw in self.hidden]
        output = self._non_negative(self.output)
        summed, factors = self._skips(x)
        skips = summed.split(self.sizes, dim=1)
        h, keep = activation.evaluate(skips[0])
        saved = [keep]
        for weight, skip in zip(weights, skips[1:], strict=True):
            h, keep = activation.evaluate(torch.addmm(skip, h, weight.T))
            saved.append(keep)
        gradient_of_quadratic = x @ self._hessian()
        values = torch.addmv(0.5 * torch.linalg.vecdot(x, gradient_of_quadratic), h, output)

        # By layer, the last one first: the gradient with respect to what goes into it.
        inner = [activation.pull_back(output, saved.pop())]
        while saved:
            inner.append(activation.pull_back(inner[-1] @ weights.pop(), saved.pop()))
        inner_all = torch.cat(inner[::-1], dim=1)
        if self.input_matrix is None:
            return values, self._pull_back_skips(inner_all, factors, gradient_of_quadratic)
        gradients = self._pull_back_skips(inner_all, factors, torch.zeros_like(x))
        return values, torch.addmm(gradient_of_quadratic, gradients, self.input_matrix.T)

    def precondition_(self, whitening: Tensor, original: Tensor) -> None:
        # A convex function of a linear image of x is convex in x.
        self.input_matrix = whitening.to(self.root)

    def project_(self) -> None:
        if self.projected:
            with torch.no_grad():
                for raw in (*self.hidden, self.output):
                    raw.clamp_(min=0.0)

    def _skips(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the input adds in every layer, and the factors of its quadratic part."""
        if self.input_matrix is not None:
            x = x @ self.input_matrix
        affine = F.linear(x, self.skip, self.bias)
        if not self.rank:
            return affine, None
        factors = x @ self.factor.T
        if self.rank == 1:
            return torch.addcmul(affine, factors, factors), factors
        squares = factors.square().view(len(x), self.rank, len(self.bias)).sum(1)
        return affine + squares, factors

    def _pull_back_skips(self, inner: Tensor, factors: Tensor | None, base: Tensor) -> Tensor:
        """Gradient with respect to the points, from that with respect to the skips."""
        gradients = torch.addmm(base, inner, self.skip)
        if factors is None:
            return gradients
        if self.rank > 1:
            inner = inner.repeat(1, self.rank)
        return torch.addmm(gradients, inner * factors, self.factor, alpha=2.0)

    def _hessian(self) -> Tensor:
        """Hessian of the quadratic form."""
        identity = torch.eye(len(self.root), dtype=self.root.dtype, device=self.root.device)
        return torch.addmm(identity, self.root.T, self.root, beta=self.strong_convexity)

    def _free(self, weights: Tensor) -> nn.Parameter:
        """The parameter that stands for non-negative weights."""
        return nn.Parameter(weights if self.projected else weights.expm1().log())

    def _non_negative(self, raw: Tensor) -> Tensor:
        return raw if self.projected else F.softplus(raw)


def _averaging(n_out: int, n_in: int, generator: Generator) -> Tensor:
    """Draw non-negative rows that sum to one."""
    weights = torch.empty(n_out, n_in).log_normal_(generator=generator)
    return weights / weights.sum(1, keepdim=True)
