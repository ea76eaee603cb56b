"""What an issue should say about the machine and the packages it was seen with."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import torch
from threadpoolctl import threadpool_info  # scikit-learn brings it

__all__ = ["show_versions"]

_REQUIRED = ("numpy", "scipy", "scikit-learn", "torch", "joblib")
_OPTIONAL = ("matplotlib", "rich", "pooch", "pandas", "polars")


def show_versions() -> None:
    """Print versions of Python, of the packages that skot uses, and what computes.

    Paste it into an issue. Unlike ``import skot`` it asks the CUDA driver for its devices.

    See Also
    --------
    sklearn.show_versions : The same of scikit-learn.

    Examples
    --------
    >>> import skot
    >>> skot.show_versions()  # doctest: +ELLIPSIS
    System
        python      3...
    """
    for title, facts in _collect().items():
        print(title)
        width = max(map(len, facts))
        for name, value in facts.items():
            print(f"    {name:<{width}}  {value}")
        print()


def _collect() -> dict[str, dict[str, str]]:
    """Facts by section, in the order in which they are printed."""
    return {
        "System": {
            "python": sys.version.replace("\n", " "),
            "executable": sys.executable,
            "machine": platform.platform(),
            "cores": str(os.cpu_count()),
        },
        "Packages": {
            # Not imported: this room is below the package's front.
            "skot": sys.modules["skot"].__version__,
            **{name: _version(name) for name in (*_REQUIRED, *_OPTIONAL)},
        },
        "Computation": {"torch threads": str(torch.get_num_threads()), **_cuda(), **_libraries()},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cuda() -> dict[str, str]:
    if not torch.cuda.is_available():
        return {"CUDA": "not available"}
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"CUDA": f"{torch.version.cuda}: {', '.join(devices)}"}


def _libraries() -> dict[str, str]:
    """Libraries that NumPy and torch compute with, and their threads.

    By file, because every package may bring its own.
    """
    return {
        Path(library["filepath"]).name: (
            f"{library['internal_api']} {library['version'] or ''}".strip()
            + f", {library['num_threads']} threads"
        )
        for library in threadpool_info()
    }
