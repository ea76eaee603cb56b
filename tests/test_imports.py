"""What importing skot costs and touches, and which module may import which."""

import ast
import importlib
import importlib.metadata
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import skot

PACKAGE = Path(skot.__file__).parent
ROOT = PACKAGE.parent

OPTIONAL = ["matplotlib", "pandas", "polars", "rich", "pooch", "ot", "skada", "requests"]

PUBLIC_NAMES = {
    "DomainAdaptation",
    "GaussianTransport",
    "LagrangianMetricLearner",
    "LagrangianOT",
    "MetaOTRegressor",
    "MetaW2GN",
    "NeuralOT",
    "SinkhornTransport",
    "W2GNTransport",
}
PUBLIC_MODULES = {
    "costs",
    "datasets",
    "losses",
    "metrics",
    "model_selection",
    "networks",
    "plots",
    "potentials",
    "solvers",
    "solvers.c_transform",
    "solvers.conjugate",
    "solvers.geodesic",
    "training",
    "utils",
}

# The only files that may use scikit-learn's underscored or experimental modules.
PRIVATE_SKLEARN_ALLOWED = {"utils/_callbacks.py", "utils/_sklearn.py"}
EXPERIMENTAL_SKLEARN = {"callback", "experimental", "externals"}

LONGEST_FILE = 500


def run_python(code, **variables):
    """Run code in a fresh interpreter that imports this skot, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def private_sklearn_imports(path):
    """Dotted names of scikit-learn that `path` imports and should not."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            root, *rest = name.split(".")
            if root == "sklearn" and any(
                part in EXPERIMENTAL_SKLEARN or (part.startswith("_") and not part.startswith("__"))
                for part in rest
            ):
                yield name


def modules():
    """Names of all modules of skot, with their files."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported_modules(path, names):
    """Those of the modules `names` that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module in names:
            assert node.level == 0, f"{path} imports relative to itself"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in names else node.module


def is_open_to(module, importer):
    """Whether all that is private on the way to a module is so within a room of the importer."""
    parts = module.split(".")
    rooms = [".".join(parts[:i]) for i, part in enumerate(parts) if part.startswith("_")]
    # The private modules of skot.utils are the house's.
    return all(room == "skot.utils" or f"{importer}.".startswith(f"{room}.") for room in rooms)


def test_private_modules_are_imported_by_their_own_room():
    names = dict(modules())
    breaches = {
        (importer, module)
        for importer, path in names.items()
        for module in imported_modules(path, names)
        if not is_open_to(module, importer)
    }
    assert breaches == set()


def test_what_is_private_to_a_room():
    assert is_open_to("skot.costs", "skot.solvers._problem")
    assert is_open_to("skot.costs._base", "skot.costs._resolve")
    assert is_open_to("skot.costs._base", "skot.costs")
    assert is_open_to("skot.utils._points", "skot.costs._base")
    assert is_open_to("skot.transport._neural.fit", "skot.transport._meta_ot.estimator")
    assert not is_open_to("skot.costs._base", "skot.solvers._problem")
    assert not is_open_to("skot.costs._base", "skot.costs_of_others")
    assert not is_open_to("skot.transport._neural.fit", "skot.adaptation")
    assert not is_open_to("skot.solvers._exact.plan", "skot.metrics._wasserstein")


def test_no_file_is_long():
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for _, path in modules()
    }
    assert {name for name, length in lengths.items() if length > LONGEST_FILE} == set()


