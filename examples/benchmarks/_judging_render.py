"""The section of bench_judging.py on the page of benchmarks."""

import numpy as np
from _tables import number, table
from scipy.stats import spearmanr

STATISTICS = {
    "sinkhorn": "Sinkhorn divergence of the samples (skot 0.1)",
    "energy": "energy distance, unbiased",
    "split": "split Sinkhorn divergence (`score`)",
}
#: Judged, and not among what is chosen from.
APART = ("collapsed", "true")
#: What is asked for.
_MEAN, _LEAST, _REGRET, _ERRORS, _MANY = 0.88, 0.6, 1.3, 10.0, 10

_INTRODUCTION = """## Judging maps

How well do scores that know no map order maps whose error is known? Pairs with a known map: of the
kind of the Wasserstein-2 benchmark in 2, 10, 64 and 256 dimensions, and linear in 64, with 200 and
500 rows a side to fit with; and two parts of Amazon (Office-Caltech) or of MNIST, in 50 principal
components, one of which is deformed by the gradient of a convex function. Candidates: the plain
entropic map at six values of `epsilon`, the debiased one (`residual=1`) at five,
`GaussianTransport` at three of `shrinkage`, the shift of the means, and the identity. The error of
a map is its mean squared error over the variance of the true images. The regularisation of the
split divergence was chosen on other seeds.

*Order* is Spearman's correlation of the score with minus the error over the 16 candidates, in the
mean over problems and draws, and the least one. *Regret* is the error of the candidate with the
best score over the least error, in the geometric mean and the largest. *True first*: how often the
true map, which is no candidate, scores better than all of them. *Collapsed*: the best place among
the 17 of a map that sends all rows to the target's mean, over all problems and draws.
"""


def judging_section(cells: dict) -> str:
    """Return the tables of bench_judging.py."""
    problems = list(cells.values())
    text = _INTRODUCTION
    for rows, title in (
        ("held_out", "As many held-out rows as fitted ones"),
        ("folds", "Mean of five folds, each fitted on the others"),
    ):
        text += f"\n### {title}\n\n" + statistics_table(problems, rows)
    text += "\n### Problem by problem\n\n"
    text += "Order and regret by the split divergence on held-out rows, means over draws.\n\n"
    text += problem_table(problems)
    text += "\n" + verdict(problems)
    text += "\n### The choice of epsilon within the plain family\n\n"
    text += dual_table(problems)
    return text + "\n" + searched_text(problems)


def statistics_table(problems: list[dict], rows: str) -> str:
    """Return a line for each statistic."""
    lines = []
    for key, name in STATISTICS.items():
        orders = [order(cell, rows, key) for cell in problems]
        regrets = [regret(cell, rows, key) for cell in problems]
        firsts = [place(cell, rows, key, "true") == 1 for cell in problems]
        places = [place(cell, rows, key, "collapsed") for cell in problems]
        lines.append(
            [
                name,
                f"{np.mean(orders):.2f}",
                f"{min(orders):.2f}",
                f"{geometric(regrets):.2f}",
                f"{max(regrets):.1f}",
                f"{sum(firsts)} of {len(firsts)}",
                f"{min(places)}",
            ]
        )
    header = ["", "order", "least", "regret", "largest", "true first", "collapsed"]
    return table(header, lines)


def problem_table(problems: list[dict]) -> str:
    """Return a line for each problem."""
    lines = []
    for name in dict.fromkeys(cell["name"] for cell in problems):
        draws = [cell for cell in problems if cell["name"] == name]
        lines.append(
            [
                name,
                *(
                    f"{np.mean([order(cell, 'held_out', key) for cell in draws]):.2f}"
                    for key in STATISTICS
                ),
                f"{geometric([regret(cell, 'held_out', 'split') for cell in draws]):.2f}",
                number(min(errors_behind(cell) for cell in draws)),
            ]
        )
    header = ["", "Sinkhorn", "energy", "split", "regret (split)", "collapsed behind, errors"]
    return table(header, lines)


