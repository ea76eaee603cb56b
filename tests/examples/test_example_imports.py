"""What the examples import is there: the gallery and the benchmarks rarely run."""

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.rglob("*.py"))


def imports(tree):
    """Modules and the names taken from them, at any depth: a function may import too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an example is a script: it has no package"
            for alias in node.names:
                yield node.module, alias.name


def definitions(path):
    """Names that a sibling, which may do its work at import, would have."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return names


def sibling(path, module):
    """The file of that name beside the example, or above it: the gallery's helpers."""
    for folder in (path.parent, EXAMPLES):
        if (folder / f"{module}.py").exists():
            return folder / f"{module}.py"
    return None


def exists(module):
    """Whether there is such a module, of a package that need not be there either."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def fault(path, module, name):
    """What is wrong with one import, or None."""
    found = sibling(path, module)
    if found is not None:
        if name is None or name in definitions(found):
            return None
        return f"{found.name} has no {name}"
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        if package.startswith("_"):
            return f"there is no {package}.py"
        return None  # an optional peer that is not installed here
    if package != "skot":
        return None
    if not exists(module):
        return f"there is no module {module}"
    if name is None or hasattr(importlib.import_module(module), name):
        return None
    return None if exists(f"{module}.{name}") else f"{module} has no {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_what_an_example_imports_is_there(path):
    found = [fault(path, *one) for one in imports(ast.parse(path.read_text()))]
    assert [one for one in found if one] == []


@pytest.mark.parametrize(
    "line, expected",
    [
        ("from skot import Sinkhorn", "skot has no Sinkhorn"),
        ("from skot.transport._w2gn.training import sampler", "skot.transport._w2gn.training has"),
        ("import skot.nothing", "no module skot.nothing"),
        ("from skot.nothing import more", "no module skot.nothing"),
        ("import skot.nothing.more", "no module skot.nothing.more"),
        ("def f():\n    from _harness import nothing", "_harness.py has no nothing"),
        ("import _nothing", "no _nothing.py"),
    ],
)
def test_what_is_not_there_is_found(line, expected):
    (one,) = imports(ast.parse(line))
    assert expected in fault(EXAMPLES / "benchmarks" / "some.py", *one)


def test_what_is_there_is_not():
    path = EXAMPLES / "benchmarks" / "some.py"
    for line in ("import skot.solvers", "from skot import metrics", "import not_installed_here"):
        (one,) = imports(ast.parse(line))
        assert fault(path, *one) is None
