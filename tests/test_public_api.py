"""The public API is what `public_api.txt` says: names, signatures and defaults, methods.

A change there is a change for users. Make it on purpose, with a line in `docs/whats_new.md` and,
where something goes, a deprecation (`skot.utils.deprecation`); then write the list anew with
``python tests/test_public_api.py``.
"""

import importlib
import inspect
import re
from difflib import unified_diff
from pathlib import Path

from _api_pages import public_names

LIST = Path(__file__).with_name("public_api.txt")


def shown(signature):
    """A signature without annotations: parameters and defaults."""
    parameters = [_plain(parameter) for parameter in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=signature.empty))


def _plain(parameter):
    default = parameter.default
    if (
        inspect.isclass(default) and default is not parameter.empty
    ):  # as one writes it, without the private module it lives in
        default = type("Name", (), {"__repr__": lambda _: parameter.default.__name__})()
    return parameter.replace(annotation=parameter.empty, default=default)


def described(name, value):
    """Lines for a public name, with those of the members of a class."""
    if not callable(value):
        yield f"{name}: {type(value).__name__}"
        return
    yield name + shown(inspect.signature(value))
    if not inspect.isclass(value):
        return
    for member in dir(value):
        hidden = member.startswith("_") and member != "__call__"
        if hidden or not defined_in_skot(value, member):
            continue
        # Not what a property holds: a component's class attribute may be callable too.
        if callable(getattr(value, member)):
            yield f"{name}.{member}{shown(inspect.signature(getattr(value, member)))}"
        else:
            yield f"{name}.{member}"


def defined_in_skot(cls, member):
    """Whether a member is of skot: not scikit-learn's or torch's, nor what all components have."""
    owner = next((base for base in cls.__mro__ if member in vars(base)), cls)
    generated = re.fullmatch(r"set_\w+_request|get_metadata_routing", member)
    return (
        owner.__module__.startswith("skot.") and owner.__module__ != "skot.base" and not generated
    )


def public_api():
    lines = set()
    for module, name in public_names():
        value = getattr(importlib.import_module(module), name)
        lines.update(described(f"{module}.{name}", value))
    return sorted(lines)


def test_public_api():
    listed = LIST.read_text(encoding="utf-8").splitlines()
    changes = list(unified_diff(listed, public_api(), "public_api.txt", "skot", lineterm="", n=0))
    assert changes == [], "\n".join(["The public API has changed:", *changes, "", __doc__])


def test_the_list_would_notice():
    api = public_api()
    assert (
        "skot.GaussianTransport.score(self, X, y=None, sample_weight=None, *, sample_domain=None)"
        in api
    )
    assert any(line.startswith("skot.SinkhornTransport(epsilon=0.05, *, residual=") for line in api)
    assert "skot.SinkhornTransport.coupling_" in api
    assert not any("_repr_html_" in line or "._map" in line for line in api)


if __name__ == "__main__":
    LIST.write_text("\n".join(public_api()) + "\n", encoding="utf-8")
