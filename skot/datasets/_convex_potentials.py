"""Convex functions with hand-written gradients: the Brenier potentials of the benchmarks.

Both kinds have ``value(x)`` and ``gradient(x)``, for rows of any floating type on any device.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from skot.datasets._transport_pairs import TensorTable

_SIZES = (32, 16, 2)
# Spread of what enters a bent unit, in the units in which celu bends.
_SHARPNESS = 6.0
_STRONG_CONVEXITY = 0.1


class DensePotential:
    r"""The sum of two input-convex networks of the same sizes.

    .. math::

        z_0 = q_0(x), \quad z_l = \mathrm{celu}(C_l z_{l-1} + q_l(x)), \quad
        u(x) = w^\top z_2 + \tfrac{1}{2} \sigma \lVert x \rVert^2, \quad
        q_l(x) = (F_l^\top x)^2 + W_l x + b_l.

    The layers of a kind are stored side by side, so that they are one product: F and the transposed
    W as `factor` and `weight` (2, n_features, n_units), b as `bias` (2, 1, n_units), the transposed
    C >= 0 as `convex1` and `convex2` (2, n_inputs, n_outputs), w >= 0 as `final` (2, 1, n_outputs),
    and sigma, that of each network, as `strong_convexity`.
    """

    def __init__(self, *, strong_convexity: float, **tensors: Tensor) -> None:
        self.strong_convexity = strong_convexity
        self._table = TensorTable(**tensors)
        inner, last = tensors["convex2"].shape[1:]
        self._sizes = [tensors["convex1"].shape[1], inner, last]

    def _forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        table = self._table.like(x)
        products = x @ table["factor"]
        quadratics = products.square() + x @ table["weight"] + table["bias"]
        z, q1, q2 = quadratics.split(self._sizes, dim=2)
        inner = z @ table["convex1"] + q1
        return products, inner, F.celu(inner) @ table["convex2"] + q2

    def value(self, x: Tensor) -> Tensor:
        """Return u(x), of shape (n,)."""
        *_, last = self._forward(x)
        top = (F.celu(last) * self._table.like(x)["final"]).sum(dim=(0, 2))
        return top + self.strong_convexity * x.square().sum(dim=1)

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradients, of shape (n, n_features)."""
        table = self._table.like(x)
        products, inner, last = self._forward(x)
        back2 = table["final"] * _celu_slope(last)
        back1 = back2 @ table["convex2"].mT * _celu_slope(inner)
        back = torch.cat([back1 @ table["convex1"].mT, back1, back2], dim=2)
        pulled = 2.0 * (products * back) @ table["factor"].mT + back @ table["weight"].mT
        return pulled.sum(dim=0) + 2.0 * self.strong_convexity * x


class ConvolutionalPotential:
    r"""A sum of convex functions of small patches of an image (height, width).

    .. math::

        u(x) = \sum_{c, p} w_c \, \mathrm{celu}(k_c * x - b_c)_p
        + \tfrac{1}{2} \sigma \lVert x \rVert^2,

    over channels c and every second position p of the rows and the columns, with `kernels`
    (n_channels, 1, size, size), thresholds `bias` and positive `weight` (n_channels, 1, 1).
    """

    def __init__(
        self,
        *,
        kernels: Tensor,
        bias: Tensor,
        weight: Tensor,
        image_shape: tuple[int, int],
        strong_convexity: float,
    ) -> None:
        self.image_shape = image_shape
        self.strong_convexity = strong_convexity
        self._table = TensorTable(kernels=kernels, bias=bias, weight=weight)
        self._padding = kernels.shape[-1] // 2

    def _forward(self, x: Tensor) -> Tensor:
        table = self._table.like(x)
        images = x.reshape(-1, 1, *self.image_shape)
        return F.conv2d(images, table["kernels"], stride=2, padding=self._padding) - table["bias"]

    def value(self, x: Tensor) -> Tensor:
        """Return u(x), of shape (n,)."""
        top = (F.celu(self._forward(x)) * self._table.like(x)["weight"]).sum(dim=(1, 2, 3))
        return top + 0.5 * self.strong_convexity * x.square().sum(dim=1)

    def gradient(self, x: Tensor) -> Tensor:
        """Return the gradients, of shape (n, n_features)."""
        table = self._table.like(x)
        back = table["weight"] * _celu_slope(self._forward(x))
        images = F.conv_transpose2d(
            back,
            table["kernels"],
            stride=2,
            padding=self._padding,
            # An odd side and the even one above it have the same output: say which one it was.
            output_padding=[1 - side % 2 for side in self.image_shape],
        )
        return images.flatten(1) + self.strong_convexity * x


