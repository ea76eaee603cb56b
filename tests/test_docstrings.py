"""Docstrings of public names: what numpydoc asks for, and the sections of estimators."""

import ast
import functools
import importlib
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from _api_pages import public_names
from sklearn.base import BaseEstimator

import skot

# Not asked for: See Also, an example and an extended summary of every method, and Returns
# without names, which are given here as in NumPy.
HOUSE_STYLE = {"SA01", "EX01", "ES01", "RT02"}

PACKAGE = Path(skot.__file__).parent
# Authors of transports read what is not on the API pages, too.
FOR_THIRD_PARTIES = [PACKAGE / "utils" / "estimator_checks.py"]


def public_objects():
    """Qualified name and value of everything that users reach."""
    for module, name in public_names():
        value = getattr(importlib.import_module(module), name)
        yield f"{module}.{name}", value
        if inspect.isclass(value):
            for member in dir(value):
                if is_public_member(value, member):
                    yield f"{module}.{name}.{member}", getattr(value, member)


def is_public_member(owner, name):
    """Whether it is a method or a property that a class has from skot."""
    # scikit-learn makes and documents `set_fit_request` and the like.
    if (name.startswith("_") and name != "__call__") or name.endswith("_request"):
        return False
    home = next(base for base in owner.__mro__ if name in vars(base))
    value = getattr(owner, name)
    kinds = property | functools.cached_property
    return home.__module__.startswith("skot") and (
        inspect.isroutine(value) or isinstance(value, kinds)
    )


def is_documented_elsewhere(value):
    """Whether the parameters of a class are not expected under Parameters.

    Records (dataclasses, named tuples) list their fields under Attributes, which is what users
    read; the constructor of torch.nn.Module, which takes ``*args, **kwargs``, is torch's own.
    """
    if not inspect.isclass(value):
        return False
    of_torch = getattr(value.__init__, "__module__", "").startswith("torch.")
    return of_torch or is_record(value)


def is_record(value):
    return "__dataclass_fields__" in vars(value) or hasattr(value, "_fields")


def undocumented_fields(value, doc):
    """Fields of a record that are neither under Attributes nor under Parameters."""
    documented = {
        name.strip()
        for section in ("Attributes", "Parameters")
        for parameter in doc[section]
        for name in parameter.name.split(",")
    }
    return set(inspect.signature(value).parameters) - documented


@pytest.fixture(scope="module")
def errors_of():
    validation = pytest.importorskip("numpydoc.validate")
    from numpydoc.docscrape import get_doc_object

    class Inherited(validation.Validator):
        """Takes the docstring of the base class where a method has none, as Sphinx does."""

        def __init__(self, obj_name):
            super().__init__(get_doc_object(obj_name))
            if not self.raw_doc and (inherited := inspect.getdoc(obj_name)):
                self.raw_doc = inherited + "\n"

    def errors(value):
        found = dict(validation.validate(value, validator_cls=Inherited)["errors"])
        if is_documented_elsewhere(value):
            found.pop("PR01", None)
            if is_record(value) and (missing := undocumented_fields(value, get_doc_object(value))):
                found["PR01"] = f"Fields {sorted(missing)} not documented"
        return {code: text for code, text in found.items() if code not in HOUSE_STYLE}

    return errors


def test_numpydoc_finds_nothing(errors_of):
    checked = list(public_objects())
    assert len(checked) > 300
    offenders = [
        f"{name}: {code} {text}"
        for name, value in checked
        for code, text in errors_of(value).items()
    ]
    if offenders:
        pytest.fail("\n".join(offenders), pytrace=False)


def test_the_check_finds_what_is_missing(errors_of):
    def undocumented(x):
        return x

    def half_documented(x):
        """Return x."""
        return x

    @dataclass
    class Record:
        """Two numbers.

        Attributes
        ----------
        first : float
            One of them.
        """

        first: float
        second: float

    class Derived(skot.SinkhornTransport):
        """A transport."""

        def score(self, X, y=None, sample_weight=None, *, sample_domain=None):
            return 0.0

    assert set(errors_of(undocumented)) == {"GL08"}
    assert set(errors_of(half_documented)) == {"PR01", "RT01"}
    assert errors_of(Record) == {"PR01": "Fields ['second'] not documented"}
    assert "PR01" in errors_of(Derived)


def public_estimators():
    for name in sorted(skot.__all__):
        value = getattr(skot, name)
        if inspect.isclass(value) and issubclass(value, BaseEstimator):
            yield name, value


def test_sections_of_estimators():
    def has(value, section):
        return f"\n{section}\n{'-' * len(section)}\n" in inspect.cleandoc(value.__doc__)

    offenders = [
        f"{name} has no section {section}"
        for name, value in public_estimators()
        for section in ("Parameters", "Attributes", "See Also", "Examples")
        if not has(value, section)
    ]
    offenders += [
        f"{name} has neither Notes nor References"
        for name, value in public_estimators()
        if not (has(value, "Notes") or has(value, "References"))
    ]
    assert len(list(public_estimators())) >= 9
    if offenders:
        pytest.fail("\n".join(offenders), pytrace=False)


def documented_names(text):
    """Every class and function of a module that has a docstring, and what that is."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and (doc := ast.get_docstring(node)):
            yield node, doc


def sections(doc):
    return re.findall(r"^(\w[\w ]*)\n-{3,}$", doc, re.MULTILINE)


def superfluous_sections(node, doc):
    """Sections that a private class or function has no need of."""
    # Private classes are frozen records for the most part: the shapes of their attributes are
    # worth a list, and stand nowhere else.
    allowed = {"Attributes"} if isinstance(node, ast.ClassDef) else set()
    return [section for section in sections(doc) if section not in allowed]


def test_private_names_are_brief():
    # By their text, so that what public classes inherit from private ones counts as public.
    public = {inspect.getdoc(value) for _, value in public_objects()}
    offenders = [
        f"{path.relative_to(PACKAGE)}: {node.name} has the section {', '.join(found)}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path not in FOR_THIRD_PARTIES
        for node, doc in documented_names(path.read_text(encoding="utf-8"))
        if doc not in public and (found := superfluous_sections(node, doc))
    ]
    if offenders:
        pytest.fail("\n".join(["Nobody outside reads these:", *offenders]), pytrace=False)


def test_sections_are_found():
    text = '''
class Record:
    """Something.

    Attributes
    ----------
    x : int
        A number.

    See Also
    --------
    y : Another.
    """

    def brief(self):
        """Return a number ---- of shape (n,)."""

    def lengthy(self):
        """Return a number.

        Attributes
        ----------
        x : int
            A number.
        """
'''
    documented = {node.name: (node, doc) for node, doc in documented_names(text)}
    found = {name: sections(doc) for name, (_, doc) in documented.items()}
    assert found == {"Record": ["Attributes", "See Also"], "brief": [], "lengthy": ["Attributes"]}
    superfluous = {name: superfluous_sections(*item) for name, item in documented.items()}
    assert superfluous == {"Record": ["See Also"], "brief": [], "lengthy": ["Attributes"]}
