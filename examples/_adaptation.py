"""Domain adaptation of digits, for the demo."""

from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split

from skot import DomainAdaptation, GaussianTransport, SinkhornTransport
from skot.datasets import fetch_mnist, fetch_usps, load_shifted_digits
from skot.model_selection import DomainKFold
from skot.utils import stack_domains

PARAM_GRID = {"transport__epsilon": [0.01, 0.05, 0.5], "transport__class_reg": [0.0, 0.1]}


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
        """Return ``X, y, sample_domain`` with the labels of the target masked."""
        return stack_domains(self.X_source, self.X_target, self.y_source)


def shifted_digits_problem():
    """Make the problem from the digits that scikit-learn ships."""
    digits = load_shifted_digits()
    X_target, X_test, _, y_test = train_test_split(
        digits.X_target, digits.y_target, test_size=0.4, stratify=digits.y_target, random_state=0
    )
    return Problem(
        "digits from another camera", digits.X_source, digits.y_source, X_target, X_test, y_test
    )


def mnist_usps_problems(n_samples=2000):
    """Make the two problems from MNIST and USPS, on the grid of the smaller images."""
    rng = np.random.default_rng(0)
    parts = {}
    for name, fetch in (("MNIST", fetch_mnist), ("USPS", fetch_usps)):
        for subset in ("train", "test"):
            X, y = fetch(
                subset=subset, image_size=16, download_if_missing=False, return_X_y=True
            )
            rows = rng.permutation(len(X))[:n_samples]
            parts[name, subset] = X[rows].astype(float), y[rows]
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
    return LogisticRegression(max_iter=2000)


def source_accuracy(problem):
    """Return the accuracy on images of the source itself: what there is to lose."""
    return cross_val_score(make_classifier(), problem.X_source, problem.y_source, cv=5).mean()


def plain_accuracy(problem):
    """Return the accuracy on the target of a classifier that knows the source only."""
    classifier = make_classifier().fit(problem.X_source, problem.y_source)
    return classifier.score(problem.X_test, problem.y_test)


def adapted_accuracy(problem, transport):
    """Return the accuracy on the target after adaptation by a transport."""
    model = DomainAdaptation(make_classifier(), transport)
    X, y, sample_domain = problem.stacked()
    return model.fit(X, y, sample_domain=sample_domain).score(problem.X_test, problem.y_test)


def search(problem, callbacks=()):
    """Tune the transport without a label of the target; return the fitted search."""
    model = DomainAdaptation(make_classifier(), SinkhornTransport())
    X, y, sample_domain = problem.stacked()
    with config_context(enable_metadata_routing=True):
        grid = GridSearchCV(
            model,
            PARAM_GRID,
            cv=DomainKFold(3, shuffle=True, random_state=0),
            scoring="TODO",
            n_jobs=2,
        )
        grid.set_callbacks(*callbacks)
        return grid.fit(X, y, sample_domain=sample_domain)
