"""
==========================================
Interpolations of digits, from predictions
==========================================

A thousand transport problems between digits differ only in their weights: the pixels, and so the
cost, stay the same. :class:`~skot.MetaOTRegressor` learns to predict their solutions. It is shown
pairs of digits and no solutions: the dual value of its own predictions is what it maximises.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The problems
# ------------
#
# The digits of scikit-learn, enlarged to 16 x 16 pixels and given a margin. Each row of `X` is a
# problem: the weights of the source, then those of the target. The last images are kept for
# testing.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from scipy.ndimage import gaussian_filter, zoom
from sklearn.datasets import load_digits

from skot import MetaOTRegressor
from skot.costs import GridCost
from skot.networks import DualUNet
from skot.solvers import sinkhorn
from skot.training import Adam, CosineSchedule

SIDE, EPSILON = 20, 0.01
digits = load_digits()
images = np.stack([np.pad(zoom(image, 2, order=1), 2) for image in digits.images]).clip(0.0)
weights = images.reshape(len(images), -1).astype(np.float32)
rng = np.random.RandomState(0)


def draw_pairs(rows, n):
    """Put random rows side by side."""
    return np.hstack([rows[rng.randint(len(rows), size=n)] for _ in range(2)])


X_train, X_test = draw_pairs(weights[:1500], 20_000), draw_pairs(weights[1500:], 200)

# %%
# Learning to predict
# -------------------
#
# On a grid the default network is a small U-Net. It corrects the potential between the Gaussians
# with the same moments as the digits, which is known in closed form.

regressor = MetaOTRegressor(
    GridCost((SIDE, SIDE)),
    epsilon=EPSILON,
    network=DualUNet((SIDE, SIDE), channels=(48, 96)),
    optimizer=Adam(lr=2e-3, betas=(0.9, 0.99), max_grad_norm=1.0, schedule=CosineSchedule()),
    batch_size=64,
    max_iter=700,
    random_state=0,
).fit(X_train)

# %%
# How good are the predictions?
# -----------------------------
#
# Plain Sinkhorn, from zero potentials and from the predictions, until the marginals are right to
# one percent. A prediction whose marginals are wrong by more than 15 percent would be dropped.

a, b = X_test[:, : SIDE**2], X_test[:, SIDE**2 :]
plain = {"tol": 1e-2, "anderson_memory": 0, "annealing": False}
from_zeros = sinkhorn(a=a, b=b, cost=regressor.cost_, epsilon=EPSILON, **plain)
from_predictions = regressor.solve(X_test, **plain)
print(f"passes from zeros:       {from_zeros.passes.double().mean():.1f}")
print(f"passes from predictions: {from_predictions.passes.double().mean():.1f}")

# %%
# What they look like
# -------------------
#
# A coupling moves the mass of pixel i to pixel j. Stopped on the way, it shows the shape between
# two digits: in grey from the solution, in blue from the prediction alone, which took one
# evaluation of a network and one half pass. The first pair is the one that took the most passes.


def between(coupling, time, scale=4):
    """Draw the mass of a coupling at a time between 0 and 1, on a finer grid."""
    pixels = np.stack(np.unravel_index(np.arange(SIDE**2), (SIDE, SIDE)), axis=1)
    sources, targets = np.nonzero(coupling > 1e-6)
    places = (1 - time) * pixels[sources] + time * pixels[targets]
    edges = np.linspace(-0.5, SIDE - 0.5, scale * SIDE + 1)
    mass, _, _ = np.histogram2d(*places.T, bins=(edges, edges), weights=coupling[sources, targets])
    return gaussian_filter(mass, 0.7 * scale)


chosen = [int(np.argmax(from_zeros.passes)), 3, 11]
times = np.linspace(0.0, 1.0, 7)
predicted = regressor.predict_coupling(X_test[chosen])
figure, axes = plt.subplots(2 * len(chosen), len(times), figsize=(7.6, 7))
for k, (problem, coupling) in enumerate(zip(chosen, predicted, strict=True)):
    solved = sinkhorn(a=a[problem], b=b[problem], cost=regressor.cost_, epsilon=EPSILON, tol=1e-6)
    rows = {
        "solved": (solved.plan.toarray().numpy(), "#333333"),
        "predicted": (coupling, "#0072B2"),
    }
    for row, (name, (plan, color)) in zip(axes[2 * k : 2 * k + 2], rows.items(), strict=True):
        shapes = [between(plan, time) for time in times]
        for ax, shape in zip(row, shapes, strict=True):
            colors = LinearSegmentedColormap.from_list(name, ["white", color])
            ax.imshow(shape, cmap=colors, vmin=0.0, vmax=np.max(shapes))
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(name, color=color, fontsize=11)
for ax, time in zip(axes[0], times, strict=True):
    ax.set_title(f"t = {time:.2f}", fontsize=11)
figure.tight_layout(h_pad=0.4, w_pad=0.2)
plt.show()

# %%
# The same predictions start :class:`~skot.SinkhornTransport`, by
# ``initializer=MetaInitializer(FrozenEstimator(regressor))``, for clouds whose points stay where
# they are while their weights change.
