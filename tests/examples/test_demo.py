"""The demo does what the project promises of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Return what the demo prints, and its folder of pictures."""
    pytest.importorskip("matplotlib", reason="the demo draws with matplotlib")
    pytest.importorskip("PIL", reason="the demo reads photographs with Pillow")
    output = tmp_path_factory.mktemp("demo_output")
    environment = {name: value for name, value in os.environ.items() if name != "SKOT_DATA"}
    run = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py", "--output", output],
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    # A warning of the library would be seen by everyone who runs it.
    assert "Warning" not in run.stderr, run.stderr
    return run.stdout, output


def number(text, name, column=0):
    """Read a number from the row of a table."""
    row = re.search(rf"^ *{re.escape(name)}  +(.*)$", text, re.MULTILINE)
    assert row, f"no row {name!r} in\n{text}"
    return float(row.group(1).split()[column].removesuffix("%"))


@pytest.mark.slow
def test_digits_are_lost_and_recovered(demo):
    text, _ = demo
    lost = number(text, "on the source") - number(text, "without adaptation")
    assert lost >= 0.25
    for method in (
        "SinkhornTransport",
        "SinkhornTransport(class_reg=0.1)",
        "GridSearchCV",
    ):
        gained = number(text, method) - number(text, "without adaptation")
        assert gained >= 0.5 * lost
        assert number(text, method, 1) == pytest.approx(100 * gained / lost, abs=1)
    assert "GridSearchCV picked" in text


@pytest.mark.slow
def test_colors_come_as_close_as_samples_of_one_photograph(demo):
    text, _ = demo
    after, floor = number(text, "after"), number(text, "two samples of the target")
    assert after <= 1.5 * floor
    assert number(text, "before") > 100 * floor


@pytest.mark.slow
def test_pictures_are_saved_and_named(demo):
    text, output = demo
    pictures = sorted(output.iterdir())
    assert [path.name for path in pictures] == ["colors.png", "convergence.png", "digits.png"]
    for path in pictures:
        assert str(path) in text
        assert path.stat().st_size > 10_000
        assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_no_progress_bar_outside_of_a_terminal(demo):
    text, _ = demo
    assert "\x1b" not in text
    assert "it/s" not in text
