"""What is shipped: the source distribution, the wheel, and what the wheel does where it is alone.

The slow tests need the package index. `PIP_FLAGS` reaches pip, as in the Makefile.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from filelock import FileLock

import skot

ROOT = Path(__file__).resolve().parents[1]
NAME = f"skot-{skot.__version__}"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

#: What a checkout may hold that is not of the project.
GENERATED = (".*", "build", "dist", "*.egg-info", "__pycache__", "_build", "auto_examples")

#: Imports every module of skot, then asks a display for a picture.
WITHOUT_MATPLOTLIB = """
import importlib, importlib.util, pkgutil
import skot
assert importlib.util.find_spec("matplotlib") is None
for module in pkgutil.walk_packages(skot.__path__, "skot."):
    importlib.import_module(module.name)
from skot.plots import TransportMapDisplay
try:
    TransportMapDisplay.from_predictions([[0, 0], [1, 1]], [[1, 1], [2, 2]])
except ImportError as error:
    print(error)
"""


def run(*command, cwd, **environment):
    """Run a command away from this checkout and return what it prints."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=kept | environment,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def made_once(tmp_path_factory, name, make):
    """A folder that the first of several test processes makes, and the others wait for."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / f"{name}.lock"):
        if not (folder / name / "made").exists():
            make(folder / name)
            (folder / name / "made").touch()
    return folder / name


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The folder with the source distribution, and the wheel that is built from it."""
    pytest.importorskip("build", reason="the tool that builds distributions is not installed")

    def make(folder):
        # A copy, because the tool writes beside what it builds.
        shutil.copytree(ROOT, folder / "copy", ignore=shutil.ignore_patterns(*GENERATED))
        # With setuptools as pinned here: nothing is fetched.
        build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder]
        run(*build, folder / "copy", cwd=folder)

    return made_once(tmp_path_factory, "distributions", make)


@pytest.fixture(scope="module")
def unpacked(distributions, tmp_path_factory):
    """The source distribution as a folder."""
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(distributions / f"{NAME}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / NAME


@pytest.fixture(scope="module")
def alone(distributions, tmp_path_factory):
    """The Python of an environment with the wheel and what it requires, in the pinned versions."""

    def make(folder):
        run(sys.executable, "-m", "venv", folder, cwd=distributions)
        flags = shlex.split(os.environ.get("PIP_FLAGS", ""))
        pinned = ["--constraint", ROOT / "requirements" / "lock.txt"]
        install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
        run(*install, *flags, *pinned, next(distributions.glob("*.whl")), cwd=folder)

    return made_once(tmp_path_factory, "alone", make) / "bin" / "python"


def packaged_files(folder):
    """Python files and the mark of typed packages below skot/."""
    files = [*(folder / "skot").rglob("*.py"), folder / "skot" / "py.typed"]
    return {path.relative_to(folder).as_posix() for path in files}


@pytest.mark.slow
def test_wheel_holds_the_package_and_nothing_else(distributions):
    (wheel,) = distributions.glob("*.whl")
    assert wheel.name == f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith("METADATA"))
        text = archive.read(metadata).decode()
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert files == packaged_files(ROOT)
    assert f"Version: {skot.__version__}\n" in text
    assert "License-Expression: BSD-3-Clause\n" in text
    assert len(licences) == 1
    required = {
        re.match(r"[\w-]+", line)[0]
        for line in re.findall(r"^Requires-Dist: ([^;\n]+)$", text, re.M)
    }
    assert required == {"joblib", "numpy", "scikit-learn", "scipy", "torch"}


@pytest.mark.slow
def test_source_distribution_can_be_tested(unpacked, tmp_path):
    """It has all that is tracked but what only the repository needs, and its tests pass in it."""
    assert packaged_files(unpacked) == packaged_files(ROOT)
    for name in ("CITATION.cff", "LICENSE", "Makefile", "README.md", "requirements/lock.txt"):
        assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes()
    assert not list(unpacked.rglob("__pycache__"))
    printed = run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
        *("tests/test_base.py", "tests/test_public_api.py", "tests/utils", "skot/utils"),
        cwd=unpacked,
        SCIPY_ARRAY_API="1",
        MPLBACKEND="Agg",
    )
    assert re.search(r"\d+ passed", printed), printed


@pytest.mark.slow
def test_wheel_runs_the_readme(alone, tmp_path):
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", page, re.M | re.S)
    printed = run(alone, "-W", "error", "-c", snippet, cwd=tmp_path)
    without, with_adaptation = map(float, re.findall(r"0\.\d+", printed))
    assert with_adaptation > without + 0.1


@pytest.mark.slow
def test_wheel_works_without_matplotlib(alone, tmp_path):
    printed = run(alone, "-W", "error", "-c", WITHOUT_MATPLOTLIB, cwd=tmp_path)
    assert "plot requires matplotlib. You can install matplotlib with" in printed


@pytest.mark.slow
def test_wheel_shows_versions(alone, tmp_path):
    printed = run(alone, "-c", "import skot; skot.show_versions()", cwd=tmp_path)
    assert re.search(rf"skot +{re.escape(skot.__version__)}", printed)
    assert re.search(r"matplotlib +not installed", printed)


def test_version_is_the_same_everywhere():
    version = re.escape(skot.__version__)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "docs" / "whats_new.md").read_text(encoding="utf-8")
    assert re.search(rf"^version: {version}$", citation, re.M)
    released = re.search(r"^date-released: (\S+)$", citation, re.M)[1]
    assert re.search(rf"^## {version} \({released}\)$", changes, re.M)


def test_lock_has_every_requirement():
    """Pinned versions satisfy what the metadata asks for."""
    lock = (ROOT / "requirements" / "lock.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", lock, re.M))
    for requirement in PROJECT["dependencies"]:
        name, least = re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement).groups()
        assert [int(part) for part in pinned[name].split("+")[0].split(".")[:2]] >= [
            int(part) for part in least.split(".")
        ], name
