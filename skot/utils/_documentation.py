"""Links from the HTML representation of estimators to their pages in the documentation."""

import sys
from itertools import takewhile
from typing import Any, ClassVar

__all__ = ["DocumentationLinkMixin"]


class DocumentationLinkMixin:
    """Let the diagram of an estimator link to its page, and its parameters to their description.

    Everything pluggable inherits from it through `skot.base.ComponentParamsMixin`. Subclasses that
    are defined outside skot show no link: scikit-learn compares the names of the packages.

    Put it on the left of `BaseEstimator`.
    """

    _doc_link_module: ClassVar[str] = "skot"
    # The documentation's own build replaces it, so that its pages link to each other.
    _doc_link_template: ClassVar[str] = (
        "https://skot.readthedocs.io/en/stable/generated/{public_module}.{name}.html"
    )

    def _doc_link_url_param_generator(self) -> dict[str, Any]:
        return {"public_module": _public_module(type(self)), "name": type(self).__name__}


def _public_module(cls: type) -> str:
    """Name of the shortest module that offers the class: what users import it from."""
    public = list(takewhile(lambda part: not part.startswith("_"), cls.__module__.split(".")))
    names = [".".join(public[: i + 1]) for i in range(len(public))]
    offering = (name for name in names if getattr(sys.modules[name], cls.__name__, None) is cls)
    return next(offering, names[-1])