def draw_dense_potential(x: Tensor, generator: torch.Generator) -> DensePotential:
    """Draw two input-convex networks that bend where the rows (n, n_features), of float64, are.

    Every layer is normalised on the rows, so that each unit has its kink among them and is
    sharp compared to their spread.
    """
    networks = [_draw_network(x, generator) for _ in range(2)]
    stacked = {name: torch.stack([net[name] for net in networks]) for name in networks[0]}
    return DensePotential(strong_convexity=_STRONG_CONVEXITY / 2.0, **stacked)


def _draw_network(x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    n_features, n_units = x.shape[1], sum(_SIZES)
    weight, factor = (
        _normal(generator, n_features, n_units),
        _normal(generator, n_features, n_units),
    )
    weight /= (x @ weight).std(dim=0)
    factor *= 0.3 / (x @ factor).std(dim=0)
    bias = torch.zeros(1, n_units, dtype=torch.float64)
    start, convex = 0, []
    z = torch.zeros(len(x), 0, dtype=torch.float64)
    for layer, size in enumerate(_SIZES):
        units = slice(start, start + size)
        q = (x @ factor[:, units]).square() + x @ weight[:, units]
        positive = _uniform(generator, z.shape[1], size) ** 3
        if layer > 0:
            # The features of the layer below weigh about as much as the skip connection.
            positive /= (z @ positive).std(dim=0)
        a = z @ positive + q
        scale = (_SHARPNESS if layer > 0 else 1.0) / a.std(dim=0)
        threshold = _draw_quantiles(scale * a, (0.2, 0.8), generator)
        weight[:, units] *= scale
        factor[:, units] *= scale.sqrt()
        bias[0, units] = -threshold
        convex.append(positive * scale)
        z = scale * a - threshold
        z = F.celu(z) if layer > 0 else z
        start += size
    final = (_uniform(generator, 1, _SIZES[-1]) + 0.5) / scale
    return {
        "factor": factor,
        "weight": weight,
        "bias": bias,
        "convex1": convex[1],
        "convex2": convex[2],
        "final": final,
    }


def draw_convolutional_potential(
    x: Tensor, image_shape: tuple[int, int], generator: torch.Generator
) -> ConvolutionalPotential:
    """Draw a potential of edges that few patches have, in float64 images (n, n_features).

    Features that are on in few patches are those that a linear map explains least.
    """
    n_channels, size = 4, 3
    kernels = _normal(generator, n_channels, 1, size, size)
    kernels -= kernels.mean(dim=(2, 3), keepdim=True)
    images = x.reshape(-1, 1, *image_shape)
    responses = F.conv2d(images, kernels, stride=2, padding=size // 2)
    scale = _SHARPNESS / responses.std(dim=(0, 2, 3))[:, None, None]
    flat = (scale * responses).transpose(0, 1).flatten(1).T
    threshold = _draw_quantiles(flat, (0.9, 0.98), generator)
    return ConvolutionalPotential(
        kernels=kernels * scale[..., None],
        bias=threshold[:, None, None],
        weight=1.0 / scale,
        image_shape=image_shape,
        strong_convexity=_STRONG_CONVEXITY,
    )


def _celu_slope(a: Tensor) -> Tensor:
    return a.clamp(max=0.0).exp()


def _draw_quantiles(a: Tensor, levels: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Draw one level per column, and return the quantile of the column at that level."""
    low, high = levels
    drawn = low + (high - low) * _uniform(generator, a.shape[1])
    index = (drawn * (len(a) - 1)).round().long()
    return a.sort(dim=0).values.gather(0, index[None])[0]


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64)
