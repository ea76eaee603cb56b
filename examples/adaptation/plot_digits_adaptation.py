"""
=========================================
A classifier of digits meets a new camera
=========================================

A classifier that was fitted on the images of one camera does badly on those of another. Without
a single label from the new camera, :class:`~skot.DomainAdaptation` moves the labelled images to
where the new ones are and fits the classifier there.
"""

# Authors: The skot developers
# SPDX-License-Identifier: BSD-3-Clause

# %%
# The new images are rotated, have wider strokes and less contrast; no image occurs in both sets.
# Part of them is kept for the test: it is used neither with labels nor without.
import matplotlib.pyplot as plt
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.svm import SVC

from skot import DomainAdaptation, SinkhornTransport
from skot.datasets import load_shifted_digits
from skot.metrics import CircularValidationScorer
from skot.model_selection import DomainKFold
from skot.utils import stack_domains

digits = load_shifted_digits()
X_target, X_test, _, y_test = train_test_split(
    digits.X_target, digits.y_target, test_size=0.4, stratify=digits.y_target, random_state=0
)

# %%
# The source and the target are stacked; the sign of ``sample_domain`` says which row is which,
# and the unknown labels are marked.
X, y, sample_domain = stack_domains(digits.X_source, X_target, digits.y_source)

classifier = SVC()
accuracy = {
    "without adaptation": classifier.fit(digits.X_source, digits.y_source).score(X_test, y_test)
}
for name, transport in {
    "default": None,
    "SinkhornTransport": SinkhornTransport(),
    "with class_reg": SinkhornTransport(class_reg=0.1),
}.items():
    model = DomainAdaptation(classifier, transport)
    accuracy[name] = model.fit(X, y, sample_domain=sample_domain).score(X_test, y_test)

# %%
# Is it better than no adaptation? There are no labels to tell, but one can see whether the
# predicted classes follow the clusters of the target more than those without adaptation do.
print(model.adaptation_gain_)

# %%
# Which ``epsilon``, and which ``class_reg``? There are no labels to score with, but there is a
# way back: :class:`~skot.metrics.CircularValidationScorer` adapts from the predictions for the
# target to the source, where the labels are known.
with config_context(enable_metadata_routing=True):
    search = GridSearchCV(
        DomainAdaptation(classifier, SinkhornTransport()),
        {"transport__epsilon": [0.01, 0.05, 0.5], "transport__class_reg": [0.0, 0.1]},
        cv=DomainKFold(3, shuffle=True, random_state=0),
        scoring=CircularValidationScorer(),
    )
    search.fit(X, y, sample_domain=sample_domain)
accuracy["GridSearchCV"] = search.best_estimator_.score(X_test, y_test)
print(search.best_params_)

# %%
_, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
bars = ax.barh(list(accuracy), list(accuracy.values()), color=["#9A9A9A"] + 4 * ["#009E73"])
ax.bar_label(bars, fmt="%.2f", padding=-36, color="white")
ax.invert_yaxis()
ax.spines[["top", "right"]].set_visible(False)
_ = ax.set(xlim=(0, 1), xlabel="accuracy", title="on new images of the target")

# %%
# What the transport does to the images: each of the source gets the look of the target and stays
# the digit it was. The last row are images of the target, which nobody paired with the others.
transport = SinkhornTransport().fit(digits.X_source, X_target)
X_shown = digits.X_source[[(digits.y_source == digit).argmax() for digit in range(10)]]
lines = {
    "source": (X_shown, "#0072B2"),
    "transported": (transport.transform(X_shown), "#009E73"),
    "target": (X_test[[(y_test == digit).argmax() for digit in range(10)]], "#E69F00"),
}

figure, axes = plt.subplots(3, 10, figsize=(8, 2.2))
figure.subplots_adjust(0.14, 0.01, 0.99, 0.99, wspace=0.06, hspace=0.06)
for row, (name, (images, color)) in zip(axes, lines.items(), strict=True):
    for ax, image in zip(row, images, strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray", vmin=0, vmax=1)
        ax.set_axis_off()
    row[0].text(
        -0.15, 0.5, name, transform=row[0].transAxes, ha="right", va="center", color=color, size=12
    )

plt.show()
