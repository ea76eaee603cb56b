"""Photographs as clouds of colours."""

from numbers import Integral

import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.utils import Bunch, check_random_state

from skot.utils._sklearn import Interval, validate_params

_N_PIXELS = 427 * 640

_DESCR = """The colours of the two photographs that scikit-learn ships.

Source: china.jpg, a temple. Target: flower.jpg, a dahlia. Both are under a Creative Commons
licence; sklearn.datasets.load_sample_images names their authors.
Red, green and blue in [0, 1]; pixels drawn without replacement."""


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, _N_PIXELS, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def load_color_palettes(
    n_samples: int = 1000, *, random_state: int | np.random.RandomState | None = 0
) -> Bunch:
    """Load pixels of the two photographs that scikit-learn ships, as points in colour space.

    The pixels of one call are all different, so that parts of them can be held out of a fit.

    Parameters
    ----------
    n_samples : int, default=1000
        The number of pixels drawn from each photograph, at most 273280.
    random_state : int, RandomState instance or None, default=0
        The seed, or the generator that is drawn from.

    Returns
    -------
    palettes : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with ``X_source`` and ``X_target`` of shape (n_samples, 3),
        float64 in [0, 1]; ``image_source`` and ``image_target``, the photographs, of shape
        (427, 640, 3); ``feature_names`` and ``DESCR``.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    ValueError
        If a parameter is invalid.

    See Also
    --------
    sklearn.datasets.load_sample_images : The photographs themselves.

    Examples
    --------
    >>> from skot.datasets import load_color_palettes
    >>> palettes = load_color_palettes(500)
    >>> palettes.X_source.shape
    (500, 3)
    """
    rng = check_random_state(random_state)
    image_source, image_target = (image / 255.0 for image in load_sample_images().images)
    return Bunch(
        X_source=_draw_pixels(image_source, n_samples, rng),
        X_target=_draw_pixels(image_target, n_samples, rng),
        image_source=image_source,
        image_target=image_target,
        feature_names=["red", "green", "blue"],
        DESCR=_DESCR,
    )


def _draw_pixels(image: np.ndarray, n_samples: int, rng: np.random.RandomState) -> np.ndarray:
    pixels = image.reshape(-1, 3)
    return pixels[rng.permutation(len(pixels))[:n_samples]]
