"""Turn the results into docs/benchmarks.md."""


def render_all() -> None:
    """Write the page."""
