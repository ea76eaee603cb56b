"""What the decision page says of the estimators is so."""

import inspect
import re
from pathlib import Path

import pytest

import skot

PAGE = Path(__file__).resolve().parents[1] / "docs" / "choosing.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("## Side by side")[2].partition("\n\nNot")[0]
HEADS, _, *ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.strip().splitlines()
]


def estimator_of(row):
    return re.search(r"~skot\.(\w+)`", row[0])[1]


def test_every_estimator_has_a_row():
    estimators = {name for name in skot.__all__ if inspect.isclass(getattr(skot, name))}
    assert {estimator_of(row) for row in ROWS} == estimators - {"DomainAdaptation"}


@pytest.mark.parametrize("row", ROWS, ids=estimator_of)
def test_row(row):
    cls = getattr(skot, estimator_of(row))
    said = {
        head.strip("`"): not cell.startswith("no") for head, cell in zip(HEADS, row, strict=True)
    }
    parameters = inspect.signature(cls.fit).parameters
    own = inspect.signature(cls).parameters
    # MetaW2GN returns a transport, which has the rest.
    moves = said["map of new rows"] and cls is not skot.MetaW2GN
    assert hasattr(cls, "transform") == moves
    assert hasattr(cls, "inverse_transform") == (said["way back"] and moves)
    assert (
        any(hasattr(cls, name) for name in ("coupling_", "predict_coupling", "sample_transform"))
        == (said["plan"])
    )
    assert ("reference" in own) == said["without a target"]
    assert hasattr(cls, "partial_fit") == said["partial_fit"]
    assert ("sample_weight" in parameters) == said["sample_weight"]
    assert ("max_iter" in own and "batch_size" in own) == said["trains a network"]
