"""Newton's method for the actions of many polygons at once.

Arrays have the paths in their last axis: nodes are of shape (n_segments + 1, 2, n).
"""

import numpy as np
from _geodesic_problems import GeodesicProblem

#: Longest step of a node, in units of |y - x|.
_REACH = 0.1


def annealed(
    problem: GeodesicProblem,
    nodes: np.ndarray,
    blurs: tuple[float, ...],
    n_parts: int,
    tol: float = 1e-7,
) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and actions after a few steps with blurred walls and more with sharp ones."""
    for blur in blurs[:-1]:
        nodes, _ = descend(problem, nodes, blur, n_parts, max_iter=8, tol=1e-3)
    return descend(problem, nodes, blurs[-1], n_parts, max_iter=50, tol=tol)


def descend(
    problem: GeodesicProblem,
    nodes: np.ndarray,
    blur: float,
    n_parts: int,
    *,
    max_iter: int,
    tol: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Take damped Newton steps, path by path; return nodes and actions.

    The second derivatives of the potential are replaced by their positive part, so every step
    leads downhill. A path stops when a step promises less than `tol` of its action, or none of
    the lengths that are tried keeps half a per cent of what it promises.
    """
    nodes = nodes.copy()
    terms = expansion(problem, nodes, blur, n_parts)
    actions = terms[0].copy()
    active = np.arange(nodes.shape[-1])
    reach = _REACH * np.linalg.norm(nodes[-1] - nodes[0], axis=0)
    for _ in range(max_iter):
        value, gradient, diagonal, above = terms
        step = -solve_block_tridiagonal(diagonal, above, gradient)
        promised = -(gradient * step).sum((0, 1))
        going = promised > tol * np.maximum(value, 1e-9)
        # No node moves further than a part of the way, lest a curve jumps over a wall.
        furthest = np.sqrt((step**2).sum(1).max(0))
        length = np.minimum(1.0, reach[active] / np.maximum(furthest, 1e-30))
        terms, moved = list(terms), nodes[..., active].copy()
        trying = np.flatnonzero(going)
        for _ in range(6):
            if not len(trying):
                break
            trial = nodes[..., active[trying]]
            trial[1:-1] += length[trying] * step[..., trying]
            found = expansion(problem, trial, blur, n_parts)
            enough = value[trying] - 0.005 * length[trying] * promised[trying]
            good = found[0] <= enough
            taken = trying[good]
            moved[..., taken] = trial[..., good]
            terms = [
                replaced(old, taken, new[..., good]) for old, new in zip(terms, found, strict=True)
            ]
            trying = trying[~good]
            length[trying] *= 0.3
        going[trying] = False
        nodes[..., active] = moved
        actions[active] = terms[0]
        active = active[going]
        if not len(active):
            break
        terms = [term[..., going] for term in terms]
    return nodes, actions


