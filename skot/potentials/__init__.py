"""Kantorovich potentials that can be evaluated, and turned into maps, anywhere."""

from skot.potentials._brenier import BrenierPotential
from skot.potentials._debiased import DebiasedMap, SelfTransport
from skot.potentials._entropic import EntropicPotentials
from skot.potentials._frame import Frame
from skot.potentials._framed import FramedPotential
from skot.potentials._kantorovich import KantorovichPotential
from skot.potentials._linear_frame import LinearFrame
from skot.potentials._translation_frame import TranslationFrame

__all__ = [
    "BrenierPotential",
    "DebiasedMap",
    "EntropicPotentials",
    "Frame",
    "FramedPotential",
    "KantorovichPotential",
    "LinearFrame",
    "SelfTransport",
    "TranslationFrame",
]
