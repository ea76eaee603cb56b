"""The density estimates of bench_flows.py, and what is asked of each of them."""

import copy
import time
import warnings

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

from skot import W2GNTransport
from skot.metrics import sinkhorn_divergence
from skot.networks import ICNN, LogSumExpPotential, MLPPotential
from skot.solvers.conjugate import LBFGSConjugate
from skot.training import Adam, CosineSchedule

SEARCHES = {
    "KernelDensity": (KernelDensity(), {"bandwidth": np.geomspace(0.02, 0.5, 15)}),
    "GaussianMixture": (
        GaussianMixture(random_state=0),
        {
            "n_components": [1, 2, 4, 8, 12, 16, 24, 32, 48, 64],
            "covariance_type": ["full", "diag"],
        },
    ),
}

# Potential, steps, learning rate, and that of the fine-tuning. Where a potential folds there is no
# likelihood to maximise; where its Hessian jumps (CELU) the gradient of one misses the jumps.
FLOWS = {
    "log-sum-exp": (LogSumExpPotential(), 800, 1e-2, 2e-3),
    "ICNN": (ICNN((128, 128), activation="softplus"), 1200, 1e-2, 1e-2),
    "MLP": (MLPPotential(), 1000, 5e-3, None),
}
BATCH_SIZE = 256

# In training a rough solution will do: the error of the dual is of second order in it.
ROUGH, EXACT = LBFGSConjugate(max_iter=15, tol=1e-2), LBFGSConjugate(max_iter=500, tol=1e-3)

HALF_WIDTH, STEP = 5.0, 0.025
N_DRAWS, N_DIVERGENCE = 5, 1000


def search(name: str, rows: np.ndarray) -> dict:
    """Tune a density estimate of scikit-learn by cross-validated likelihood."""
    estimator, grid = SEARCHES[name]
    tuned = GridSearchCV(estimator, grid, cv=5).fit(rows)
    return {"estimator": tuned.best_estimator_, "parameters": tuned.best_params_}


def fit_flow(name: str, rows: np.ndarray, seed: int) -> W2GNTransport:
    """Fit a flow through the dual of optimal transport."""
    potential, n_steps, lr, _ = FLOWS[name]
    transport = W2GNTransport(
        potential,
        conjugate_solver=ROUGH,
        optimizer=Adam(lr=lr, schedule=CosineSchedule()),
        max_iter=n_steps,
        batch_size=BATCH_SIZE,
        random_state=seed,
    )
    transport.fit(rows.astype(np.float32))
    transport.conjugate_solver_ = EXACT
    return transport


def negative_log_likelihood(transport: W2GNTransport, rows: torch.Tensor) -> torch.Tensor:
    """Return the mean over rows in the plane, up to a constant, with a graph to the weights."""
    frame, module = transport.potential_.frame, transport.potential_.module
    points = frame.source_rows(rows).requires_grad_()
    gradients = module.value_and_gradient(points)[1]
    (a, b), (c, d) = (
        torch.autograd.grad(gradients[:, k].sum(), points, create_graph=True)[0].T for k in range(2)
    )
    # A convex potential has determinants above zero, up to rounding.
    log_determinant = (a * d - b * c).clamp_min(1e-12).log()
    moved = frame.target_rows_back(gradients)
    return (0.5 * moved.square().sum(dim=1) - log_determinant).mean()


def fine_tune(
    transport: W2GNTransport,
    rows: np.ndarray,
    validation: np.ndarray,
    *,
    lr: float,
    max_iter: int = 500,
    patience: int = 5,
    check_every: int = 25,
    seed: int = 0,
) -> tuple[W2GNTransport, int]:
    """Go on from a fitted flow by maximum likelihood, as long as held-out rows gain.

    Parameters
    ----------
    transport : W2GNTransport
        Fitted on `rows` without a target, with a convex potential; it is not changed.
    rows, validation : ndarray of shape (n, 2), (m, 2)
        Rows to train on, and rows that decide when to stop.
    lr : float
        Learning rate of Adam, decayed to zero.
    max_iter, patience, check_every : int, default=500, 5, 25
        Most steps; checks in a row without gain after which it stops; steps between two checks.
    seed : int, default=0
        Of the batches.

    Returns
    -------
    tuned : W2GNTransport
        With the weights that were best on `validation`.
    n_steps : int
        The step they are from.
    """
    tuned = copy.deepcopy(transport)
    module = tuned.potential_.module.requires_grad_(True)
    x, held_out = (torch.as_tensor(part, dtype=torch.float32) for part in (rows, validation))
    updater = Adam(lr=lr, schedule=CosineSchedule()).build(module, max_iter=max_iter)
    generator = torch.Generator().manual_seed(seed)
    best, best_step, best_weights = np.inf, 0, None
    for step in range(max_iter + 1):
        if step % check_every == 0:
            loss = float(negative_log_likelihood(tuned, held_out).detach())
            if loss < best:
                best, best_step, best_weights = loss, step, copy.deepcopy(module.state_dict())
            elif step - best_step >= patience * check_every:
                break
        batch = x[torch.randperm(len(x), generator=generator)[:BATCH_SIZE]]
        updater.update(negative_log_likelihood(tuned, batch))
    module.load_state_dict(best_weights)
    module.requires_grad_(False)
    return tuned, best_step


def grid() -> np.ndarray:
    """Return the midpoints of the cells of a square that holds all the mass."""
    nodes = np.arange(-HALF_WIDTH + STEP / 2, HALF_WIDTH, STEP)
    return np.stack(np.meshgrid(nodes, nodes, indexing="ij"), axis=-1).reshape(-1, 2)


def judge(estimator, test: np.ndarray) -> dict:
    """Return the mean log-likelihood of unseen rows, and the integral of the density."""
    points = test.astype(np.float32)
    values = estimator.score_samples(points).astype(np.float64)
    density = np.exp(estimator.score_samples(grid().astype(np.float32)).astype(np.float64))
    return {
        "log_likelihood": float(values.mean()),
        "standard_error": float(values.std() / len(values) ** 0.5),
        "integral": float(density.sum() * STEP**2),
    }


def judge_samples(transport: W2GNTransport, test: np.ndarray) -> dict:
    """Return the Sinkhorn divergence of draws from unseen rows, and that of other unseen rows."""
    ours, floor = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few conjugates end short of the tolerance
        for k in range(N_DRAWS):
            rows = test[2 * k * N_DIVERGENCE : (2 * k + 2) * N_DIVERGENCE]
            left, right = rows[:N_DIVERGENCE], rows[N_DIVERGENCE:]
            draws = transport.sample(N_DIVERGENCE, random_state=k).astype(np.float64)
            ours.append(float(sinkhorn_divergence(draws, right)))
            floor.append(float(sinkhorn_divergence(left, right)))
    return {"divergence": float(np.mean(ours)), "divergence_floor": float(np.mean(floor))}


def timed(function, *arguments) -> tuple:
    """Call a function and return its result and the processor seconds."""
    start = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - start
