"""Ground costs, and the Lagrangians of least-action costs."""

from skot.costs._base import Cost, FactorizedCost, StandardizedPair
from skot.costs._lagrangian import (
    Kinetic,
    KineticPotential,
    Lagrangian,
    PowerKinetic,
    RiemannianKinetic,
    check_lagrangian,
)
from skot.costs._obstacles import (
    BoxObstacle,
    HarmonicWell,
    HillObstacle,
    PotentialEnergy,
    SlitObstacle,
)
from skot.costs._passages import DiskObstacles, Maze, STunnel, VNeck
from skot.costs._planar_metrics import CircleMetric, CrossingPathsMetric, MassSplittingMetric
from skot.costs._pointwise import Cosine, Euclidean, PNorm, SphereGeodesic, SquaredEuclidean
from skot.costs._resolve import check_cost
from skot.costs._riemannian import (
    ConformalMetric,
    ConstantMetric,
    HyperbolicHalfPlane,
    MetricTensor,
    StereographicSphere,
)
from skot.costs._riemannian import quadratic_form as quadratic_form
from skot.costs._tabulated import FixedSupportCost as FixedSupportCost
from skot.costs._tabulated import GridCost, PrecomputedCost, SupportCost, cost_matrix
from skot.costs._tabulated import as_fixed_support_cost as as_fixed_support_cost
from skot.costs._tabulated import check_fixed_support_cost as check_fixed_support_cost

__all__ = [
    "BoxObstacle",
    "CircleMetric",
    "ConformalMetric",
    "ConstantMetric",
    "Cosine",
    "Cost",
    "CrossingPathsMetric",
    "DiskObstacles",
    "Euclidean",
    "FactorizedCost",
    "GridCost",
    "HarmonicWell",
    "HillObstacle",
    "HyperbolicHalfPlane",
    "Kinetic",
    "KineticPotential",
    "Lagrangian",
    "MassSplittingMetric",
    "Maze",
    "MetricTensor",
    "PNorm",
    "PotentialEnergy",
    "PowerKinetic",
    "PrecomputedCost",
    "RiemannianKinetic",
    "STunnel",
    "SlitObstacle",
    "SphereGeodesic",
    "SquaredEuclidean",
    "StandardizedPair",
    "StereographicSphere",
    "SupportCost",
    "VNeck",
    "check_cost",
    "check_lagrangian",
    "cost_matrix",
]
