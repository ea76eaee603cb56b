"""
=======================================
A neural map carries a classifier along
=======================================

:class:`~skot.DomainAdaptation` takes any transport. With :class:`~skot.NeuralOT` the labelled rows
are moved by a network, which was trained on batches and moves new rows at the price of a forward
pass, however many rows it was fitted on.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Two moons with labels, and the same moons turned, without. The transports see no label.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.svm import SVC

from skot import DomainAdaptation, GaussianTransport, NeuralOT, SinkhornTransport
from skot.datasets import make_rotated_moons
from skot.networks import MLPMap, MLPPotential
from skot.utils import stack_domains

X_source, y_source, X_target, y_target = make_rotated_moons(2000, angle=30.0, random_state=0)
X, y, sample_domain = stack_domains(X_source, X_target, y_source)
_, _, X_test, y_test = make_rotated_moons(2000, angle=30.0, random_state=1)

# %%
# The same classifier, carried by three transports.
sizes = (64, 64)
transports = {
    "GaussianTransport": GaussianTransport(),
    "SinkhornTransport": SinkhornTransport(),
    "NeuralOT": NeuralOT(
        transport_map=MLPMap(sizes), potential=MLPPotential(sizes), max_iter=200, random_state=0
    ),
}
models = {"no adaptation": SVC().fit(X_source, y_source)}
for name, transport in transports.items():
    models[name] = DomainAdaptation(SVC(), transport).fit(X, y, sample_domain=sample_domain)
accuracy = {name: model.score(X_test, y_test) for name, model in models.items()}
accuracy

# %%
# The border between the classes, before and after: on the right the labelled rows lie where the
# network has put them.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
X_moved = models["NeuralOT"].transport_.transform(X_source)
side = np.linspace(-2.0, 2.0, 200)
grid = np.stack(np.meshgrid(side, side), axis=2)
shown = np.arange(0, len(X_source), 5)

figure, axes = plt.subplots(1, 2, figsize=(8, 4.1), layout="constrained", sharey=True)
for ax, name, rows, color in (
    (axes[0], "no adaptation", X_source, BLUE),
    (axes[1], "NeuralOT", X_moved, GREEN),
):
    decision = models[name].decision_function(grid.reshape(-1, 2)).reshape(200, 200)
    ax.contour(side, side, decision, levels=[0.0], colors="black", linewidths=2.0)
    ax.scatter(*X_test[shown].T, s=10, color=ORANGE, label="target")
    for label, marker in ((0, "o"), (1, "^")):
        of_label = shown[y_source[shown] == label]
        ax.scatter(*rows[of_label].T, s=14, color=color, marker=marker, label=f"label {label}")
    ax.set_title(f"{name}: {100 * accuracy[name]:.0f} % of the target right")
    ax.set(aspect="equal", xlim=(-1.9, 1.9), ylim=(-1.6, 1.6))
    ax.set_axis_off()
before, after = (ax.get_legend_handles_labels()[0] for ax in axes)
names = ["target, no labels", "label 0", "label 1", "label 0, moved", "label 1, moved"]
figure.legend(
    before + after[1:], names, loc="outside lower center", ncols=5, frameon=False, markerscale=1.6
)
plt.show()

# %%
# The turned moons lie less than a linear map away, so that the Gaussian one, with six numbers to
# learn, does best here; the network had to find it among all maps. It is for targets that no
# linear map reaches, and for samples of a size at which a plan between all pairs is too much.