def dual_table(problems: list[dict]) -> str:
    """Compare `HeldOutDualScorer` with the split divergence on the six plain maps."""
    lines = []
    for rows, title in (("held_out", "held-out rows"), ("folds", "five folds")):
        for name, values in (
            ("HeldOutDualScorer", lambda cell, rows=rows: cell["dual"][rows]),
            ("`score`", lambda cell, rows=rows: _values(cell, rows, "split")),
        ):
            orders, regrets = [], []
            for cell in problems:
                plain = [key for key in cell["errors"] if key.startswith("plain")]
                errors = np.array([cell["errors"][key] for key in plain])
                found = np.array([values(cell)[key] for key in plain])
                orders.append(spearmanr(errors, found)[0])
                regrets.append(errors[found.argmin()] / errors.min())
            lines.append(
                [
                    f"{name}, {title}",
                    f"{np.mean(orders):.2f}",
                    f"{min(orders):.2f}",
                    f"{geometric(regrets):.2f}",
                    f"{max(regrets):.1f}",
                ]
            )
    return table(["", "order", "least", "regret", "largest"], lines)


def verdict(problems: list[dict]) -> str:
    """Say what was asked for and whether it is met."""
    orders = [order(cell, "held_out", "split") for cell in problems]
    regrets = [regret(cell, "held_out", "split") for cell in problems]
    places = [
        place(cell, rows, "split", "collapsed")
        for cell in problems
        for rows in ("held_out", "folds")
    ]
    behind = min(errors_behind(cell) for cell in problems if cell["n_features"] >= _MANY)
    return (
        f"Held-out rows, split divergence: mean order {np.mean(orders):.3f} "
        f"({_word(np.mean(orders) >= _MEAN)}: {_MEAN:g}), least {min(orders):.2f} "
        f"({_word(min(orders) >= _LEAST)}: {_LEAST:g}), regret {geometric(regrets):.2f} "
        f"({_word(geometric(regrets) <= _REGRET)}: {_REGRET:g}); a collapsed map is "
        f"{'never' if min(places) > 1 else 'sometimes'} first "
        f"({_word(min(places) > 1)}: never), and from ten features on at least {behind:.1f} "
        "standard errors behind the best candidate, those of both scores added as if they were "
        f"independent ({_word(behind >= _ERRORS)}: {_ERRORS:g}).\n"
    )


def searched_text(problems: list[dict]) -> str:
    """Say what GridSearchCV chose."""
    searched = [cell for cell in problems if "searched" in cell]
    if not searched:
        return ""
    text = f"`GridSearchCV` over the 16 candidates on five folds of {len(searched)} problems: "
    parts = []
    for key, name in (("split", "`score`"), ("sinkhorn", "the divergence of 0.1")):
        regrets = [_chosen_regret(cell, cell["searched"][key]) for cell in searched]
        parts.append(
            f"by {name} the error of the choice is {geometric(regrets):.2f} times the least one "
            f"in the geometric mean, at most {max(regrets):.1f} times"
            + (f" ({_word(geometric(regrets) <= _REGRET)}: {_REGRET:g})" if key == "split" else "")
        )
    return text + "; ".join(parts) + ".\n"


def order(cell: dict, rows: str, key: str) -> float:
    """Return Spearman's correlation of a distance with the error, over the candidates."""
    names = _candidates(cell)
    values = _values(cell, rows, key)
    return float(
        spearmanr([cell["errors"][name] for name in names], [values[name] for name in names])[0]
    )


def regret(cell: dict, rows: str, key: str) -> float:
    """Return the error of the candidate of the least distance over the least error."""
    values = _values(cell, rows, key)
    return _chosen_regret(cell, min(_candidates(cell), key=values.__getitem__))


def place(cell: dict, rows: str, key: str, name: str) -> int:
    """Return the place of a map that is no candidate among them and itself."""
    values = _values(cell, rows, key)
    return 1 + sum(values[other] < values[name] for other in _candidates(cell))


def errors_behind(cell: dict) -> float:
    """Return how far the collapsed map is behind the best candidate, in standard errors."""
    held_out = cell["held_out"]
    best = min(_candidates(cell), key=lambda name: held_out[name]["split"])
    gap = held_out["collapsed"]["split"] - held_out[best]["split"]
    errors = (held_out[name]["standard_error"] for name in ("collapsed", best))
    return gap / float(np.hypot(*errors))


def geometric(values: list[float]) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def _chosen_regret(cell: dict, name: str) -> float:
    return cell["errors"][name] / min(cell["errors"][key] for key in _candidates(cell))


def _candidates(cell: dict) -> list[str]:
    return [name for name in cell["errors"] if name not in APART]


def _values(cell: dict, rows: str, key: str) -> dict[str, float]:
    return {name: values[key] for name, values in cell[rows].items()}


def _word(is_met: bool) -> str:
    return "asked and met" if is_met else "asked and missed"
