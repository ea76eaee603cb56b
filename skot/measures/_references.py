"""Reference distributions, as fixed quasi-random samples."""

import math

import torch
from torch import Tensor

#: Names accepted by ``reference=``.
REFERENCES = ("normal", "uniform")


def reference_sample(reference: str, n: int, n_features: int, generator: torch.Generator) -> Tensor:
    """Draw a scrambled Sobol sample of a reference distribution.

    Parameters
    ----------
    reference : {"normal", "uniform"}
        Standard normal, or uniform on the unit cube.
    n : int
        Number of points.
    n_features : int
        Dimension; past 21201, where Sobol sequences are not tabulated, the sample is
        pseudo-random.
    generator : torch.Generator
        Source of the scrambling.

    Returns
    -------
    sample : Tensor of shape (n, n_features)
        Float64, on the device of the generator.

    Raises
    ------
    ValueError
        For an unknown reference.

    Examples
    --------
    >>> import torch
    >>> from skot.measures import reference_sample
    >>> sample = reference_sample("normal", 1024, 2, torch.Generator().manual_seed(0))
    >>> sample.mean(0).abs().max() < 0.01
    tensor(True)
    """
    if reference not in REFERENCES:
        raise ValueError(f"`reference` must be one of {list(REFERENCES)}. Got {reference!r}.")
    if n_features <= torch.quasirandom.SobolEngine.MAXDIM:
        seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
        engine = torch.quasirandom.SobolEngine(n_features, scramble=True, seed=seed)
        uniform = engine.draw(n, dtype=torch.float64)
    else:
        uniform = torch.rand(
            n, n_features, generator=generator, dtype=torch.float64, device=generator.device
        )
    uniform = uniform.to(generator.device)
    if reference == "uniform":
        return uniform
    # Scrambled points can be exactly 0: keep the quantile finite, symmetrically.
    half_cell = 0.5 / max(n, 2**20)
    return torch.special.ndtri(uniform.clamp(half_cell, 1.0 - half_cell))


def draw_reference(reference: str, n: int, n_features: int, generator: torch.Generator) -> Tensor:
    """Draw independent points of a reference distribution.

    Parameters
    ----------
    reference : {"normal", "uniform"}
        Standard normal, or uniform on the unit cube.
    n : int
        Number of points.
    n_features : int
        Dimension.
    generator : torch.Generator
        Drawn from, and so advanced.

    Returns
    -------
    points : Tensor of shape (n, n_features)
        Float64, on the device of the generator.

    Examples
    --------
    >>> import torch
    >>> from skot.measures import draw_reference
    >>> draw_reference("uniform", 3, 2, torch.Generator().manual_seed(0)).shape
    torch.Size([3, 2])
    """
    draw = torch.randn if reference == "normal" else torch.rand
    return draw(n, n_features, generator=generator, dtype=torch.float64, device=generator.device)


def reference_log_density(reference: str, points: Tensor) -> Tensor:
    """Evaluate the log-density of a reference distribution.

    Parameters
    ----------
    reference : {"normal", "uniform"}
        Standard normal, or uniform on the unit cube.
    points : Tensor of shape (n, n_features)
        Where.

    Returns
    -------
    log_density : Tensor of shape (n,)
        Natural logarithm; minus infinity off the cube.

    Examples
    --------
    >>> import torch
    >>> from skot.measures import reference_log_density
    >>> reference_log_density("uniform", torch.tensor([[0.5, 0.5], [0.5, 1.5]]))
    tensor([0., -inf])
    """
    if reference == "normal":
        n_features = points.shape[1]
        return -0.5 * (points.square().sum(dim=1) + n_features * math.log(2.0 * math.pi))
    inside = ((points >= 0) & (points <= 1)).all(dim=1)
    return torch.where(inside, 0.0, -math.inf).to(points.dtype)
