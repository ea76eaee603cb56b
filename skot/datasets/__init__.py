"""Data sets: generated (``make_*``), bundled (``load_*``) and fetched (``fetch_*``)."""

from skot.datasets._digits import load_shifted_digits
from skot.datasets._generated import (
    make_eight_gaussians_pair,
    make_gaussian_pair,
    make_moons_pair,
    make_rotated_moons,
)
from skot.datasets._handwritten import fetch_mnist, fetch_usps
from skot.datasets._home import get_data_home
from skot.datasets._palettes import load_color_palettes
from skot.datasets._photographs import fetch_kodak, fetch_office_caltech

__all__ = [
    "fetch_kodak",
    "fetch_mnist",
    "fetch_office_caltech",
    "fetch_usps",
    "get_data_home",
    "load_color_palettes",
    "load_shifted_digits",
    "make_eight_gaussians_pair",
    "make_gaussian_pair",
    "make_moons_pair",
    "make_rotated_moons",
]
