"""A potential of one's own, in one file: a sum of convex functions of projections."""

from numbers import Integral

import torch
from torch.nn.functional import normalize, softplus

from skot.networks import Potential, PotentialModule


class ConvexRidges(Potential):
    """Half a square, plus smooth hinges at `n_knots` places along each of `n_directions`."""

    _parameter_constraints = {"n_directions": [Integral], "n_knots": [Integral]}

    has_quadratic_term = True

    def __init__(self, n_directions=32, *, n_knots=12):
        self.n_directions = n_directions
        self.n_knots = n_knots

    def build(self, n_features, *, generator):
        self.validate()
        return RidgeModule(n_features, self.n_directions, self.n_knots, generator)


class RidgeModule(PotentialModule):
    def __init__(self, n_features, n_directions, n_knots, generator):
        super().__init__()
        directions = torch.randn(n_directions, n_features, generator=generator)
        self.directions = torch.nn.Parameter(normalize(directions, dim=1))
        knots = torch.linspace(-2.5, 2.5, n_knots).repeat(n_directions, 1)
        self.knots = torch.nn.Parameter(knots)
        self.jumps = torch.nn.Parameter(torch.full_like(knots, 0.01))  # of the slope, at knots
        self.curvature = torch.nn.Parameter(torch.ones(()))
        self.sharpness = 0.5 * n_knots

    def forward(self, x):
        return self.value_and_gradient(x)[0]

    def value_and_gradient(self, x):
        scaled = self.sharpness * ((x @ self.directions.T)[:, :, None] - self.knots)
        ridges = (self.jumps / self.sharpness * softplus(scaled)).sum((1, 2))
        slopes = (self.jumps * torch.sigmoid(scaled)).sum(2)
        values = ridges + 0.5 * self.curvature * x.square().sum(1)
        return values, slopes @ self.directions + self.curvature * x

    def project_(self):
        with torch.no_grad():
            self.jumps.clamp_(min=0.0)
            self.curvature.clamp_(min=0.01)
