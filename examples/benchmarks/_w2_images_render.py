"""The section and the figures of bench_w2_images.py on the page of benchmarks."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from _harness import ROOT
from _tables import number, table

NAMES = {"conv": "`ConvPotential`", "MLP": "`MLPPotential`", "ICNN": "`ICNN`"}
SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
FIGURE = ROOT / "docs" / "images" / "w2_images.png"


def w2_images_section(cells: dict) -> str:
    """Return the tables of bench_w2_images.py and draw the figure of the digits."""
    kinds: dict[str, list[dict]] = {"colors": [], "linear": [], "potential": []}
    for cell in cells.values():
        kinds[cell["kind"]].append(cell)
    kinds["potential"].sort(key=lambda cell: cell["curve"][-1][2])
    text = colors_text(kinds["colors"]) if kinds["colors"] else ""
    if kinds["potential"] and kinds["linear"]:
        draw_digits(kinds["linear"][0], kinds["potential"], FIGURE)
        text += digits_text(kinds["linear"][0], kinds["potential"])
    return text


def colors_text(cells: list[dict]) -> str:
    """Return the table of the colour transfers."""
    rows = []
    for cell in cells:
        ratios = [cell[f"after, n={n}"] / cell[f"floor, n={n}"] for n in (2000, 10_000)]
        rows.append(
            [
                f"{cell['source']:02d} to {cell['target']:02d}",
                f"{cell['seconds']:.0f}",
                f"{100 * cell['linear'] / cell['before']:.0f} %",
                f"{100 * cell['after, n=2000'] / cell['before']:.2f} %",
                f"{100 * cell['floor, n=2000'] / cell['before']:.2f} %",
                *(f"{ratio:.2f}" for ratio in ratios),
                f"{cell['cost'] / cell['discrete cost']:.3f}",
            ]
        )
    header = ["photographs", "seconds", "linear map", "W2GNTransport", "floor"]
    header += ["over floor, n = 2000", "n = 10000", "cost / discrete OT"]
    return """## Colours of photographs

`W2GNTransport` with its defaults, between the pixels of two photographs of the Kodak suite, judged
on pixels that were held out. The divergence is Sinkhorn's at 0.05 times the mean cost within the
target; columns three to five are shares of that before the transport, for samples of 2000 pixels,
means of 20 draws. The floor is the divergence of two samples of the target: no map gets below it,
up to the luck of the draw. Seconds are those of the processor in training.

""" + table(header, rows)


def digits_text(linear: dict, potentials: list[dict]) -> str:
    """Return the table of the potentials."""
    rows = [["linear map", "", "", *("" for _ in SHARES[:-1]), number(linear["l2_uvp"])]]
    for cell in potentials:
        row = [NAMES[cell["name"]], f"{cell['lr']:g}", f"{cell['curve'][-1][0]}"]
        for share in SHARES[:-1]:
            known = [point[2] for point in cell["curve"] if point[1] <= share * cell["budget"]]
            row.append(number(known[-1]) if known else "")
        rows.append([*row, number(cell["curve"][-1][2])])
    budgets = " and ".join(f"{b:g}" for b in sorted({cell["budget"] for cell in potentials}))
    header = ["", "learning rate", "steps", *(f"{share:g}" for share in SHARES)]
    return f"""
## Potentials of images

L2-UVP in per cent on 4096 fresh rows. The source are the USPS digits, 16 x 16, with a little
noise; the map is the gradient of a random sum of convex functions of patches of 3 x 3 pixels, of
which a small convolutional network is a good model and a dense one is not:
`make_w2_benchmark(images=..., random_state=0)`. Every potential trains on fresh independent rows
for {budgets} processor seconds on one core (drawing, judging, and what is left of the last call
included), by `partial_fit` in batches of 256; columns are the error after a share of that.

{table(header, rows)}
![Digits of the source, their true images, and those of each potential](images/{FIGURE.name})
"""


def draw_digits(linear: dict, potentials: list[dict], path: Path) -> None:
    """Draw source digits, their true images, and their images under each map."""
    shown = {"source": linear["source"], "true image": linear["true"]}
    shown |= {NAMES[cell["name"]].strip("`"): cell["images"] for cell in potentials}
    shown["linear map"] = linear["images"]
    n_columns = len(linear["source"])
    figure, axes = plt.subplots(
        len(shown), n_columns, figsize=(1.1 * n_columns, 1.1 * len(shown)), layout="constrained"
    )
    true = np.array(linear["true"])
    for row, (name, images) in zip(axes, shown.items(), strict=True):
        low, high = (0, 100) if name == "source" else np.percentile(true, [0.5, 99.5])
        for ax, image in zip(row, images, strict=True):
            ax.imshow(np.reshape(image, (16, 16)), cmap="gray", vmin=low, vmax=high)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(name, fontsize=8)
    save(figure, path)


def draw_colors(photographs: list[np.ndarray], moved: np.ndarray, path: Path) -> None:
    """Draw two photographs, and the first in the colours of the second."""
    figure, axes = plt.subplots(1, 3, figsize=(12, 2.9), layout="constrained")
    titles = ("source", "target", "source in the colours of the target")
    for ax, image, title in zip(axes, (*photographs, moved), titles, strict=True):
        ax.imshow(image)
        ax.set_title(title)
        ax.set_axis_off()
    save(figure, path)


def save(figure: plt.Figure, path: Path) -> None:
    """Save a figure and free it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
