"""Pairs of samples whose classes have the same or different shares."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

from skot.datasets import fetch_mnist, fetch_office_caltech, fetch_usps

N_ROWS = 300
GAUSSIAN_SHARES = (0.1, 0.3, 0.5, 0.8)
DIGIT_SETS = (
    (0, 1, 2, 3, 4),
    (5, 6, 7, 8, 9),
    (0, 1, 2, 3),
    (2, 4, 6, 8),
    (0, 1),
    (2, 7),
    (4, 9),
    (3, 5),
    (1, 8),
)
OFFICE_PAIRS = (
    ("amazon", "caltech10"),
    ("caltech10", "amazon"),
    ("webcam", "amazon"),
    ("amazon", "webcam"),
)
OFFICE_PER_CLASS, OFFICE_TARGET_PER_CLASS = 20, 20

#: Rows of the source, their classes from 0 on, rows of the target, and theirs.
Pair = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Problem:
    """A kind of pair, drawn by seed, with the class shares of its target."""

    group: str
    name: str
    shares: tuple[float, ...]
    draw: Callable[[int], Pair]

    @property
    def is_equal(self) -> bool:
        """Whether the classes have the shares of the source, which are equal."""
        return bool(np.allclose(self.shares, 1.0 / len(self.shares)))


def problems() -> Iterator[Problem]:
    """All of them, in the order of the page."""
    for d in (2, 20):
        for share in GAUSSIAN_SHARES:
            yield Problem(
                f"Gaussian classes, {d}-D",
                f"{share:g}",
                (1.0 - share, share),
                lambda seed, d=d, share=share: gaussian_pair(d, share, seed),
            )
    for source, target in (("MNIST", "USPS"), ("USPS", "MNIST")):
        for classes in DIGIT_SETS:
            for kind, shares in skews(len(classes)):
                digits = "".join(map(str, classes))
                yield Problem(
                    f"{source} to {target}, {len(classes)} classes",
                    f"{digits} {kind}",
                    tuple(float(share) for share in shares),
                    lambda seed, args=(source, target, classes, shares): digit_pair(*args, seed),
                )
    for source, target in OFFICE_PAIRS:
        for n_classes in (4, 10):
            shares = (1.0 / n_classes,) * n_classes
            yield Problem(
                f"Office-Caltech10, {n_classes} classes",
                f"{source} to {target} equal",
                shares,
                lambda seed, args=(source, target, n_classes): office_pair(*args, seed),
            )


def skews(n_classes: int) -> list[tuple[str, np.ndarray]]:
    """Shares of a target: equal, the first class with half of the rows or a fifth, rising."""
    equal = np.full(n_classes, 1.0 / n_classes)
    if n_classes == 2:
        return [("equal", equal), (".2", np.array([0.8, 0.2])), (".8", np.array([0.2, 0.8]))]
    half = np.full(n_classes, 0.5 / (n_classes - 1))
    half[0] = 0.5
    rising = np.arange(1.0, n_classes + 1.0)
    return [("equal", equal), ("half", half), ("rising", rising / rising.sum())]


def gaussian_pair(d: int, share: float, seed: int) -> Pair:
    """Unit Gaussians three apart; the target is turned by 0.5 and shifted by 2 along the axis."""
    rng = np.random.default_rng(seed)
    sides = []
    for angle, shift, second in ((0.0, 0.0, 0.5), (0.5, 2.0, share)):
        y = (np.arange(N_ROWS) < round(second * N_ROWS)).astype(int)
        X = rng.normal(size=(N_ROWS, d))
        X[:, 0] += 3.0 * (y - 0.5)
        cos, sin = np.cos(angle), np.sin(angle)
        X[:, :2] = X[:, :2] @ np.array([[cos, sin], [-sin, cos]])
        X[:, 0] += shift
        sides += [X, y]
    return tuple(sides)


@cache
def digits(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels on the grid of USPS, and labels."""
    load = {"MNIST": fetch_mnist, "USPS": fetch_usps}[name]
    X, y = load(subset="train", image_size=16, return_X_y=True)
    return X.astype(float), y


@cache
def office(domain: str) -> tuple[np.ndarray, np.ndarray]:
    """Word shares, standardised within the domain, and labels."""
    X, y = fetch_office_caltech(domain, return_X_y=True)
    return StandardScaler().fit_transform(normalize(X, norm="l1")), y


def digit_pair(source: str, target: str, classes: tuple, shares: np.ndarray, seed: int) -> Pair:
    """Digits in 50 principal components of both samples; equal shares in the source."""
    rng = np.random.default_rng(seed)
    equal = np.full(len(classes), 1.0 / len(classes))
    X, y = take(*digits(source), classes, counts(equal), rng)
    Y, y_target = take(*digits(target), classes, counts(shares), rng)
    components = PCA(50, random_state=0).fit(np.vstack([X, Y]))
    return components.transform(X), y, components.transform(Y), y_target


def office_pair(source: str, target: str, n_classes: int, seed: int) -> Pair:
    """As many rows of every class on both sides."""
    rng = np.random.default_rng(seed)
    classes = np.unique(office(source)[1])[:n_classes]
    X, y = take(*office(source), classes, [OFFICE_PER_CLASS] * n_classes, rng)
    Y, y_target = take(*office(target), classes, [OFFICE_TARGET_PER_CLASS] * n_classes, rng)
    return X, y, Y, y_target


def counts(shares: np.ndarray) -> np.ndarray:
    """Rows of each class, `N_ROWS` in all."""
    rows = np.round(shares * N_ROWS).astype(int)
    rows[0] += N_ROWS - rows.sum()
    return rows


def take(X, y, classes, rows, rng) -> tuple[np.ndarray, np.ndarray]:
    """Some rows of each class, and their classes as 0, 1, ..."""
    drawn = [
        rng.permutation(np.flatnonzero(y == label))[:n]
        for label, n in zip(classes, rows, strict=True)
    ]
    codes = np.repeat(np.arange(len(classes)), [len(part) for part in drawn])
    return X[np.concatenate(drawn)], codes
