"""The main job of the package, with pictures: `make demo`.

Adapts a classifier of digits to another camera, and the colours of a photograph to those of
another; prints what came of it and saves pictures. With the environment variable SKOT_DATA set
to a folder that holds MNIST and USPS, it also goes from one to the other.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import _adaptation
import _colors
import matplotlib.pyplot as plt
from sklearn.callback import ProgressBar

from skot.plots import LossCurveDisplay


def main():
    """Run every part and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="for pictures")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    # On a terminal only: in a file or a log the bars would be noise.
    callbacks = [ProgressBar(max_propagation_depth=0)] if sys.stdout.isatty() else []

    start = time.perf_counter()
    pictures = run_digits(output, callbacks)
    if os.environ.get("SKOT_DATA"):
        pictures += run_mnist_usps(output)
    pictures += run_colors(output, callbacks)
    print("\nPictures\n")
    for path in pictures:
        print(f"  {path}")
    print(f"\nDone in {time.perf_counter() - start:.0f} s.")


def run_digits(output, callbacks):
    """Adapt a classifier to the digits of another camera, in several ways."""
    problem = _adaptation.shifted_digits_problem()
    print(
        f"{len(problem.X_source)} labelled images of one camera and {len(problem.X_target)}"
        f" unlabelled images of another; {len(problem.X_test)} others to test on."
    )
    reference = _adaptation.source_accuracy(problem)
    accuracies = _adaptation.target_accuracies(problem)
    search = _adaptation.search(problem, callbacks)
    accuracies["GridSearchCV"] = search.best_estimator_.score(problem.X_test, problem.y_test)
    print_accuracies(problem.name, reference, accuracies)
    picked = ", ".join(f"{name}={value:g}" for name, value in search.best_params_.items())
    print(f"\n  GridSearchCV picked {picked}, without any label of the target.")
    return [_adaptation.draw(problem, accuracies, reference, output / "digits.png")]


def run_mnist_usps(output):
    """Adapt a classifier from MNIST to USPS and back."""
    try:
        problems = _adaptation.mnist_usps_problems()
    except FileNotFoundError as error:
        print(f"\nMNIST and USPS are left out: {error}")
        return []
    pictures = []
    for problem in problems:
        reference = _adaptation.source_accuracy(problem)
        accuracies = _adaptation.target_accuracies(problem)
        print_accuracies(problem.name, reference, accuracies)
        path = output / f"{problem.name.lower().replace(' ', '_')}.png"
        pictures.append(_adaptation.draw(problem, accuracies, reference, path))
    return pictures


def run_colors(output, callbacks):
    """Give one photograph the colours of another, and measure it on held-out pixels."""
    palettes = _colors.load_palettes()
    transport = _colors.fit_transport(palettes, callbacks)
    values = _colors.divergences(palettes, transport)
    floor = values["two samples of the target"]
    print_table(
        "Colours of another photograph: Sinkhorn divergence on held-out pixels",
        ["", "divergence", "ratio"],
        [[name, f"{value:.2e}", f"{value / floor:.2f}"] for name, value in values.items()],
    )
    figure, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    LossCurveDisplay.from_estimator(transport, ax=ax)
    figure.savefig(output / "convergence.png", dpi=150)
    plt.close(figure)
    return [
        _colors.draw(palettes, transport, output / "colors.png"),
        output / "convergence.png",
    ]


def print_accuracies(title, reference, accuracies):
    """Print what the change of images cost, and how much of it each method recovers."""
    plain = accuracies[_adaptation.WITHOUT]
    rows = [["on the source", f"{reference:.3f}", ""]]
    for name, accuracy in accuracies.items():
        recovered = (accuracy - plain) / (reference - plain)
        rows.append([name, f"{accuracy:.3f}", f"{recovered:.0%}" if accuracy != plain else ""])
    print_table(f"{title}: accuracy on new images", ["", "accuracy", "recovered"], rows)


def print_table(title, header, rows):
    """Print rows of strings, the first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    print(f"\n{title}\n")
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  " + "  ".join([row[0].ljust(widths[0]), *cells[1:]]).rstrip())


if __name__ == "__main__":
    main()