def test_layers():
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("import-linter is not installed beside this Python")
    done = subprocess.run(
        [command, "--no-cache"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_private_sklearn_stays_in_two_files():
    found = {
        f"{path.relative_to(PACKAGE).as_posix()}: {name}"
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).as_posix() not in PRIVATE_SKLEARN_ALLOWED
        for name in private_sklearn_imports(path)
    }
    assert found == set()


def test_public_names():
    assert set(skot.__all__) - {"__version__", "show_versions"} == PUBLIC_NAMES
    assert [name for name in skot.__all__ if not hasattr(skot, name)] == []


@pytest.mark.parametrize("module", sorted(PUBLIC_MODULES))
def test_public_modules(module):
    imported = importlib.import_module(f"skot.{module}")
    assert imported.__all__, f"skot.{module} names nothing public"
    missing = [name for name in imported.__all__ if not hasattr(imported, name)]
    assert missing == []


def test_api_pages_list_every_public_name():
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.rst")]
    listed = set(re.findall(r"^   (\w+)$", "\n".join(pages), re.M))
    for module in ["skot", *(f"skot.{name}" for name in PUBLIC_MODULES)]:
        imported = importlib.import_module(module)
        public = {name for name in imported.__all__ if not name.startswith("__")}
        modules = {name for name in public if inspect.ismodule(getattr(imported, name))}
        assert public - modules <= listed, f"docs/api lacks names of {module}"


def untyped_arguments(function):
    """Names of the arguments of a function without an annotation, and "return"."""
    signature = inspect.signature(function)
    for name, parameter in signature.parameters.items():
        if parameter.annotation is parameter.empty and name not in ("self", "cls"):
            yield name
    if signature.return_annotation is signature.empty:
        yield "return"


def public_functions():
    """Functions, constructors and methods that users reach, defined in skot."""
    for module in ["skot", *(f"skot.{name}" for name in sorted(PUBLIC_MODULES))]:
        imported = importlib.import_module(module)
        for name in imported.__all__:
            value = getattr(imported, name)
            if inspect.isfunction(value):
                yield f"{module}.{name}", value
            elif inspect.isclass(value):
                for method, function in vars(value).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{module}.{name}.{method}", function


def test_public_surface_is_typed():
    untyped = {name: list(untyped_arguments(function)) for name, function in public_functions()}
    assert len(untyped) > 20
    assert {name: missing for name, missing in untyped.items() if missing} == {}


def test_version_is_the_installed_one():
    try:
        installed = importlib.metadata.version("skot")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("skot runs from its folder, it is not installed")
    assert skot.__version__ == installed


def test_import_brings_nothing_optional():
    # scikit-learn's callbacks import rich by themselves where it is installed.
    code = (
        "import json, sys; import numpy, scipy, sklearn.callback, torch; before = set(sys.modules);"
        "import skot; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    brought = {name.partition(".")[0] for name in json.loads(run_python(code))}
    assert "skot" in brought
    assert brought.isdisjoint(OPTIONAL)


def test_import_leaves_the_process_as_found():
    # Importing scikit-learn's callbacks draws from `random`, so they come first.
    code = """
import random, warnings
import numpy as np, sklearn.callback, torch
def state():
    return (
        torch.cuda.is_initialized(), torch.get_default_dtype(), torch.get_num_threads(),
        torch.backends.cuda.matmul.allow_tf32, torch.initial_seed(),
        np.random.get_state()[1].tolist(), random.getstate(), np.geterr(),
        sklearn.get_config(), list(warnings.filters),
    )
before = state()
import skot
assert state() == before
assert not torch.cuda.is_initialized()
"""
    run_python(code)


def test_import_time():
    """Skot adds at most 10 % to the import of torch and scikit-learn: 0.2 s where that takes 2 s.

    A share, because the same import takes half as long again on a busy or throttled machine. Like
    theirs, its bytecode is there, as it is after an installation: the first of three runs writes
    it, also where the environment asks Python not to.
    """
    code = (
        "import time; start = time.process_time(); import torch, sklearn;"
        "middle = time.process_time(); import skot;"
        "print((time.process_time() - middle) / (middle - start))"
    )
    shares = [float(run_python(code, PYTHONDONTWRITEBYTECODE="")) for _ in range(3)]
    assert min(shares) <= 0.1
