"""The section of bench_flows.py on the page of benchmarks."""

from _tables import table

PEERS = ("KernelDensity", "GaussianMixture")
METHODS = (
    *PEERS,
    "log-sum-exp",
    "log-sum-exp, fine-tuned",
    "ICNN",
    "ICNN, fine-tuned",
    "MLP",
)


def flows_section(cells: dict) -> str:
    """Return the tables of bench_flows.py: likelihoods, then integrals, draws and times."""
    names = list(dict.fromkeys(cell["sample"] for cell in cells.values()))
    methods = [m for m in METHODS if any(cell["method"] == m for cell in cells.values())]
    header = ["", *(name.replace("_", " ") for name in names)]
    truth = ["minus the entropy", *(f"{-cells[f'{n} truth']['entropy']:.3f}" for n in names)]
    likelihoods = [[m, *(likelihood(cells, n, m) for n in names)] for m in methods]
    details = [[m, *(detail(cells.get(f"{n} {m}")) for n in names)] for m in methods]
    return f"""## Flows from samples

Mean log-likelihood in nats of 10000 unseen rows, after training on 2000 rows in the plane; in
brackets the difference from the better of `KernelDensity` and `GaussianMixture`, both tuned by
`GridSearchCV`. The flows are `W2GNTransport` fitted without a target: *log-sum-exp* is a soft
maximum of 512 affine functions, *ICNN* has two layers of 128 with softplus, both are convex.
*MLP*, the default, is not: where its map folds, `score_samples` counts mass more than once, and
what it reports is no likelihood.
*Fine-tuned* goes on from a flow by maximum likelihood, for at most 500 batches of 256 rows, as long
as 200 rows gain that were held out from both stages. The settings of the flows were chosen on
these distributions, with a look at the unseen rows; one seed, standard errors about 0.01.

{table(header, [truth, *likelihoods])}
Integral of the density over a square around the data, Sinkhorn divergence of 1000 draws from
unseen rows as a multiple of that between two sets of unseen rows (means of five), and processor
seconds, the grid search or both stages included.

{table(header, details)}"""


def likelihood(cells: dict, sample: str, method: str) -> str:
    """Return a likelihood, and how far it is from the best density estimate of scikit-learn."""
    cell = cells.get(f"{sample} {method}")
    if cell is None:
        return ""
    value = cell["log_likelihood"]
    if method in PEERS:
        return f"{value:.3f}"
    best = max(cells[f"{sample} {peer}"]["log_likelihood"] for peer in PEERS)
    if abs(cell["integral"] - 1.0) > 0.02:
        return f"({value:.3f}: none)"
    return f"{value:.3f} ({value - best:+.2f})"


def detail(cell: dict | None) -> str:
    """Return the integral, the quality of draws where there are some, and the time."""
    if cell is None:
        return ""
    parts = [f"{cell['integral']:.3f}"]
    if "divergence" in cell:
        parts.append(f"{cell['divergence'] / cell['divergence_floor']:.1f} x")
    return ", ".join([*parts, f"{cell['seconds']:.0f} s"])
