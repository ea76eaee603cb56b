"""How to solve: what a caller chooses, and which storage and core follow from it."""

from dataclasses import dataclass, replace
from numbers import Integral, Real

import torch
from sklearn import get_config

#: Up to this many entries float64 is fast enough, but for tolerances that float32 reaches easily.
SMALL = 2**20
#: A kernel of so many entries (64 KiB) is kept whatever the working memory.
_ANY_MEMORY = 2**13
#: Up to this many entries one problem on the CPU is solved by the core in NumPy.
_LEAN = 2**19
#: From this tolerance on there are too few passes left to pay for choosing entries of a kernel.
SPARSE_TOL = 1e-4


@dataclass(frozen=True)
class Settings:
    """How to solve, to an L1 marginal error of `tol`.

    `epsilon` is in the units of the costs, `memory` that of Anderson's acceleration (0 is plain
    Sinkhorn), and `annealing` comes from larger regularisations. The kernel is kept as `storage`
    says, "auto", "kernel" or "stream"; its `dtype` None is picked by size and tolerance.
    """

    epsilon: float
    tol: float
    memory: int
    annealing: bool
    storage: str
    dtype: torch.dtype | None

    def check(self) -> None:
        """Raise a ValueError that names the parameter that is out of range."""
        for name, value in (("epsilon", self.epsilon), ("tol", self.tol)):
            # Looking at the type first: the abstract classes of numbers are slow to ask.
            is_real = type(value) is float or isinstance(value, Real)
            if not is_real or not 0 < float(value) < float("inf"):
                raise ValueError(f"{name} must be a positive number. Got {value!r}.")
        check_integer("anderson_memory", self.memory, 0)
        if self.storage not in ("auto", "kernel", "stream"):
            raise ValueError(f"storage must be 'auto', 'kernel' or 'stream'. Got {self.storage!r}.")
        if self.dtype not in (None, torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64. Got {self.dtype!r}.")

    def keep_kernel(self, n_entries: int, dtype: torch.dtype) -> bool:
        """Whether a kernel is kept in memory."""
        if self.storage != "auto":
            return self.storage == "kernel"
        if n_entries <= _ANY_MEMORY:
            return True
        mebibytes = n_entries * torch.finfo(dtype).bits / 8 / 2**20
        return mebibytes <= get_config()["working_memory"]

    def allow_lean(self, n_entries: int) -> bool:
        """Whether one problem on the CPU is small enough for the core in NumPy."""
        if self.dtype == torch.float32 or not self.keep_kernel(n_entries, torch.float64):
            return False
        # Beyond, the other path is faster: in float32, or on few entries at tight tolerances.
        needs_double = self.dtype == torch.float64 and self.tol >= SPARSE_TOL
        return n_entries <= (SMALL if needs_double else _LEAN)

    def in_units_of(self, unit: float) -> "Settings":
        """Express the regularisation in scaled units of the costs."""
        return replace(self, epsilon=self.epsilon / unit)


def check_integer(name: str, value, lowest: int) -> None:
    """Raise a ValueError where a count is not an integer, or too small."""
    is_integer = type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
    if not is_integer or value < lowest:
        raise ValueError(f"{name} must be an integer of at least {lowest}. Got {value!r}.")
