"""Table of bench_second_derivatives.py."""

from _tables import number, table

NAMES = {
    "value": "the value alone",
    "gradient": "value and gradient in the points",
    "product": "a product with the Hessian, after them",
    "streamed value": 'the value alone, `storage="stream"`',
    "streamed product": "a product with the Hessian, streamed too",
}


def times_the_value(cells: dict, what: str) -> float:
    """Return a time over that of the value alone, stored in the same way."""
    value = "streamed value" if what.startswith("streamed") else "value"
    return cells[what]["seconds"] / cells[value]["seconds"]


def second_derivatives_section(cells: dict) -> str:
    """Return the section of the page."""
    value = cells["value"]
    costs = [
        [
            NAMES[what],
            f"{1e3 * cells[what]['seconds']:.0f} ms",
            number(times_the_value(cells, what)),
            f"{cells[what]['peak']:.0f} MB",
        ]
        for what in NAMES
    ]
    errors = [
        [f"{cell['epsilon']:g}", *(f"{cell[name]:.0e}" for name in ("points", "weights", "costs"))]
        for key, cell in cells.items()
        if key.startswith("epsilon=")
    ]
    return f"""## Second derivatives

What a derivative of `skot.solvers.sinkhorn(...).dual_value` costs between two clouds of
{value["n"]} points in {value["d"]} dimensions at a relative epsilon of .05 and the default
tolerance: processor time on one core (median), and peak memory over what was held before the first
call of a process.

{table(["call", "time", "times the value", "memory"], costs)}

Streamed calls are compared with the streamed value.

Relative errors of products with the Hessian between 30 points, in the Euclidean norm, against
central differences of the exact gradient, whose own error is part of them:

{table(["relative epsilon", "points", "weights", "costs"], errors)}
"""
