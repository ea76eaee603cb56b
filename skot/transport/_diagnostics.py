"""What there is to judge any transport by, with verdicts in words."""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skot.measures import EmpiricalMeasure
from skot.metrics import judge_by, total_variance, warn_if_not_solved
from skot.utils._warnings import warn_user

#: Standard errors within which a divergence is noise; the error is conservative for equal laws.
_NOISE = 2.0
#: Shares of the target's variance: below the first a map that should fill the target has collapsed,
#: between the second and the third its spread is the target's as far as 100 rows can tell.
_COLLAPSED, _LESS, _MORE = 0.5, 0.8, 1.25
#: Quantile of the distances between neighbours beyond which a row is outside the fitted ones, and
#: the share of rows above which that is no chance: as many again as rows of the fit would give.
_INSIDE, _MANY_OUTSIDE = 0.99, 0.05


class Conditioning(NamedTuple):
    """How well determined a map is: a number, what it counts, and what it says."""

    value: float | None
    what: str
    verdict: str


@dataclass(frozen=True)
class TransportDiagnostics:
    """How well a transport does on some rows, with a verdict in words for each number.

    ``print`` shows a line for each.

    Attributes
    ----------
    divergence : float
        Split Sinkhorn divergence of the moved rows to the target, in squared units of the data
        (:func:`skot.metrics.split_sinkhorn_divergence`). Zero in expectation where they follow the
        target. ``score`` is minus this over `target_variance`.
    divergence_error : float
        Its standard error.
    divergence_before : float
        The same divergence of the source rows as they are.
    spread : float
        Total variance of the moved rows.
    target_variance : float
        Variance of the target rows, summed over features.
    outside : float or None
        Share of the source rows that are farther from the rows of the fit than 99 % of those are
        from each other, each from its nearest; on at most 1000 rows of the fit. None where the
        transport does not keep its rows.
    converged : bool or None
        `converged_` of the transport, None where there is none.
    conditioning : float or None
        What `conditioning_of` says: of an entropic map how many target rows an image averages, of
        an affine one how much more it stretches one direction than another. None where the
        transport has no such number.
    conditioning_of : str
        What `conditioning` counts.
    verdicts : dict of str to str
        What the numbers say, by "arrival", "spread", "outside", "convergence" and "conditioning".

    See Also
    --------
    skot.SinkhornTransport.diagnose : Gives one, as that of every transport.

    Notes
    -----
    A divergence within two standard errors of zero is called noise. A total variance below half
    of the target's is called a collapse. Numbers of rows that ``fit`` has seen are too good: take
    others.
    """

    divergence: float
    divergence_error: float
    divergence_before: float
    spread: float
    target_variance: float
    outside: float | None
    converged: bool | None
    conditioning: float | None
    conditioning_of: str
    verdicts: dict[str, str] = field(hash=False)

    @property
    def divergence_floor(self) -> float:
        """What sampling alone gives: the standard error of the divergence."""
        return self.divergence_error

    def __str__(self) -> str:
        """Return a line for each number, with its verdict."""
        lines = self._lines()
        width = max(map(len, lines))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in lines.items())

    def _lines(self) -> dict[str, str]:
        """Numbers and verdicts by what they are about."""
        numbers = {
            "arrival": f"divergence {self.divergence:.3g} +- {self.divergence_error:.2g}, "
            f"before {self.divergence_before:.3g}",
            "spread": f"variance {self.spread:.3g}, target {self.target_variance:.3g}",
            "outside": "" if self.outside is None else f"{100 * self.outside:.1f} % of the rows",
            "convergence": "",
            "conditioning": ""
            if self.conditioning is None
            else f"{self.conditioning:.3g} {self.conditioning_of}",
        }
        parts = ((name, (number, self.verdicts[name])) for name, number in numbers.items())
        return {name: ": ".join(filter(None, pair)) for name, pair in parts}


