"""Sources of the benchmark pairs: distributions that are sampled as tensors."""

import torch
from torch import Tensor

from skot.datasets._transport_pairs import TensorTable


class GaussianMixture:
    """Gaussians of equal weights: ``maps[k] @ e + centers[k]`` with e standard normal."""

    def __init__(self, maps: Tensor, centers: Tensor) -> None:
        self._table = TensorTable(maps=maps, centers=centers)
        self.n_features = centers.shape[1]
        within = maps.square().sum(dim=(1, 2)).mean()
        between = (centers - centers.mean(dim=0)).square().sum(dim=1).mean()
        self.variance = float(within + between)
        self.mean = centers.mean(dim=0)

    def sample(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        device = generator.device
        x = torch.randn(n_samples, self.n_features, generator=generator, dtype=dtype, device=device)
        table = self._table.like(x)
        n_components = len(table["centers"])
        component = torch.randint(n_components, (n_samples,), generator=generator, device=device)
        rows = torch.empty_like(x)
        for k in range(n_components):
            chosen = component == k
            rows[chosen] = table["centers"][k] + x[chosen] @ table["maps"][k].T
        return rows


class NoisySample:
    """Rows of a sample, drawn with replacement, with Gaussian noise."""

    def __init__(self, rows: Tensor, noise: float) -> None:
        self._table = TensorTable(rows=rows)
        self.noise = noise
        self.n_features = rows.shape[1]
        self.mean = rows.mean(dim=0)
        self.variance = float((rows - self.mean).square().sum(dim=1).mean())
        self.variance += self.n_features * noise**2

    def sample(self, n_samples: int, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
        device = generator.device
        x = torch.randn(n_samples, self.n_features, generator=generator, dtype=dtype, device=device)
        rows = self._table.like(x)["rows"]
        chosen = torch.randint(len(rows), (n_samples,), generator=generator, device=device)
        return x.mul_(self.noise).add_(rows[chosen])
