"""The section and the figures of bench_digits.py on the page of benchmarks."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from _harness import ROOT
from _tables import number, table

from skot.plots._style import COLORS

TITLES = {"usps": "USPS", "mnist": "MNIST"}
#: By what factor digits are enlarged: those of MNIST take 20 of 28 pixels, those of USPS all.
REFRAMING = {("usps", "mnist"): 20 / 28, ("mnist", "usps"): 28 / 20}
NAMES = {
    "untranslated": "untranslated",
    "reframed": "reframed",
    "exact": "exact OT of 3000 rows",
    "exact+reframed": "reframed, exact OT of 3000 rows",
    "Gaussian": "`GaussianTransport`",
    "Gaussian+reframed": "reframed, `GaussianTransport`",
    "strong": "`NeuralOT`, strong",
    "strong+reframed": "reframed, `NeuralOT`, strong",
    "weak-quadratic+reframed": "reframed, `NeuralOT`, `WeakQuadratic`",
    "weak-kernel+reframed": "reframed, `NeuralOT`, `WeakKernel`",
}
# The rows of the figure.
SHOWN = {
    "untranslated": "source",
    "Gaussian+reframed": "Gaussian",
    "strong+reframed": "strong",
    "weak-quadratic+reframed": "weak quadratic",
    "weak-kernel+reframed": "weak kernel",
}
ROW_COLORS = {"untranslated": COLORS["source"], "Gaussian+reframed": COLORS["reference"]}
N_DRAWS = 3


def digits_section(cells: dict) -> str:
    """Return the tables of bench_digits.py and draw its figures."""
    pairs: dict[tuple[str, str], dict[str, list[dict]]] = {}
    for cell in cells.values():
        methods = pairs.setdefault(tuple(cell["pair"]), {})
        methods.setdefault(cell["method"], []).append(cell)
    text = """## Digits of another post office

USPS digits translated to MNIST, and back, as images of 16 x 16 pixels. The judge is a small
convolutional classifier of the target: the Frechet distance is that between Gaussians with the
moments of its 64 hidden features, on 2000 test digits a side; labels are preserved where it gives
a translated test digit the label of the source digit. Maps that split mass are judged on one draw a
row; the conditional variance is a share of the variance of the target. Seconds are those of the
processor in training, on one core. Of several seeds, the table has the mean.

In raw pixels the cheapest way to the target does not keep labels: exact transport between samples
loses more than half of them. Much of what stands in its way is the frame: USPS digits fill all of
the 16 pixels, MNIST's leave a margin. *Reframed* rows are scaled about their centre by 20 / 28, or
28 / 20, before the transport is fitted: the cost is then the squared distance from a rough guess of
the map, as strong a cost as the plain one. To MNIST that guess is all this judge asks for, and what
transport does after it costs labels; to USPS, whose strokes are wider, it is far from enough.

`NeuralOT` trains a `UNet` against a `ResNetPotential`, of 8, 16 and 32 channels both. The weak
costs have gamma 0.8, and their maps four numbers of noise an image. Training is short, and the
length matters: towards the optimum the images follow the target more closely and keep fewer labels.
With a learning rate of 1e-3 instead of 5e-4, 1500 iterations instead of 600, and two steps of the
map in each instead of three, the strong maps had distances of 14.8 (to MNIST) and 34.5 (to USPS),
and kept 76 % of the labels.
"""
    for pair in REFRAMING:
        methods = pairs.get(pair, {})
        text += f"\n### {' to '.join(TITLES[name] for name in pair)}\n\n" + pair_table(methods)
        if all(method in methods for method in SHOWN):
            path = ROOT / "docs" / "images" / f"digits_{'_'.join(pair)}.png"
            draw_translations(methods, path)
            text += f"\n![Digits and their translations](images/{path.name})\n"
    return text


def pair_table(methods: dict[str, list[dict]]) -> str:
    """Return the table of one direction."""
    rows = []
    for method, name in NAMES.items():
        found = methods.get(method)
        if found:
            rows.append(
                [
                    name,
                    mean(found, "frechet"),
                    mean(found, "label_preservation", 100.0),
                    mean(found, "variance", 100.0),
                    mean(found, "seconds"),
                    f"{len(found)}" if "variance" in found[0] else "",
                ]
            )
    if "floor" in methods:
        rows.append(["other digits of the target", mean(methods["floor"], "frechet"), *4 * [""]])
    header = ["", "Frechet distance", "labels kept, %", "conditional variance, %"]
    header += ["seconds", "seeds"]
    return table(header, rows)


def mean(cells: list[dict], key: str, factor: float = 1.0) -> str:
    """Return the mean over seeds, or nothing where it is not measured."""
    if key not in cells[0]:
        return ""
    value = factor * np.mean([cell[key] for cell in cells])
    return number(value) if value >= 5e-3 else "0"


def decode(images: list[list[str]]) -> np.ndarray:
    """Return stored images, of shape (digits, draws, pixels)."""
    return np.array(
        [[np.frombuffer(bytes.fromhex(image), np.uint8) for image in draws] for draws in images]
    )


def draw_translations(methods: dict[str, list[dict]], path) -> None:
    """Draw a digit of each class, and below it what each method makes of it."""
    lines = []
    for method, name in SHOWN.items():
        images = decode(methods[method][0]["images"])
        for k in range(min(images.shape[1], N_DRAWS)):
            lines.append((method, name if k == 0 else "", images[:, k]))
    figure, axes = plt.subplots(len(lines), 10, figsize=(7.4, 0.72 * len(lines)))
    figure.subplots_adjust(0.18, 0.01, 0.995, 0.99, wspace=0.06, hspace=0.06)
    for row, (method, name, images) in zip(axes, lines, strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image.reshape(16, 16), cmap="gray", vmin=0, vmax=100)
            ax.set_axis_off()
        color = ROW_COLORS.get(method, COLORS["transported"])
        row[0].text(
            -0.15, 0.5, name, transform=row[0].transAxes, ha="right", va="center", color=color
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)
