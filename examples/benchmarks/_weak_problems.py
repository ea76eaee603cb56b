"""Sample problems on which weak transport is learned, and solved by _weak_reference.py."""

import numpy as np

from skot.datasets import make_planar_pair

PLANAR = ("swiss_roll", "eight_gaussians")
LINE = ("two_modes", "wide_uniform")


def draw(name: str, n_samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return independent samples of the source and of the target, both centred.

    In the plane the source is standard normal, and the target has the mean variance 1 per
    feature. On the line it is wider than the source, which is what makes a weak map random.
    """
    if name in PLANAR:
        x, y = make_planar_pair("gaussian", name, n_samples, random_state=seed)
        y /= np.sqrt(y.var(0).mean())
    else:
        x, y = draw_line(name, n_samples, np.random.default_rng(seed))
    return x - x.mean(0), y - y.mean(0)


def draw_line(name: str, n_samples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return samples on the line: standard normal to two modes, or [-1, 1] to [-2, 2]."""
    shape = (n_samples, 1)
    if name == "wide_uniform":
        return rng.uniform(-1.0, 1.0, shape), rng.uniform(-2.0, 2.0, shape)
    sign = rng.choice([-1.0, 1.0], shape)
    return rng.standard_normal(shape), 1.5 * sign + 0.4 * rng.standard_normal(shape)
