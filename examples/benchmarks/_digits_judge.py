"""A judge of translated digits: a small classifier of the target, and its hidden features.

Run ``python examples/benchmarks/_digits_judge.py`` with ``SKOT_DATA`` set to see what the digits
score that are not translated. A judge trains for about a minute and is then kept on disk.
"""

import os
import sys
from dataclasses import dataclass

import joblib
import numpy as np
import torch
from _harness import CHECKPOINTS, pin, report
from torch import Tensor, nn

from skot.datasets import fetch_mnist, fetch_usps
from skot.numerics.linalg import bures_squared_distance

LOADERS = {"usps": fetch_usps, "mnist": fetch_mnist}
SIDE, N_HIDDEN = 16, 64
SETTINGS = {"n_steps": 4000, "batch_size": 128, "lr": 3e-3, "weight_decay": 1e-2, "dropout": 0.3}
# Of each sample, for every Frechet distance: its bias depends on the number of rows.
N_FRECHET = 2000
ROWS_A_CALL = 2048


@dataclass(frozen=True)
class Digits:
    """Rows of 256 pixels in [0, 1] and their labels, of one origin."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def load_pair(source: str, target: str) -> tuple[Digits, Digits]:
    """Return the digits of two origins, ``"usps"`` or ``"mnist"``, on the grid of USPS."""
    pair = []
    for name in (source, target):
        splits = (
            LOADERS[name](subset=subset, image_size=SIDE, return_X_y=True)
            for subset in ("train", "test")
        )
        pair.append(Digits(*(array for split in splits for array in split)))
    return pair[0], pair[1]


class JudgeNetwork(nn.Module):
    """Two convolutions, a hidden layer whose outputs are the features, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Unflatten(1, (1, SIDE, SIDE)),
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * (SIDE // 4) ** 2, N_HIDDEN),
            nn.ReLU(),
        )
        self.classes = nn.Sequential(nn.Dropout(SETTINGS["dropout"]), nn.Linear(N_HIDDEN, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the classes."""
        return self.classes(self.hidden(x))


def train_judge(X: np.ndarray, y: np.ndarray, seed: int = 0) -> JudgeNetwork:
    """Train a classifier of the target, or load the one that was trained on the same rows."""
    path = CHECKPOINTS / f"digits_judge_{joblib.hash((X, y, seed, SETTINGS))}.pt"
    # PyTorch's initial weights and dropout take their randomness from its global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = JudgeNetwork()
        if path.exists():
            network.load_state_dict(torch.load(path, weights_only=True))
        else:
            fit(network, torch.from_numpy(X), torch.from_numpy(y))
            path.parent.mkdir(exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.partial")
            torch.save(network.state_dict(), partial)
            partial.replace(path)
    return network.eval()


def fit(network: JudgeNetwork, x: Tensor, y: Tensor) -> None:
    """Train on shifted digits, with a learning rate that rises and falls."""
    n_steps, batch_size = SETTINGS["n_steps"], SETTINGS["batch_size"]
    optimizer = torch.optim.AdamW(
        network.parameters(), SETTINGS["lr"], weight_decay=SETTINGS["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, SETTINGS["lr"], total_steps=n_steps)
    for _ in range(n_steps):
        rows = torch.randint(len(x), (batch_size,))
        loss = nn.functional.cross_entropy(network(shift(x[rows])), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def shift(x: Tensor) -> Tensor:
    """Move every digit by up to one pixel each way."""
    padded = nn.functional.pad(x.view(-1, SIDE, SIDE), (1, 1, 1, 1))
    windows = padded.unfold(1, SIDE, 1).unfold(2, SIDE, 1)
    down, right = torch.randint(3, (2, len(x)))
    return windows[torch.arange(len(x)), down, right].flatten(1)


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Return the squared 2-Wasserstein distance between Gaussians with the features' moments."""
    a, b = (torch.as_tensor(features, dtype=torch.float64) for features in (features_a, features_b))
    means = (a.mean(dim=0) - b.mean(dim=0)).square().sum()
    return float(means + bures_squared_distance(torch.cov(a.T), torch.cov(b.T)))


class Judge:
    """Judges digits that were translated to the target."""

    def __init__(self, target: Digits, seed: int = 0) -> None:
        self._network = train_judge(target.X_train, target.y_train, seed)
        self.test_features, predicted = self._see(target.X_test)
        self.accuracy = float(np.mean(predicted == target.y_test))

    def __call__(self, rows: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Return the distance to the target's test digits, and how often the label is the same."""
        features, predicted = self._see(rows)
        return {
            "frechet": frechet_distance(draw(features), draw(self.test_features)),
            "label_preservation": float(np.mean(predicted == labels)),
        }

    def _see(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the hidden features of rows, and their classes."""
        with torch.no_grad():
            batches = torch.as_tensor(rows, dtype=torch.float32).split(ROWS_A_CALL)
            features = torch.cat([self._network.hidden(batch) for batch in batches])
            return features.numpy(), self._network.classes(features).argmax(dim=1).numpy()


def draw(rows: np.ndarray) -> np.ndarray:
    """Return as many rows as every distance takes; at random, since MNIST starts with easy ones."""
    return np.random.default_rng(0).permutation(rows)[:N_FRECHET]


def report_baseline(source_name: str, target_name: str) -> None:
    """Show what source digits score as they are, and what other target digits score."""
    source, target = load_pair(source_name, target_name)
    judge = Judge(target)
    raw = judge(source.X_test, source.y_test)
    floor = judge(target.X_train, target.y_train)
    report(
        f"{source_name} to {target_name}: Frechet {raw['frechet']:.3g} untranslated, floor"
        f" {floor['frechet']:.3g}; label accuracy {raw['label_preservation']:.4f} untranslated,"
        f" {judge.accuracy:.4f} on the target's own test digits"
    )


def main() -> None:
    """Show both directions."""
    pin(None)
    for pair in (("usps", "mnist"), ("mnist", "usps")):
        report_baseline(*pair)


if __name__ == "__main__":
    sys.exit(main())
