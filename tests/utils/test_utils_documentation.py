"""Estimators and components link to pages that the documentation has."""

import importlib
import inspect

import pytest
from _api_pages import public_names
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skot
from skot.base import ComponentParamsMixin


def linked_classes():
    for module, name in public_names():
        value, page = getattr(importlib.import_module(module), name), f"{module}.{name}"
        if (
            inspect.isclass(value)
            and issubclass(value, BaseEstimator)
            and (not inspect.isabstract(value))
        ):
            yield pytest.param(value, page, id=page)


@pytest.mark.parametrize(("cls", "page"), list(linked_classes()))
def test_link(cls, page):
    instance = cls.__new__(cls)
    assert isinstance(instance, ComponentParamsMixin)
    assert instance._get_doc_link().endswith(f"/generated/{page}.html")


def test_diagram_links_to_the_page_and_the_parameters():
    diagram = make_pipeline(StandardScaler(), skot.SinkhornTransport(epsilon=0.1))._repr_html_()
    page = skot.SinkhornTransport()._get_doc_link()
    assert f'href="{page}"' in diagram
    assert f"{page}#:~:text=epsilon" in diagram


def test_class_of_another_package_has_no_link():
    class Mine(skot.SinkhornTransport):
        pass

    assert Mine()._get_doc_link() == ""
