"""Pre-training to the identity map."""

import torch
from torch import Generator, Tensor, nn

from skot.numerics.value_and_gradient import value_and_gradient


def pretrain_identity(
    module: nn.Module,
    sample: Tensor,
    *,
    generator: Generator,
    max_iter: int = 500,
    batch_size: int = 256,
    lr: float = 1e-3,
) -> float:
    r"""Train a potential so that its gradient is the identity, or a map to be it, in place.

    A potential close to :math:`|x|^2 / 2` is strongly convex around the sample, so that the first
    conjugates of a fit are well-posed. The modules of skot's own potentials are close to it right
    after ``build``; this is for other modules, and for those that should be closer.

    Parameters
    ----------
    module : torch.nn.Module
        A potential, which returns one number for a row, or a map, which returns a row.
    sample : Tensor of shape (n, n_features)
        Points at which it should be the identity, of the dtype and on the device of the module.
    generator : torch.Generator
        Source of the batches, on the CPU.
    max_iter : int, default=500
        Number of steps of Adam. Its step size goes down to zero along half a cosine.
    batch_size : int, default=256
        Points in a step, drawn with replacement.
    lr : float, default=1e-3
        First step size.

    Returns
    -------
    error : float
        Mean of :math:`|T(x) - x|^2` over the sample divided by that of :math:`|x|^2`.

    References
    ----------
    .. [1] Korotin, A., Egiazarian, V., Asadulaev, A., Safin, A. and Burnaev, E. (2021).
       Wasserstein-2 generative networks. ICLR, Appendix (pre-training of the potentials).

    Examples
    --------
    >>> import torch
    >>> from skot.networks import MLPMap, pretrain_identity
    >>> generator = torch.Generator().manual_seed(0)
    >>> amortizer = MLPMap(hidden_layer_sizes=(8,)).build(2, generator=generator)
    >>> sample = torch.randn(100, 2, generator=generator)
    >>> pretrain_identity(amortizer, sample, generator=generator, max_iter=50) < 0.01
    True
    """
    sample = sample.detach()
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max_iter)
    project = getattr(module, "project_", None)
    with torch.enable_grad():
        for _ in range(max_iter):
            rows = torch.randint(len(sample), (batch_size,), generator=generator)
            points = sample[rows.to(sample.device)]
            optimizer.zero_grad()
            (_image(module, points) - points).square().mean().backward()
            optimizer.step()
            schedule.step()
            if project is not None:
                project()
    optimizer.zero_grad()
    with torch.no_grad():
        gap = (_image(module, sample) - sample).square().sum()
        return float(gap / sample.square().sum())


def _image(module: nn.Module, points: Tensor) -> Tensor:
    """Gradient of a potential, value of a map."""
    with torch.no_grad():
        is_potential = module(points[:1]).ndim == 1
    return value_and_gradient(module, points)[1] if is_potential else module(points)
