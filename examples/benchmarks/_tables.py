"""Markdown tables and numbers of the page of benchmarks."""

import numpy as np


def table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    rule = ["---" if k == 0 else "---:" for k in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows]) + "\n"


def number(value: float) -> str:
    """Return three significant digits, without an exponent."""
    return np.format_float_positional(
        float(f"{value:.3g}"), trim="-", precision=4 if value < 1 else None
    )
