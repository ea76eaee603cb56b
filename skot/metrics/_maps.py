"""How far a fitted map is from a known one, on the same rows."""

from typing import Any

import numpy as np

from skot.utils.tensors import to_numpy
from skot.utils.validation import check_points

__all__ = ["cosine_similarity", "l2_uvp"]


def l2_uvp(T_true: Any, T_pred: Any, *, variance: float | None = None) -> float:
    r"""Unexplained variance percentage of a fitted map.

    Parameters
    ----------
    T_true : array-like of shape (n, n_features)
        The true images of some rows.
    T_pred : array-like of shape (n, n_features)
        The fitted images of the same rows.
    variance : float, default=None
        Total variance of the distribution of the true images. None takes that of `T_true`.

    Returns
    -------
    uvp : float
        In per cent: 0 for the true map, 100 for the constant map to the mean of the target.
        There is no upper limit.

    Raises
    ------
    ValueError
        For bad input, if the shapes differ, or if the variance is not positive.

    See Also
    --------
    cosine_similarity : The direction of the displacements.

    Notes
    -----
    .. math::

        \text{L2-UVP} = 100 \; \frac{E_x \lVert \hat{T}(x) - T(x) \rVert^2}{\operatorname{Var}(Y)}
        , \qquad \operatorname{Var}(Y) = E \lVert y - E y \rVert^2.

    For an inverse map pass ``(X, T_inverse(T(X)))`` and the variance of the source.

    References
    ----------
    .. [1] Korotin, A., Li, L., Genevay, A., Solomon, J., Filippov, A., Burnaev, E. (2021). Do
       neural optimal transport solvers work? A continuous Wasserstein-2 benchmark. NeurIPS,
       section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics import l2_uvp
    >>> T_true = np.array([[-1.0, 0.0], [1.0, 0.0]])
    >>> l2_uvp(T_true, T_true + [0.0, 0.1])
    1.0
    """
    T_true, T_pred = _check_same_rows(T_true=T_true, T_pred=T_pred)
    if variance is None:
        variance = float(T_true.var(axis=0).sum())
    if not (np.isfinite(variance) and variance > 0):
        raise ValueError(f"The total variance must be positive and finite. Got {variance!r}.")
    return float(100.0 * np.square(T_pred - T_true).sum(axis=1).mean() / variance)


def cosine_similarity(X: Any, T_true: Any, T_pred: Any) -> float:
    r"""Cosine between the displacements of a fitted map and those of the true one.

    Not the cosine between rows that `sklearn.metrics.pairwise.cosine_similarity` computes: the
    displacement fields are two vectors in the space of square integrable functions.

    Parameters
    ----------
    X : array-like of shape (n, n_features)
        Some rows.
    T_true : array-like of shape (n, n_features)
        Their true images.
    T_pred : array-like of shape (n, n_features)
        Their fitted images.

    Returns
    -------
    similarity : float
        Between -1 and 1; 1 means that the displacements agree up to one positive factor.

    Raises
    ------
    ValueError
        For bad input, if the shapes differ, or if a map moves nothing.

    See Also
    --------
    l2_uvp : The error relative to the variance of the target.

    Notes
    -----
    .. math::

        \cos(\hat{T} - \mathrm{id}, T - \mathrm{id}) =
        \frac{E \langle \hat{T}(x) - x, T(x) - x \rangle}
        {\sqrt{E \lVert \hat{T}(x) - x \rVert^2 \; E \lVert T(x) - x \rVert^2}}.

    References
    ----------
    .. [1] Korotin, A., Li, L., Genevay, A., Solomon, J., Filippov, A., Burnaev, E. (2021). Do
       neural optimal transport solvers work? A continuous Wasserstein-2 benchmark. NeurIPS,
       section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from skot.metrics import cosine_similarity
    >>> X = np.array([[0.0, 0.0], [1.0, 0.0]])
    >>> cosine_similarity(X, X + [0.0, 1.0], X + [0.0, 3.0])
    1.0
    """
    X, T_true, T_pred = _check_same_rows(X=X, T_true=T_true, T_pred=T_pred)
    true, fitted = (T_true - X).ravel(), (T_pred - X).ravel()
    norms = np.linalg.norm(true) * np.linalg.norm(fitted)
    if norms == 0.0:
        raise ValueError("The cosine is undefined: one of the maps leaves every row as it is.")
    return float(np.clip(true @ fitted / norms, -1.0, 1.0))


def _check_same_rows(**arrays: Any) -> list[np.ndarray]:
    """Validate arrays, by name, that must have one shape; in float64."""
    checked = {
        name: to_numpy(check_points(array, name=name)).astype(np.float64)
        for name, array in arrays.items()
    }
    shapes = {name: array.shape for name, array in checked.items()}
    if len(set(shapes.values())) > 1:
        got = ", ".join(f"{name}.shape == {shape}" for name, shape in shapes.items())
        raise ValueError(f"{' and '.join(shapes)} must have the same shape. Got {got}.")
    return list(checked.values())
