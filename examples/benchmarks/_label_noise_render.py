"""The section of bench_label_noise.py on the page of benchmarks."""

import numpy as np
from _tables import table

NAMES = {
    "cross entropy": "cross entropy",
    "VAT": "virtual adversarial training (VAT)",
    "WAR": "WAR, Sinkhorn from zeros",
    "WAR, Meta OT": "WAR, Sinkhorn from `MetaOTRegressor`",
}
#: What the criteria ask for, in points of accuracy.
_GAIN, _SAME = 5.0, 0.5

_INTRODUCTION = """## Label noise

MNIST with wrong labels: 40 % of all are drawn from the nine other classes (symmetric), or 40 % of
five classes are taken for another one (asymmetric): 7 for 1, 2 for 7, 5 and 6 for each other, 3
for 8. A network with two hidden layers of 256 units sees 10000 of the images for 30 epochs, by Adam
with a rate that falls from 1e-3 to zero along a cosine, without early stopping. The accuracy on the
10000 clean test images is the mean over the last five epochs. Tables have the mean over seeds,
which draw the images, the flips and the weights, and the standard deviation.

VAT (Miyato et al., 2018) and Wasserstein adversarial regularisation (WAR; Fatras et al., 2021) are
the same code with two divergences between the predictions at a point and at its worst neighbour:
Kullback-Leibler, and `probability_transport` with `debiased=True`, epsilon 0.2 and tolerance 1e-4.
Costs of classes are distances between the mean images of their noisy labels, the largest being one.
Weights and radii, each one value for both kinds of noise, were chosen with another seed and a rate
that does not fall, by the accuracy on training images that are in no run of the table.

With Meta OT the model learns after every epoch from the pairs of predictions of that epoch
(`partial_fit`, without solutions); in the first epoch Sinkhorn starts from zeros. Passes are those
of the cost between the two sides, the mean over all problems of all epochs, two for every image.
Seconds are processor time on one core: in all, in transport (with the prediction, and the cost of
each side with itself), and in training the model.
"""


def label_noise_section(cells: dict) -> str:
    """Return the tables of bench_label_noise.py."""
    runs: dict[str, dict[str, list[dict]]] = {}
    for cell in cells.values():
        runs.setdefault(cell["noise"], {}).setdefault(cell["method"], []).append(cell)
    text = _INTRODUCTION
    for noise in ("symmetric", "asymmetric"):
        if noise in runs:
            text += f"\n### {noise.capitalize()} flips\n\n" + noise_part(runs[noise])
    return text


def noise_part(methods: dict[str, list[dict]]) -> str:
    """Return the table of one kind of noise, and what it shows."""
    rows = [
        [
            name,
            spread(methods[method], "accuracy", 100.0),
            mean_text(methods[method], "mean_passes", ".1f"),
            mean_text(methods[method], "seconds", ".0f"),
            mean_text(methods[method], "seconds_transport", ".1f"),
            mean_text(methods[method], "seconds_meta", ".1f"),
            f"{len(methods[method])}",
        ]
        for method, name in NAMES.items()
        if method in methods
    ]
    header = ["", "accuracy, %", "passes", "seconds", "transport, s", "model, s", "seeds"]
    text = table(header, rows)
    return text + "\n" + verdict(methods) if len(rows) == len(NAMES) else text


def verdict(methods: dict[str, list[dict]]) -> str:
    """Say how far the methods are apart, and whether that is what was asked for."""
    accuracy = {m: 100.0 * np.mean([c["accuracy"] for c in cells]) for m, cells in methods.items()}
    gain = accuracy["WAR"] - accuracy["cross entropy"]
    over_vat = accuracy["WAR"] - accuracy["VAT"]
    change = accuracy["WAR, Meta OT"] - accuracy["WAR"]
    meta = methods["WAR, Meta OT"]
    warm, cold = (np.mean([c[k] for c in meta]) for k in ("passes_last", "passes_last_from_zeros"))
    seconds = {
        m: np.mean([c["seconds_transport"] for c in methods[m]]) for m in ("WAR", "WAR, Meta OT")
    }
    return (
        f"WAR is {gain:.1f} points above cross entropy ({_word(gain >= _GAIN)}: {_GAIN:g}) and "
        f"{over_vat:+.1f} from VAT ({_word(over_vat >= 0.0)}: at least as good). With Meta OT its "
        f"accuracy changes by {change:+.2f} points ({_word(abs(change) <= _SAME)}: {_SAME:g}). "
        f"Problems of the last epoch take {warm:.1f} passes from the prediction, and {cold:.1f} "
        f"from zeros ({_word(warm < cold)}: fewer). A pass over ten classes costs next to nothing: "
        f"transport takes {seconds['WAR, Meta OT']:.0f} s of a training with the model, and "
        f"{seconds['WAR']:.0f} s without.\n"
    )


def _word(is_met: bool) -> str:
    return "asked and met" if is_met else "asked and missed"


def mean_text(cells: list[dict], key: str, form: str) -> str:
    """Return the mean over seeds, or nothing where it is not measured."""
    if key not in cells[0]:
        return ""
    return format(np.mean([cell[key] for cell in cells]), form)


def spread(cells: list[dict], key: str, factor: float) -> str:
    """Return the mean over seeds and the standard deviation."""
    values = factor * np.array([cell[key] for cell in cells])
    deviation = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{deviation}"
