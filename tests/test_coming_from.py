"""The calls that docs/coming_from calls equivalent are equivalent.

Pages run in a process each: importing skada switches metadata routing on for the whole process.
"""

import os
import re
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from _equivalents import PEERS, read_page, run_page

ROOT = Path(__file__).resolve().parents[1]
PATHS = {page: ROOT / "docs" / "coming_from" / f"{page}.md" for page in PEERS}
PAGES = {page: read_page(path) for page, path in PATHS.items()}
PAIRS = [pytest.param(page, pair.name) for page in PAGES for pair in PAGES[page].pairs]


@cache
def outcomes(page, *options):
    """Run a page; return for every pair and name the verdict and all that was printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "_equivalents.py"), *options, str(PATHS[page])],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    # An error outside of the pairs, in a set-up, ends the run.
    assert "Traceback" not in done.stderr, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.count("\t") == 4]
    return {line.split("\t")[3]: (line.split("\t")[0], line) for line in lines}


def both_sides(page):
    if find_spec(PEERS[page]) is None:
        pytest.skip(f"{PEERS[page]} is not installed")
    return outcomes(page)


@pytest.mark.parametrize("page", PAGES)
def test_pairs_have_short_names_of_their_own(page):
    names = [pair.name for pair in PAGES[page].pairs]
    assert len(names) >= 12
    assert len(set(names)) == len(names)
    assert all(name.isascii() and 0 < len(name) <= 50 for name in names)


@pytest.mark.parametrize("page", PAGES)
def test_every_row_of_a_table_of_pairs_is_run(page):
    """A row that is not understood, for a stray bar or two calls in a cell, is not left out."""
    tables = re.findall(
        r"^\| what \| [^|]+ \| skot \|\n\|[-| ]+\|\n((?:\|.*\n)+)",
        PATHS[page].read_text(encoding="utf-8"),
        re.M,
    )
    rows = [
        re.sub(r"[`$*\\]", "", row).split("|")[1].strip() for t in tables for row in t.splitlines()
    ]
    assert rows
    assert set(rows) <= {pair.name for pair in PAGES[page].pairs}


@pytest.mark.parametrize(("page", "name"), PAIRS)
def test_both_sides_have_the_same_value(page, name):
    verdict, line = both_sides(page)[name]
    assert verdict == "ok", line


@pytest.mark.parametrize(("page", "name"), PAIRS)
def test_our_side_runs_without_the_peer(page, name):
    verdict, line = outcomes(page, "--ours")[name]
    assert verdict == "ok", line


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_names_that_are_mentioned_exist(page, side):
    found = outcomes(page, "--ours") if side == "ours" else both_sides(page)
    names = [name for name in PAGES[page].names if name.startswith("skot.") == (side == "ours")]
    assert names
    assert not [found[name][1] for name in names if found[name][0] != "ok"]


PAGE = """
The two agree to 1e-3 of the largest entry.

| what | theirs | skot |
|---|---|---|
| near | `[1.0, 1000.0]` | `[1.5, 1000.0]` |
| far | `[1.0, 1000.0]` | `[3.0, 1000.0]` |
| shapes | `[1.0]` | `1.0` |
| not a number | `[1.0]` | `[float("nan")]` |
| error | `[1.0]` | `[1.0] / 0` |
| only text | `[1.0]` | the same |

Now they agree to 1e-1 of the largest entry; `skot.SinkhornTransport(epsilon=1.0)` exists,
`skot.Nothing` and `skot.SinkhornTransport(eps=1.0)` do not.

## blocks

```python
theirs = 1.0
```
```python
unit = 1.05
ours = unit
```
"""


def test_pages_that_are_wrong_fail(tmp_path):
    path = tmp_path / "geomloss.md"
    path.write_text(PAGE)
    lines = list(run_page(read_page(path)))
    assert {name: verdict for verdict, _, _, name, _ in lines} == {
        "near": "ok",
        "far": "FAILED",
        "shapes": "FAILED",
        "not a number": "FAILED",
        "error": "FAILED",
        "blocks": "ok",
        "skot.SinkhornTransport(epsilon=1.0)": "ok",
        "skot.Nothing": "FAILED",
        "skot.SinkhornTransport(eps=1.0)": "FAILED",
    }
