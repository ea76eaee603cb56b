"""Maximin training written plainly in torch: what a step costs without a library."""

import time

import torch
from torch import nn

WIDTHS = (128, 128, 128)


class Network(nn.Module):
    """A perceptron plus a linear or quadratic term, as the library's networks have."""

    def __init__(self, n_features: int, n_out: int, n_noise_features: int = 0) -> None:
        super().__init__()
        sizes = [n_features + n_noise_features, *WIDTHS]
        layers = []
        for n_in, n_next in zip(sizes[:-1], sizes[1:], strict=True):
            layers += [nn.Linear(n_in, n_next), nn.ELU()]
        self.layers = nn.Sequential(*layers, nn.Linear(WIDTHS[-1], n_out))
        self.matrix = nn.Parameter(torch.eye(n_features))


class PlainMap(Network):
    """Rows and noise to images of the rows."""

    def forward(self, x: torch.Tensor, z: torch.Tensor | None = None) -> torch.Tensor:
        """Images of shape (n, k, n_features); without noise, k = 1."""
        if z is None:
            return (x @ self.matrix.T + self.layers(x))[:, None]
        rows = x[:, None].expand(-1, z.shape[1], -1)
        return rows @ self.matrix.T + self.layers(torch.cat([rows, z], dim=2))


class PlainPotential(Network):
    """Rows to numbers."""

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Values of shape (n,)."""
        return 0.5 * ((y @ self.matrix) * y).sum(dim=1) + self.layers(y)[:, 0]


def plain_seconds(X, Y, gamma: float, n_iter: int, n_map_steps: int, batch: int, k: int) -> float:
    """Processor seconds of `n_iter` iterations of Algorithm 1 with the weak quadratic cost."""
    start = time.process_time()
    torch.manual_seed(0)
    x_rows, y_rows = torch.tensor(X, dtype=torch.float32), torch.tensor(Y, dtype=torch.float32)
    d = x_rows.shape[1]
    transport_map, potential = PlainMap(d, d, d if gamma else 0), PlainPotential(d, 1)
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in (transport_map, potential)]

    def images(x):
        return transport_map(x, torch.randn(len(x), k, d) if gamma else None)

    def cost(x, y):
        distance = 0.5 * (y - x[:, None]).square().sum(dim=2).mean()
        return distance - 0.5 * gamma * y.var(dim=1).sum(dim=1).mean() if gamma else distance

    def rows(of):
        return of[torch.randint(len(of), (batch,))]

    for _ in range(n_iter):
        potential.requires_grad_(False)
        for _ in range(n_map_steps):
            x = rows(x_rows)
            moved = images(x)
            loss = cost(x, moved) + (potential(moved.flatten(0, 1))).mean()
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
        potential.requires_grad_(True)
        with torch.no_grad():
            moved = images(rows(x_rows))
        loss = potential(rows(y_rows)).mean() - potential(moved.flatten(0, 1)).mean()
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
    return time.process_time() - start
