"""Kantorovich potentials that can be evaluated, and turned into maps, anywhere."""

from skot.potentials._brenier import BrenierPotential, LinearFrame
from skot.potentials._entropic import EntropicPotentials

__all__ = ["BrenierPotential", "EntropicPotentials", "LinearFrame"]
