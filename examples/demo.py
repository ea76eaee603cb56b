"""The main job of the package on real data: `make demo`.

Adapts a classifier of digits to another camera, and the colours of a photograph to those of
another; prints what came out and saves pictures. With the environment variable SKOT_DATA set to
a folder that holds MNIST and USPS, it also goes from one to the other.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import demo_parts.adaptation as adaptation
import demo_parts.colors as colors
from sklearn import config_context


def print_table(title, header, rows):
    """Print rows of strings, the first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    print(f"\n{title}\n")
    for row in (header, ["-" * width for width in widths], *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  " + "  ".join(cells))


def show_adaptation(problem, output, *, search, progress):
    """Adapt a classifier in every way, print its accuracies and save the picture."""
    results = adaptation.compare(problem, search=search, progress=progress)
    reference, lost = results.source_accuracy, results.source_accuracy - results.accuracy["none"]
    rows = [["source images", f"{reference:.3f}", ""], ["target, without adaptation", "", ""]]
    rows[1][1:] = [f"{results.accuracy['none']:.3f}", f"-{100 * lost:.0f} points"]
    for name, accuracy in results.accuracy.items():
        if name != "none":
            share = (accuracy - results.accuracy["none"]) / lost
            rows.append([f"target, {name}", f"{accuracy:.3f}", f"{share:.0%} recovered"])
    print_table(problem.title, ["accuracy on new images", "", "of the loss"], rows)
    if results.best_params:
        picked = ", ".join(f"{key}={value}" for key, value in results.best_params.items())
        print(f"\n  GridSearchCV picked {picked}, without a label of the target.")
    return adaptation.draw(problem, results, output)
