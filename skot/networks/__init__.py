"""Architectures of potentials and maps: components that build torch modules."""

from skot.networks._base import Map, MapModule, Potential, PotentialModule
from skot.networks._conv import ConvPotential
from skot.networks._gradient_map import GradientMap
from skot.networks._icnn import ICNN
from skot.networks._mlp import MLPMap, MLPPotential
from skot.networks._pretrain import pretrain_identity

__all__ = [
    "ICNN",
    "ConvPotential",
    "GradientMap",
    "MLPMap",
    "MLPPotential",
    "Map",
    "MapModule",
    "Potential",
    "PotentialModule",
    "pretrain_identity",
]
