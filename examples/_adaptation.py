"""Domain adaptation of digits, for the demo."""

from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.svm import SVC

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport
from skot.datasets import fetch_mnist, fetch_usps, load_shifted_digits
from skot.metrics import CircularValidationScorer
from skot.model_selection import DomainKFold
from skot.utils import stack_domains

CLASS_REG = 0.1
PARAM_GRID = {"transport__epsilon": [0.01, 0.05, 0.5], "transport__class_reg": [0.0, CLASS_REG]}
WITHOUT = "without adaptation"


@dataclass(frozen=True)
class Problem:
    """Labelled source images, target images without labels, and others to be tested on."""

    name: str
    X_source: np.ndarray
    y_source: np.ndarray
    X_target: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    def stacked(self):
        """Return ``X, y, sample_domain`` with the labels of the target marked as unknown."""
        return stack_domains(self.X_source, self.X_target, self.y_source)


def shifted_digits_problem():
    """Make the problem from the digits that scikit-learn ships."""
    digits = load_shifted_digits()
    X_target, X_test, _, y_test = train_test_split(
        digits.X_target, digits.y_target, test_size=0.4, stratify=digits.y_target, random_state=0
    )
    return Problem(
        "Digits from another camera", digits.X_source, digits.y_source, X_target, X_test, y_test
    )


def mnist_usps_problems(n_samples=1000):
    """Make the two problems from MNIST and USPS, on the grid of the smaller images."""
    rng = np.random.default_rng(0)
    parts = {}
    for name, fetch in (("MNIST", fetch_mnist), ("USPS", fetch_usps)):
        for subset in ("train", "test"):
            X, y = fetch(subset=subset, image_size=16, download_if_missing=False, return_X_y=True)
            rows = rng.permutation(len(X))[:n_samples]
            parts[name, subset] = X[rows], y[rows]
    return [
        Problem(
            f"{source} to {target}",
            *parts[source, "train"],
            parts[target, "train"][0],
            *parts[target, "test"],
        )
        for source, target in (("MNIST", "USPS"), ("USPS", "MNIST"))
    ]


def make_classifier():
    """Return the classifier that is adapted."""
    return SVC()


def source_accuracy(problem):
    """Return the accuracy on images of the source itself: what there is to lose."""
    return cross_val_score(make_classifier(), problem.X_source, problem.y_source, cv=5).mean()


def target_accuracies(problem):
    """Return the accuracy on new images of the target, by method."""
    plain = make_classifier().fit(problem.X_source, problem.y_source)
    accuracies = {WITHOUT: plain.score(problem.X_test, problem.y_test)}
    X, y, sample_domain = problem.stacked()
    for name, transport in {
        "GaussianTransport": GaussianTransport(shrinkage=0.1),
        "default of DomainAdaptation": None,
        "SinkhornTransport": SinkhornTransport(),
        f"SinkhornTransport(class_reg={CLASS_REG:g})": SinkhornTransport(class_reg=CLASS_REG),
    }.items():
        model = DomainAdaptation(make_classifier(), transport)
        model.fit(X, y, sample_domain=sample_domain)
        accuracies[name] = model.score(problem.X_test, problem.y_test)
    return accuracies


def search(problem, callbacks=()):
    """Tune the transport without a label of the target; return the fitted search."""
    X, y, sample_domain = problem.stacked()
    grid = GridSearchCV(
        DomainAdaptation(make_classifier(), SinkhornTransport()),
        PARAM_GRID,
        cv=DomainKFold(3, shuffle=True, random_state=0),
        scoring=CircularValidationScorer(),
        n_jobs=2,
    )
    grid.set_callbacks(*callbacks)
    with config_context(enable_metadata_routing=True):
        return grid.fit(X, y, sample_domain=sample_domain)


def draw(problem, accuracies, reference, path):
    """Save a picture: images before and after the transport, and the accuracies under them."""
    figure = plt.figure(figsize=(8.0, 5.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.05, 1.0])
    draw_images(problem, top)
    draw_accuracies(accuracies, reference, bottom.subplots())
    figure.suptitle(problem.name)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return path


def draw_images(problem, figure):
    """Draw an image of each class: from the source, transported, and one from the target."""
    transport = SinkhornTransport().fit(problem.X_source, problem.X_target)
    source = problem.X_source[[(problem.y_source == digit).argmax() for digit in range(10)]]
    target = problem.X_test[[(problem.y_test == digit).argmax() for digit in range(10)]]
    rows = {"source": source, "transported": transport.transform(source), "target": target}
    side = round(source.shape[1] ** 0.5)
    axes = figure.subplots(3, 10)
    for row, (title, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image.reshape(side, side), cmap="gray", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(title, rotation=0, ha="right", va="center")


def draw_accuracies(accuracies, reference, ax):
    """Draw the accuracies as bars, and the one on the source as a line to reach."""
    colors = ["#9A9A9A"] + ["#009E73"] * (len(accuracies) - 1)
    bars = ax.barh(list(accuracies), list(accuracies.values()), color=colors)
    ax.bar_label(bars, fmt="%.2f", padding=-34, color="white", weight="bold")
    ax.axvline(reference, color="#0072B2", linestyle="--", linewidth=1.5)
    ax.annotate(
        f"on the source {reference:.2f}",
        (reference, -0.55),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="bottom",
        color="#0072B2",
    )
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    ax.set(xlim=(0, 1), xlabel="accuracy on new images of the target")
