"""
===========================================================
Which epsilon? Model selection without labels in the target
===========================================================

The parameters of a transport can be searched like any others. What is missing in domain
adaptation is something to score with: the rows that count have no labels. Three scorers of
:mod:`skot.metrics` do without, and here they are held against the accuracy that nobody can see.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# Digits of one camera have labels, those of another have none. Both are stacked into one `X`, and
# the sign of `sample_domain` tells them apart. The true labels of the target are in `y` for the
# last scorer alone: :class:`~skot.DomainAdaptation` does not look at them, nor do the others.
import matplotlib.pyplot as plt
import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skot import DomainAdaptation, SinkhornTransport
from skot.datasets import load_shifted_digits
from skot.metrics import (
    CircularValidationScorer,
    PredictionEntropyScorer,
    SupervisedTargetScorer,
    TransportDivergenceScorer,
)
from skot.model_selection import DomainKFold

X, y, sample_domain = load_shifted_digits(return_stacked=True)
is_source = sample_domain >= 0

# %%
# With metadata routing on, `sample_domain` finds its way to whoever asks for it: the splitter,
# whose folds hold rows of both cameras, the estimator, and the scorers.
epsilons = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
class_regs = [0.0, 0.1]
scoring = {
    "circular validation": CircularValidationScorer(),
    "transport divergence": TransportDivergenceScorer(),
    "prediction entropy": PredictionEntropyScorer(),
    "accuracy on the target": SupervisedTargetScorer(),
}
with sklearn.config_context(enable_metadata_routing=True):
    search = GridSearchCV(
        DomainAdaptation(LogisticRegression(max_iter=500), SinkhornTransport()),
        {"transport__class_reg": class_regs, "transport__epsilon": epsilons},
        cv=DomainKFold(3, shuffle=True, random_state=0),
        scoring=scoring,
        refit="circular validation",
    ).fit(X, y, sample_domain=sample_domain)
search.best_params_

# %%
# What each scorer sees. Its choice has a ring, in its own panel and, with the same number, in the
# last one: that is what the choice is worth.
unadapted = LogisticRegression(max_iter=500).fit(X[is_source], y[is_source])
unadapted_accuracy = unadapted.score(X[~is_source], y[~is_source])

scores = {
    name: search.cv_results_[f"mean_test_{name}"].reshape(len(class_regs), len(epsilons))
    for name in scoring
}
truth = scores["accuracy on the target"]
best = {name: np.unravel_index(values.argmax(), values.shape) for name, values in scores.items()}

figure, axes = plt.subplots(2, 2, figsize=(8, 6.4), layout="constrained", sharex=True)
for ax, (name, values) in zip(axes.flat, scores.items(), strict=True):
    ax.plot(epsilons, values[0], "o-", color="#0072B2", markersize=4, label="class_reg = 0")
    ax.plot(epsilons, values[1], "^-", color="#D55E00", markersize=5, label="class_reg = 0.1")
    ax.set(title=name, xscale="log")
    ax.margins(y=0.16)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="0.92")


def mark(ax, epsilon, score, number):
    """Draw a ring with a number above it."""
    ax.scatter(epsilon, score, s=170, facecolors="none", edgecolors="black", zorder=4)
    ax.annotate(
        str(number), (epsilon, score), xytext=(0, 10), textcoords="offset points", ha="center"
    )


oracle = axes[1, 1]
for number, (name, ax) in enumerate(zip(list(scores)[:3], axes.flat, strict=False), start=1):
    k = best[name]
    mark(ax, epsilons[k[1]], scores[name][k], number)
    mark(oracle, epsilons[k[1]], truth[k], number)
oracle.axhline(unadapted_accuracy, color="#9A9A9A", linestyle="--", linewidth=1.5)
oracle.text(0.005, unadapted_accuracy, "without adaptation", va="bottom", color="#555555")
for ax in axes[1]:
    ax.set_xlabel("epsilon")
figure.legend(
    *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False
)

# %%
# The first two choose almost as well as the labels would, and warn of an ``epsilon`` that is too
# large. The divergence compares clouds and not labels, so that it cannot tell what ``class_reg``
# is good for; circular validation can, at the price of a second fit. The entropy rewards a
# classifier that is sure of itself: it is, where a blurred plan has moved each class onto its mean,
# and errs where the means are wrong.
for name, (i, j) in best.items():
    print(
        f"{name:22} epsilon={epsilons[j]:<5g} class_reg={class_regs[i]:g}"
        f"  accuracy {truth[i, j]:.3f}"
    )

plt.show()
