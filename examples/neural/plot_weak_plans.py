"""
====================================
Maps that move, and plans that split
====================================

A strong cost gives :class:`~skot.NeuralOT` a map: every point has one image. A weak cost gives it a
plan: every point has a distribution of images, from which any number can be drawn.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# One Gaussian is moved to eight of them: at half the squared distance, and with a reward for
# spread. The networks are small, so that the page is made in half a minute; kinks suit targets in
# pieces.
import matplotlib.pyplot as plt

from skot import NeuralOT
from skot.datasets import make_eight_gaussians_pair
from skot.losses import WeakQuadratic
from skot.networks import ConditionalMLP, MLPMap, MLPPotential
from skot.plots import ConditionalFanDisplay
from skot.training import Adam, CosineSchedule, ExponentialMovingAverage

X, Y = make_eight_gaussians_pair(4000, random_state=0)
X_new, Y_new = make_eight_gaussians_pair(1500, random_state=1)

settings = {
    "potential": MLPPotential((64, 64), activation="leaky_relu"),
    "optimizer": Adam(lr=1e-2, betas=(0.5, 0.9), schedule=CosineSchedule()),
    "averaging": ExponentialMovingAverage(0.99),
    "n_map_steps": 6,
    "n_noise_samples": 2,
    "max_iter": 600,
    "random_state": 0,
}
sizes = (64, 64, 64)
strong = NeuralOT(transport_map=MLPMap(sizes, activation="leaky_relu"), **settings)
weak = NeuralOT(
    WeakQuadratic(0.6),
    transport_map=ConditionalMLP(sizes, activation="leaky_relu"),
    **settings,
)
transports = {"strong cost": strong.fit(X, Y), "weak cost, gamma = 0.6": weak.fit(X, Y)}

# %%
# Where five points may go. The strong transport cuts the source into eight sectors and sends each
# to the nearest Gaussian. The weak one shares the mass of a point among several: a point off the
# middle favours the near ones, and the mean of its images, the diamond, lies between them.
figure, axes = plt.subplots(1, 2, figsize=(8, 4.6), layout="constrained", sharex=True, sharey=True)
for ax, (name, transport) in zip(axes, transports.items(), strict=True):
    ConditionalFanDisplay.from_estimator(
        transport, X_new, Y=Y_new, n_samples=16, random_state=0, ax=ax
    )
    legend = ax.get_legend()
    legend.remove()
    ax.set_title(name)
    ax.set_axis_off()
figure.legend(handles=legend.legend_handles, loc="outside lower center", ncols=4, frameon=False)

# %%
# Both reach the target. The difference is not in where mass arrives, but in who sends it.
clouds = {name: each.sample_transform(X_new, random_state=0) for name, each in transports.items()}
_, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained", sharex=True, sharey=True)
for ax, (name, points) in zip(axes, [("target", Y_new[:, None]), *clouds.items()], strict=True):
    color = "#E69F00" if name == "target" else "#009E73"
    ax.scatter(*points[:, 0].T, s=6, alpha=0.5, color=color, linewidths=0)
    ax.set(title=name, aspect="equal")
    ax.set_axis_off()

# %%
# ``diagnose`` judges a transport by points that it has not seen, in numbers and words. The
# `divergence` of images to target is to be held against its standard error, which is what sampling
# alone gives, and `divergence_before`, that of the source as it is. The `duality_gap` should be
# small beside the `cost_value` of a strong cost, or beside the `target_variance`.
# `conditional_variance` tells how much of the spread of the images is due to noise.
for name, transport in transports.items():
    print(f"{name}\n{transport.diagnose(X_new, Y_new)}\n")

plt.show()
