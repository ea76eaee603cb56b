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
from skot.datasets._lagrangian_pairs import make_obstacle_pair, obstacle_lagrangian
from skot.datasets._location_scatter import LocationScatterPair, make_location_scatter_pair
from skot.datasets._metric_sequences import fetch_metric_sequences
from skot.datasets._palettes import load_color_palettes
from skot.datasets._photographs import fetch_kodak, fetch_office_caltech
from skot.datasets._planar import (
    make_planar_pair,
    make_planar_sample,
    planar_entropy,
    planar_log_density,
)
from skot.datasets._population import fetch_population
from skot.datasets._snow_goose import fetch_snow_goose
from skot.datasets._w2_benchmark import W2Benchmark, fetch_w2_benchmark
from skot.datasets._w2_generated import make_w2_benchmark

__all__ = [
    "LocationScatterPair",
    "W2Benchmark",
    "fetch_kodak",
    "fetch_metric_sequences",
    "fetch_mnist",
    "fetch_office_caltech",
    "fetch_population",
    "fetch_snow_goose",
    "fetch_usps",
    "fetch_w2_benchmark",
    "get_data_home",
    "load_color_palettes",
    "load_shifted_digits",
    "make_eight_gaussians_pair",
    "make_gaussian_pair",
    "make_location_scatter_pair",
    "make_moons_pair",
    "make_obstacle_pair",
    "make_planar_pair",
    "make_planar_sample",
    "make_rotated_moons",
    "make_w2_benchmark",
    "obstacle_lagrangian",
    "planar_entropy",
    "planar_log_density",
]
