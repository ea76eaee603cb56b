"""Ground costs: what it takes to move one unit of mass from one point to another."""

from skot.costs._base import Cost, FactorizedCost, StandardizedPair
from skot.costs._pointwise import Cosine, Euclidean, PNorm, SphereGeodesic, SquaredEuclidean
from skot.costs._resolve import check_cost
from skot.costs._tabulated import GridCost, PrecomputedCost, SupportCost, cost_matrix

__all__ = [
    "Cosine",
    "Cost",
    "Euclidean",
    "FactorizedCost",
    "GridCost",
    "PNorm",
    "PrecomputedCost",
    "SphereGeodesic",
    "SquaredEuclidean",
    "StandardizedPair",
    "SupportCost",
    "check_cost",
    "cost_matrix",
]
