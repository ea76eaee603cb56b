"""
===================================
A dial between a map and randomness
===================================

With a weak cost, :class:`~skot.NeuralOT` may send a point to many places. How far it makes use of
this is up to one number, ``gamma``. Between normal distributions the best plan is known, so that
what is learned can be held against what is true.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The source is normal with standard deviation s = 1, the target with t = 2. The cost of sending a
# point x to a distribution is the mean of half the squared distance, less ``gamma / 2`` times the
# variance. The means of the optimal plan lie on a line through the origin, ``slope * x``:
#
# - while gamma is below s / t, with ``slope = t / s`` and without variance: nothing is gained by
#   randomness, and the plan is a map;
# - from there on, with ``slope = 1 / gamma`` and the mean variance ``t ** 2 - (s / gamma) ** 2``.
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skot import NeuralOT
from skot.losses import WeakQuadratic
from skot.networks import ConditionalMLP, MLPPotential
from skot.plots import ConditionalFanDisplay
from skot.training import ExponentialMovingAverage

s, t = 1.0, 2.0


def optimal_plan(gamma):
    """Slope and variance of the plan."""
    if gamma < s / t:
        return t / s, 0.0
    return 1.0 / gamma, t**2 - (s / gamma) ** 2


# %%
# One transport is trained for each position of the dial. It is told nothing of the closed form.
gammas = [0.25, 0.45, 0.6, 0.75, 0.9]
rng = np.random.RandomState(0)
X, Y = rng.normal(0.0, s, (4000, 1)), rng.normal(0.0, t, (4000, 1))
X_new, Y_new = rng.normal(0.0, s, (1000, 1)), rng.normal(0.0, t, (1000, 1))

transports = []
for gamma in gammas:
    transport = NeuralOT(
        WeakQuadratic(gamma),
        transport_map=ConditionalMLP((64, 64)),
        potential=MLPPotential((64, 64)),
        averaging=ExponentialMovingAverage(0.99),
        n_map_steps=5,
        max_iter=400,
        random_state=0,
    )
    with warnings.catch_warnings():
        # Below s / t the map does not use its noise. NeuralOT says so, and here it is right.
        warnings.simplefilter("ignore", ConvergenceWarning)
        transports.append(transport.fit(X, Y))

# %%
# Every image is drawn above its point. At the left end of the dial the plan is a line: the map that
# stretches the source to the target. On the way to the right the means, in black, tilt towards the
# identity, and what they no longer cover is made up for by noise. All five plans have the same
# images, those of the target, whose rows are marked along the vertical axis.
#
# The quadratic cost fixes the means, and the variance on average. Which points get more of it, and
# in which form, is left to chance: see :class:`~skot.losses.WeakKernel` for costs that decide this.
figure, axes = plt.subplots(1, 5, figsize=(8, 3.4), layout="constrained", sharex=True, sharey=True)
for ax, gamma, transport in zip(axes, gammas, transports, strict=True):
    display = ConditionalFanDisplay.from_estimator(transport, X_new, Y=Y_new, random_state=0, ax=ax)
    ends = np.array([-3.2, 3.2])
    (truth,) = ax.plot(ends, optimal_plan(gamma)[0] * ends, "--", color="#D55E00", zorder=5)
    ax.set(title=f"gamma = {gamma:g}", xlim=(-3.5, 3.5), ylim=(-7, 7))
    ax.get_legend().remove()
    ax.label_outer()
names = {
    "source": display.source_,
    "target": display.target_,
    "images": display.images_,
    "learned mean": display.means_,
    "closed form": truth,
}
legend = figure.legend(
    names.values(), names, loc="outside lower center", ncols=5, frameon=False, markerscale=1.2
)
for handle in legend.legend_handles:
    handle.set_alpha(1.0)

# %%
# The whole dial: curves are the closed form, dots what was learned.
images = [transport.sample_transform(X_new, 64, random_state=0) for transport in transports]
means = [image.mean(axis=1) for image in images]
slopes = [float((mean * X_new).sum() / np.square(X_new).sum()) for mean in means]
variances = [float(image.var(axis=1, ddof=1).mean()) for image in images]

dial = np.linspace(0.0, 1.0, 401)
closed_form = np.array([optimal_plan(gamma) for gamma in dial])
_, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharex=True)
parts = zip(
    axes, ("slope of the mean", "mean variance"), closed_form.T, (slopes, variances), strict=True
)
for ax, name, curve, learned in parts:
    ax.plot(dial, curve, color="#555555", linewidth=2, label="closed form")
    ax.plot(gammas, learned, "o", color="#009E73", markersize=10, label="learned")
    ax.axvspan(0.0, s / t, color="0.95")
    ax.set(xlabel="gamma", ylabel=name, xlim=(0.0, 1.0), ylim=(0.0, None))
    ax.spines[["top", "right"]].set_visible(False)
axes[0].text(0.25, 0.3, "a map", ha="center")
axes[0].text(0.75, 0.3, "a plan that splits", ha="center")
axes[1].legend(frameon=False, loc="upper left")

plt.show()
