"""Settings and fixtures that all tests share."""

import os
from pathlib import Path

# Both are read once, at the first import of SciPy and matplotlib.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import pytest
import torch

# "ci" (the default of `make test`) repeats the same examples on every run; "dev" looks for
# new ones. A deadline would fail on a busy machine.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

if "PYTEST_XDIST_WORKER" in os.environ:
    # Several test processes share the cores.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_home():
    """Folder of the real data sets; the test is skipped where there is none."""
    named = os.environ.get("SKOT_DATA")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(named) if named else beside
    if not folder.is_dir():
        pytest.skip(f"no data sets: SKOT_DATA is {named!r} and {beside} does not exist")
    return folder
