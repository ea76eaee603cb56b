"""
==========================================
Which transport? The step itself as choice
==========================================

A transport is a parameter of :class:`~skot.DomainAdaptation`, and scikit-learn searches over
estimators as it does over numbers: one ``GridSearchCV`` compares four transports, each with a
scaler before it and without.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Two moons. The new instrument reports the exponential of what the old one did, and both give the
# second feature in a unit twenty times smaller.
import matplotlib.pyplot as plt
import numpy as np
import sklearn
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport, W2GNTransport
from skot.metrics import (
    CircularValidationScorer,
    SupervisedTargetScorer,
    TransportDivergenceScorer,
)
from skot.model_selection import DomainKFold
from skot.plots import TransportMapDisplay
from skot.utils import stack_domains

UNITS = [1.0, 20.0]
X_source, y_source = make_moons(500, noise=0.08, random_state=0)
X_target, y_target = make_moons(500, noise=0.08, random_state=1)
X_source, X_target = X_source - [0.5, 0.25], np.exp(X_target - [0.5, 0.25])
X, y, sample_domain = stack_domains(X_source * UNITS, X_target * UNITS, y_source, y_target)

# %%
# In a pipeline the scaler is fitted on both samples together; `sample_domain` passes it by and
# reaches the adaptation. The labels of the target are for the oracle alone.
transports = {
    "Gaussian": GaussianTransport(),
    "Sinkhorn, epsilon = 0.5": SinkhornTransport(epsilon=0.5),
    "Sinkhorn, epsilon = 0.02": SinkhornTransport(epsilon=0.02),
    "W2GN": W2GNTransport(max_iter=80, random_state=0),
}
pipeline = Pipeline([("scale", StandardScaler()), ("adapt", DomainAdaptation(SVC()))])
with sklearn.config_context(enable_metadata_routing=True):
    search = GridSearchCV(
        pipeline,
        {
            "scale": ["passthrough", StandardScaler()],
            "adapt__transport": list(transports.values()),
        },
        cv=DomainKFold(2, shuffle=True, random_state=0),
        scoring={
            "circular": CircularValidationScorer(),
            "divergence": TransportDivergenceScorer(),
            "oracle": SupervisedTargetScorer(),
        },
        refit="circular",
    ).fit(X, y, sample_domain=sample_domain)
search.best_params_["adapt__transport"]

# %%
# What the search sees, and on the right the truth. Without a scaler the first feature is too small
# to count. Circular validation sees that, and ranks the transports as the truth does. For the
# divergence, too, the last two are best; but it is measured in the units behind the scaler, so that
# it can compare transports and not scalers.
with_scaler = np.array([p["scale"] != "passthrough" for p in search.cv_results_["params"]])
height = np.arange(len(transports))
panels = {
    "circular": "circular validation",
    "divergence": "transport divergence",
    "oracle": "accuracy on the target",
}
figure, axes = plt.subplots(1, 3, figsize=(8, 2.9), layout="constrained", sharey=True)
for ax, (name, title) in zip(axes, panels.items(), strict=True):
    values = search.cv_results_[f"mean_test_{name}"]
    if name != "divergence":
        ax.plot(values[~with_scaler], height, "s", color="#9A9A9A", markersize=8, label="no scaler")
    ax.plot(values[with_scaler], height, "o", color="#0072B2", markersize=9, label="StandardScaler")
    ax.set_title(title, fontsize=11)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.12)
axes[0].set_yticks(height, transports)
axes[0].set_ylim(len(transports) - 0.5, -0.5)
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False
)

# %%
# The four maps behind the scaler. The Gaussian one is linear and cannot follow the bend; a large
# ``epsilon`` shrinks what it moves; the two that are left agree.
scaler = StandardScaler().fit(X)
scaled_source, scaled_target = (scaler.transform(rows * UNITS) for rows in (X_source, X_target))

figure, axes = plt.subplots(2, 2, figsize=(8, 7), layout="constrained", sharex=True, sharey=True)
for ax, (name, transport) in zip(axes.flat, transports.items(), strict=True):
    transport.fit(scaled_source, scaled_target)
    TransportMapDisplay.from_estimator(transport, scaled_source, scaled_target, n_lines=150, ax=ax)
    legend = ax.get_legend()
    legend.remove()
    ax.set_title(name)
figure.legend(handles=legend.legend_handles, loc="outside upper center", ncols=3, frameon=False)

# sphinx_gallery_thumbnail_number = 2  # noqa: ERA001
plt.show()