def replaced(old: np.ndarray, columns: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return `old` with other columns in its last axis."""
    if len(columns) == old.shape[-1]:
        return new
    result = old.copy()
    result[..., columns] = new
    return result


def expansion(
    problem: GeodesicProblem, nodes: np.ndarray, blur: float, n_parts: int
) -> tuple[np.ndarray, ...]:
    """Return actions (n,), gradients in the inner nodes and the blocks of the second derivative.

    Gradients are of shape (k, 2, n) for k inner nodes, the diagonal blocks of (k, 2, 2, n) and
    those above the diagonal of (k - 1, 2, 2, n).
    """
    n_segments = len(nodes) - 1
    steps = np.diff(nodes, axis=0)
    shares = ((np.arange(n_parts) + 0.5) / n_parts).astype(nodes.dtype)
    points = nodes[:-1, None] + shares[:, None, None] * steps[:, None]
    x0, x1 = points[:, :, 0], points[:, :, 1]
    if problem.factor is None:
        value = 0.5 * n_segments * (steps**2).sum((0, 1))
        gradient = n_segments * np.stack([-steps, steps])
        same = np.zeros((2, n_segments, 2, 2, nodes.shape[-1]), nodes.dtype)
        same[:, :, [0, 1], [0, 1]] = n_segments
        between = -same[0]
    else:
        value, gradient, same, between = metric_terms(problem.factor, x0, x1, steps, shares)
    if problem.potential is not None:
        density, first, second = problem.potential(x0, x1, blur)
        value = value + density.sum((0, 1)) / (n_segments * n_parts)
        ends = np.stack([1.0 - shares, shares]) / (n_segments * n_parts)
        weights = np.stack([ends[0] * (1.0 - shares), ends[1] * shares, ends[0] * shares])
        slopes = np.stack(first, axis=2)
        gradient = gradient + np.einsum("ej,kjab->ekab", ends, slopes)
        bends = np.einsum("ej,kjab->ekab", weights, np.stack(positive_part(*second), axis=2))
        blocks = bends[:, :, [[0, 1], [1, 2]]]
        same, between = same + blocks[:2], between + blocks[2]
    inner = gradient[1, :-1] + gradient[0, 1:]
    return value, inner, same[1, :-1] + same[0, 1:], between[1:-1]


def metric_terms(factor, x0, x1, steps: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, ...]:
    """Kinetic energy |R(g) g'|^2 / 2 and its Gauss-Newton expansion, segment by segment."""
    n_segments, n_parts = x0.shape[:2]
    root = factor(x0, x1)
    delta = 1e-6
    slopes = (
        (factor(x0 + delta, x1) - factor(x0 - delta, x1)) / (2.0 * delta),
        (factor(x0, x1 + delta) - factor(x0, x1 - delta)) / (2.0 * delta),
    )
    scale = np.sqrt(n_segments / n_parts)
    velocity = scale * steps[:, None].repeat(n_parts, 1).transpose(2, 0, 1, 3)
    residual = (root * velocity).sum(1)
    # Index 1: the coordinate of the point that moves.
    turning = np.stack([(slope * velocity).sum(1) for slope in slopes], axis=1)
    share = shares[:, None]
    left, right = (1.0 - share) * turning - scale * root, share * turning + scale * root
    gradient = np.stack([np.einsum("ikjb,ickjb->kcb", residual, end) for end in (left, right)])
    products = [
        np.einsum("ickjb,idkjb->kcdb", a, b)
        for a, b in ((left, left), (right, right), (left, right))
    ]
    return 0.5 * (residual**2).sum((0, 1, 2)), gradient, np.stack(products[:2]), products[2]


def positive_part(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    """Replace negative eigenvalues of [[a, b], [b, c]] by zero."""
    mean, half = 0.5 * (a + c), 0.5 * (a - c)
    radius = np.sqrt(half**2 + b**2)
    low = np.minimum(mean - radius, 0.0)
    share = np.where(
        low < 0.0, np.maximum(mean + radius, 0.0) / np.maximum(2.0 * radius, 1e-30), 1.0
    )
    return share * (a - low), share * b, share * (c - low)


def solve_block_tridiagonal(
    diagonal: np.ndarray, above: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Solve symmetric positive definite systems of 2 x 2 blocks by elimination."""
    n = len(diagonal)
    pivots, values = [inverse(diagonal[0])], [right[0]]
    for k in range(1, n):
        factor = multiplied(above[k - 1].swapaxes(0, 1), pivots[-1])
        pivots.append(inverse(diagonal[k] - multiplied(factor, above[k - 1])))
        values.append(right[k] - (factor * values[-1]).sum(1))
    solution = np.empty_like(right)
    solution[-1] = (pivots[-1] * values[-1]).sum(1)
    for k in range(n - 2, -1, -1):
        solution[k] = (pivots[k] * (values[k] - (above[k] * solution[k + 1]).sum(1))).sum(1)
    return solution


def multiplied(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the products of 2 x 2 matrices in the first two axes."""
    return a[:, 0, None] * b[None, 0] + a[:, 1, None] * b[None, 1]


def inverse(a: np.ndarray) -> np.ndarray:
    """Return the inverses of 2 x 2 matrices in the first two axes."""
    determinant = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    return np.array([[a[1, 1], -a[0, 1]], [-a[1, 0], a[0, 0]]]) / determinant
