"""Run what the pages docs/coming_from/*.md call equivalent, and compare the two sides.

    python tests/_equivalents.py [--ours] PAGE

One line a pair, tab-separated: verdict, deviation, tolerance, name, message. The exit status is 1
if a verdict is not "ok". With ``--ours`` the peer is not imported, and the halves of skot are only
evaluated. A page is read from top to bottom:

- a row ``| what | `theirs` | `ours` |`` is a pair of expressions;
- so are two blocks of Python whose last lines assign ``theirs`` and ``ours``; their name is the
  heading above;
- other blocks of Python are set-up, for the peer alone where they import it;
- "agree to TOLERANCE of the largest entry" holds for the pairs below it;
- dotted names of skot and of the peer between backticks must exist, with the keywords they are
  called with.
"""

import ast
import importlib
import inspect
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

#: The package that a page compares with.
PEERS = {"pot": "ot", "ott_jax": "ott", "geomloss": "geomloss", "skada": "skada"}

_TOLERANCE = re.compile(r"agree\s+to\s+(\S+)\s+of\s+the\s+largest\s+entry")


@dataclass(frozen=True)
class Setup:
    """A block of Python that pairs below need."""

    code: str
    of_peer: bool


@dataclass(frozen=True)
class Pair:
    """Two pieces of Python with the same value."""

    name: str
    theirs: str
    ours: str
    tolerance: float


@dataclass(frozen=True)
class Page:
    """What a page asks to run, in order, and the names that it mentions."""

    peer: str
    steps: tuple[Setup | Pair, ...]
    names: tuple[str, ...]

    @property
    def pairs(self) -> list[Pair]:
        """The comparisons."""
        return [step for step in self.steps if isinstance(step, Pair)]


def read_page(path: Path) -> Page:
    """Parse a page."""
    peer = PEERS[path.stem]
    steps: list[Setup | Pair] = []
    mentioned: list[str] = []
    heading, prose, theirs = "", "", None
    for part in re.split(r"^(```.*?^```$)", path.read_text(encoding="utf-8"), flags=re.M | re.S):
        if part.startswith("```python\n"):
            code = part.removeprefix("```python\n").removesuffix("```")
            assigned = _assigned_last(code)
            if "theirs" in assigned:
                theirs = code
            elif "ours" in assigned:
                assert theirs is not None, f"no block of theirs above {code!r}"
                steps.append(Pair(heading, theirs, code, _tolerance(prose)))
                theirs = None
            else:
                steps.append(Setup(code, peer in _imported(code)))
        elif not part.startswith("```"):
            for line in part.splitlines(keepends=True):
                prose += line
                if line.startswith("#"):
                    heading = _plain(line.lstrip("#"))
                row = _row(line)
                if row is None:
                    mentioned += re.findall(r"`([^`\n]+)`", line)
                else:
                    what, *sides = row
                    steps.append(Pair(what, *sides, _tolerance(prose)))
    assert theirs is None, f"no block of ours below {theirs!r}"
    names = [code for code in mentioned if re.match(rf"(skot|{peer})\.\w", code)]
    return Page(peer, tuple(steps), tuple(dict.fromkeys(names)))


def run_page(page: Page, *, only_ours: bool = False):
    """Evaluate pairs and names; yield verdict, deviation, tolerance, name and message."""
    namespace: dict[str, Any] = {}
    for step in page.steps:
        if isinstance(step, Setup):
            if not (only_ours and step.of_peer):
                exec(step.code, namespace)
            continue
        deviation, message = 0.0, ""
        try:
            ours = _value(step.ours, "ours", namespace)
            if not only_ours:
                deviation = _deviation(_value(step.theirs, "theirs", namespace), ours)
        except Exception as error:
            deviation, message = np.inf, " ".join(f"{type(error).__name__}: {error}".split())
        verdict = "ok" if deviation <= step.tolerance else "FAILED"
        yield verdict, f"{deviation:.1e}", f"{step.tolerance:g}", step.name, message
    for name in page.names:
        if only_ours and not name.startswith("skot."):
            continue
        try:
            _check_name(ast.parse(name, mode="eval"))
        except Exception as error:
            yield "FAILED", "", "", name, f"{type(error).__name__}: {error}"
        else:
            yield "ok", "", "", name, ""


def _row(line: str) -> tuple[str, str, str] | None:
    cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
    if not line.startswith("|") or len(cells) != 3:
        return None
    codes = [re.fullmatch(r"`([^`]+)`", cell) for cell in cells[1:]]
    if not all(codes):
        return None
    return _plain(cells[0]), *(code[1] for code in codes if code)


def _plain(text: str) -> str:
    return re.sub(r"[`$*\\]", "", text).strip()


def _tolerance(prose: str) -> float:
    found = _TOLERANCE.findall(prose)
    assert found, "no tolerance is given above the first pair"
    return float(found[-1])


def _assigned_last(code: str) -> set[str]:
    last = ast.parse(code).body[-1]
    targets = last.targets if isinstance(last, ast.Assign) else []
    return {node.id for t in targets for node in ast.walk(t) if isinstance(node, ast.Name)}


def _imported(code: str) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module.partition(".")[0])
    return modules


def _value(code: str, name: str, namespace: dict[str, Any]) -> Any:
    if _is_expression(code):
        return eval(code, namespace)
    exec(code, namespace)
    return namespace[name]


def _is_expression(code: str) -> bool:
    return len(body := ast.parse(code).body) == 1 and isinstance(body[0], ast.Expr)


def _deviation(theirs: Any, ours: Any) -> float:
    """Largest difference, relative to the largest entry of theirs."""
    theirs, ours = _array(theirs), _array(ours)
    if theirs.shape != ours.shape:
        raise ValueError(f"shapes differ: {theirs.shape} and {ours.shape}")
    scale = np.abs(theirs).max()
    deviation = np.abs(theirs - ours).max() / (scale if scale > 0 else 1.0)
    return float(deviation) if np.isfinite(deviation) else np.inf


def _array(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value).astype(np.float64)


def _check_name(tree: ast.AST) -> None:
    """Look up the dotted names of an expression, and the keywords of their calls."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = _resolve(_dotted(node.func))
            parameters = inspect.signature(called).parameters if callable(called) else {}
            if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                continue
            for keyword in node.keywords:
                if keyword.arg not in parameters:
                    raise TypeError(f"{ast.unparse(node.func)} has no parameter {keyword.arg}")
        elif isinstance(node, ast.Attribute):
            _resolve(_dotted(node))


def _dotted(node: ast.AST) -> str | None:
    text = ast.unparse(node)
    return text if re.fullmatch(r"\w+(\.\w+)+", text) else None


def _resolve(dotted: str | None) -> Any:
    if dotted is None:
        return None
    root, *rest = dotted.split(".")
    found: Any = importlib.import_module(root)
    path = root
    for name in rest:
        path = f"{path}.{name}"
        if not hasattr(found, name) and inspect.ismodule(found):
            importlib.import_module(path)
        found = getattr(found, name)
    return found


def main(arguments: list[str]) -> int:
    """Print one line a pair or name; return the exit status."""
    only_ours = "--ours" in arguments
    (path,) = (argument for argument in arguments if argument != "--ours")
    # A side that did not converge proves nothing.
    warnings.simplefilter("error", ConvergenceWarning)
    verdicts = []
    for line in run_page(read_page(Path(path)), only_ours=only_ours):
        sys.stdout.write("\t".join(line) + "\n")
        verdicts.append(line[0])
    return int(any(verdict != "ok" for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
