"""Sinkhorn's iteration from predicted potentials: which are trusted, and solves of both kinds."""

from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from skot.solvers import SemiDual, SinkhornResult, sinkhorn
from skot.utils._warnings import warn_not_converged


def trusted_start(
    semi_dual: SemiDual, f: Tensor, a: Tensor, b: Tensor, max_start_error: float | None
) -> tuple[Tensor, Tensor]:
    """Return the half steps of predicted potentials, and which of them are good enough.

    The half step costs what it costs anyway, and tells the L1 error of the source marginal. No
    local quantity tells how many passes a start will take: a prediction may be right in most
    places and wrong by a constant on a part that exchanges almost no mass with the rest. Those of
    a small error are almost never worse than zeros; see the benchmark of the transfer to other
    distributions.
    """
    step = semi_dual.step(f, a, b)
    error = (step.source_marginal - a).abs().sum(1)
    trusted = torch.isfinite(step.target_potential).all(1)
    if max_start_error is not None:
        trusted &= error <= max_start_error
    return step.target_potential, trusted


def solve_from(
    cost: Any, epsilon: float, a: Tensor, b: Tensor, g: Tensor, trusted: Tensor, **options: Any
) -> SinkhornResult:
    """Solve problems from trusted potentials, and the others without; `options` of `sinkhorn`."""
    parts = []
    for chosen, starts_at_g in ((trusted, True), (~trusted, False)):
        if bool(chosen.any()):
            initializer = g[chosen] if starts_at_g else None
            result = sinkhorn(
                a=a[chosen],
                b=b[chosen],
                cost=cost,
                epsilon=epsilon,
                initializer=initializer,
                **options,
            )
            parts.append((chosen.nonzero()[:, 0], result))
    result = parts[0][1] if len(parts) == 1 else _merged(parts)
    n_failed = int((~cast(Tensor, result.converged)).sum())
    if n_failed:
        warn_not_converged(
            f"{n_failed} of {len(a)} problems did not converge to tol={options['tol']:g} in "
            f"{options['max_iter']} iterations. Increase max_iter or tol."
        )
    return result


def _merged(parts: list[tuple[Tensor, SinkhornResult]]) -> SinkhornResult:
    """One result of problems that were solved in parts, in their old order."""
    results = [result for _, result in parts]
    order = torch.cat([rows for rows, _ in parts]).argsort().to(results[0].f.device)
    longest = max(results, key=lambda result: result.n_iter)
    plans = [plan for result in results for plan in cast(tuple, result.plan)]
    fields: dict[str, Any] = {
        name: torch.cat([getattr(result, name) for result in results])[order]
        for name in ("f", "g", "marginal_error", "converged", "dual_value", "passes")
    }
    return replace(longest, plan=tuple(plans[k] for k in order.tolist()), **fields)
