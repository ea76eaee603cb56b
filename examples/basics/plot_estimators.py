"""
==============================================
The same two samples, moved by six estimators
==============================================

All transports have the same methods, and answer the same question differently: where should the
rows of one sample go, so that together they look like the other? This page puts six answers side by
side; :doc:`/choosing` says when to take which.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The source is one cloud, the target two moons to its right.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from skot import GaussianTransport, LagrangianOT, NeuralOT, SinkhornTransport, W2GNTransport
from skot.costs import HillObstacle, KineticPotential
from skot.losses import WeakQuadratic
from skot.networks import ConditionalMLP, MLPPotential
from skot.plots import ConditionalFanDisplay, PathDisplay, TransportMapDisplay

rng = np.random.RandomState(0)


def draw(n_samples):
    """Rows of the source and of the target."""
    source = rng.normal([-2.2, 0.0], 0.45, (n_samples, 2))
    target = make_moons(n_samples, noise=0.06, random_state=rng)[0] + [2.2, -0.25]
    return source, target


X, Y = draw(2000)
X_new, Y_new = draw(250)

# %%
# Three of them are solved, three are learned by networks: ``fit`` and ``transform`` are the same.
transports = {
    "GaussianTransport: mean and covariance": GaussianTransport(),
    "SinkhornTransport, epsilon = 0.3: smooth": SinkhornTransport(epsilon=0.3),
    "SinkhornTransport, epsilon = 0.01: detailed": SinkhornTransport(epsilon=0.01),
    "W2GNTransport: a network, any number of rows": W2GNTransport(max_iter=200, random_state=0),
    "NeuralOT: many images of a row": NeuralOT(
        WeakQuadratic(gamma=0.9),
        transport_map=ConditionalMLP((64, 64)),
        potential=MLPPotential((64, 64)),
        n_map_steps=5,
        max_iter=250,
        random_state=0,
    ),
    "LagrangianOT: around a hill": LagrangianOT(
        KineticPotential(HillObstacle(strength=40.0)), max_iter=150, batch_size=256, random_state=0
    ),
}
for transport in transports.values():
    transport.fit(X, Y)

# %%
# Rows that no estimator has seen: blue is where they are, green where they go, orange the target.
# Straight lines are displacements, fans are draws of the images of five rows, the hill is shaded.
figure, axes = plt.subplots(3, 2, figsize=(8, 6.7), layout="constrained", sharex=True, sharey=True)
for ax, (title, transport) in zip(axes.flat, transports.items(), strict=True):
    if isinstance(transport, NeuralOT):
        ConditionalFanDisplay.from_estimator(transport, X_new, Y=Y_new, random_state=0, ax=ax)
    elif isinstance(transport, LagrangianOT):
        PathDisplay.from_estimator(transport, X_new, Y_new, n_lines=60, ax=ax)
    else:
        TransportMapDisplay.from_estimator(transport, X_new, Y_new, n_lines=60, ax=ax)
    legend = ax.get_legend()
    legend.remove()
    if isinstance(transport, GaussianTransport):
        handles = legend.legend_handles
    ax.set_title(title, fontsize=11)
    ax.set(xlim=(-3.9, 4.5), ylim=(-1.75, 1.75))
    ax.set_axis_off()
figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)

# %%
# They share one score too, so that ``GridSearchCV`` can choose among them: minus the distance that
# is left between the moved rows and the target, on rows held out, in variances of the target. As an
# estimate it is zero in expectation where nothing is left, and may be positive. Where mass is
# split, the mean of the images is less spread than the target; ``NeuralOT`` is scored by draws, not
# by means.
scores = [transport.score(X_new, Y_new) for transport in transports.values()]

_, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
ax.hlines(list(transports), 0.0, [-score for score in scores], color="#9A9A9A", linewidth=2)
ax.plot([-score for score in scores], list(transports), "o", color="#009E73", markersize=10)
ax.invert_yaxis()
ax.axvline(0.0, color="#9A9A9A", linewidth=0.8)
ax.set(xlabel="divergence that is left, in variances of the target (smaller is better)")
ax.spines[["top", "right"]].set_visible(False)

plt.show()