def common_numbers(
    source: EmpiricalMeasure,
    target: EmpiricalMeasure,
    moved: EmpiricalMeasure,
    fitted: EmpiricalMeasure | None,
    converged: bool | None,
    conditioning: Conditioning | None,
) -> dict[str, Any]:
    """Return the attributes of diagnostics from what was judged."""
    after, before = judge_by(target, moved), judge_by(target, source)
    warn_if_not_solved("diagnose", [after, before])
    value, value_before = float(after.value), float(before.value)
    errors = after.standard_error, before.standard_error
    spread, target_variance = total_variance(moved), total_variance(target)
    outside = None if fitted is None else outside_share(source, fitted.points)
    if conditioning is None:
        conditioning = Conditioning(None, "", "not known")
    return {
        "divergence": value,
        "divergence_error": errors[0],
        "divergence_before": value_before,
        "spread": spread,
        "target_variance": target_variance,
        "outside": outside,
        "converged": converged,
        "conditioning": conditioning.value,
        "conditioning_of": conditioning.what,
        "verdicts": {
            "arrival": arrival_verdict(value, value_before, errors, target_variance),
            "spread": spread_verdict(spread, target_variance),
            "outside": outside_verdict(outside),
            "convergence": convergence_verdict(converged),
            "conditioning": conditioning.verdict,
        },
    }


def convergence_verdict(converged: bool | None) -> str:
    """Say whether the fit went to its end."""
    if converged is None:
        return "nothing iterates"
    return "converged" if converged else "not converged: see the warning of fit"


def arrival_verdict(
    value: float, before: float, errors: tuple[float, float], variance: float
) -> str:
    """Say whether rows arrived, from divergences after and before, and their standard errors."""
    error = errors[0]
    if not error >= 0.0:
        return "too few rows to tell"
    if value < -_NOISE * error:
        return "closer to the target than another sample of it: these rows were fitted to it"
    if value <= _NOISE * error:
        return "within sampling noise of the target"
    noise = _NOISE * math.hypot(*errors)
    if value > before + noise:
        return "farther from the target than before the transport"
    if value > before - noise:
        return "no nearer to the target than before the transport"
    share = f" by {100 * value / variance:.2g} % of its variance" if variance > 0.0 else ""
    return f"beside the target{share}"


def spread_verdict(spread: float, target: float) -> str:
    """Say whether moved rows are as spread as the target."""
    if target <= 0.0:
        return "the target has none"
    ratio = spread / target
    if ratio < _COLLAPSED:
        return f"collapsed: {ratio:.2g} of the target's spread"
    if ratio < _LESS:
        return f"less spread than the target, {ratio:.2g} of it"
    if ratio > _MORE:
        return f"more spread than the target, {ratio:.3g} times"
    return "as spread as the target"


def outside_verdict(share: float | None) -> str:
    """Say whether the map was asked about places that it has not seen."""
    if share is None:
        return "not known, the transport keeps no rows"
    if share > _MANY_OUTSIDE:
        return "outside the data of the fit, where the map extrapolates"
    return "inside the data of the fit"


def outside_share(source: EmpiricalMeasure, fitted: Tensor) -> float:
    """Share of the mass of rows that is farther from fitted rows than these are from each other."""
    within = torch.cdist(fitted, fitted)
    within.fill_diagonal_(torch.inf)
    limit = torch.quantile(within.amin(1), _INSIDE)
    # Up to rounding: a row that was fitted is inside, also where all fitted rows coincide.
    limit = limit + 1e-9 * fitted.abs().max()
    nearest = torch.cdist(source.points, fitted).amin(1)
    return float(source.weights[nearest > limit].sum())


def check_halves(what: str, source: EmpiricalMeasure, target: EmpiricalMeasure) -> None:
    """Raise unless both sides have a row for each half."""
    sizes = {"source": len(source.points), "target": len(target.points)}
    for side, size in sizes.items():
        if size < 2:
            raise ValueError(
                f"{what} compares halves of the samples, so it needs at least 2 rows of positive "
                f"weight a side. Got {size} {side} row."
            )


def warn_of_missing_weights(name: str, what: str) -> None:
    """Say that rows, which had weights in ``fit``, count equally now."""
    warn_user(
        f"This {name} was fitted with sample_weight, and {what} has none, so all rows count "
        f"equally. Pass sample_weight to {what} as well, or labels to a scorer where the weights "
        "came from target_shares. In a search, metadata routing does: "
        "sklearn.set_config(enable_metadata_routing=True) and "
        "set_fit_request(sample_weight=True).set_score_request(sample_weight=True)."
    )
