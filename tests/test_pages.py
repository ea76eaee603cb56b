"""The Python on the pages that people paste from runs, top to bottom, and prints what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# What is built, and the pages whose other half is another library (test_coming_from.py).
BUILT_OR_ELSEWHERE = {"_build", "auto_examples", "generated", "coming_from"}
WRITTEN = [
    path
    for path in (ROOT / "docs").rglob("*.md")
    if not BUILT_OR_ELSEWHERE & set(path.relative_to(ROOT).parts)
]
SNIPPET = re.compile(r"^```python\n(.*?)^```", re.M | re.S)
OUTPUT = re.compile(r"^```text\n(.*?)^```", re.M | re.S)
INCLUDED = re.compile(r"^```\{literalinclude\} (\S+\.py)\n", re.M)


def parts_of(page):
    """The files that a page shows whole, then its snippets in their order."""
    text = page.read_text(encoding="utf-8")
    files = [(page.parent / name).read_text(encoding="utf-8") for name in INCLUDED.findall(text)]
    return files, SNIPPET.findall(text), OUTPUT.findall(text)


PAGES = sorted(path for path in (ROOT / "README.md", *WRITTEN) if parts_of(path)[1])


def test_pages_are_found():
    names = {path.relative_to(ROOT).as_posix() for path in PAGES}
    assert names >= {"README.md", "docs/choosing.md", "docs/scikit_learn.md", "docs/skada.md"}
    assert len([name for name in names if name.startswith("docs/user_guide/")]) >= 8
    assert len([name for name in names if name.startswith("docs/extending/")]) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_of_a_page_runs(page, tmp_path):
    files, snippets, outputs = parts_of(page)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join([*files, *snippets])],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        # Small problems take many times longer with threads that wait for a busy core.
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "the page shows no result"
    if page.name == "README.md":
        assert outputs == [done.stdout]


def test_readme_fits_a_screen():
    """What it is, a picture, a pipeline, two commands and a headline: little else."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", "\n".join(lines))
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)
