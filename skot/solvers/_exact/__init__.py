"""Exact plans between two weighted samples: every solver returns an `ExactPlan`."""

from skot.solvers._exact._assignment import assignment
from skot.solvers._exact._monotone import monotone
from skot.solvers._exact._network_simplex import network_simplex
from skot.solvers._exact._plan import ExactPlan

__all__ = ["ExactPlan", "assignment", "monotone", "network_simplex"]
