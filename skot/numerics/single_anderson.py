"""Anderson acceleration of one fixed-point iteration, in NumPy."""

import numpy as np
from scipy.linalg.lapack import dposv


class SingleAnderson:
    """The steps of `skot.numerics.anderson.AndersonAcceleration` for one problem, weights (n,).

    For small problems the number of operations is what counts: about ten here.
    """

    #: Relative ridge on the normal equations: keeps nearly parallel differences harmless.
    _RIDGE = 1e-10

    def __init__(self, weights: np.ndarray, memory: int):
        self._memory = memory
        self._root = np.sqrt(weights)
        n = len(weights)
        self._steps, self._differences = np.empty((memory, n)), np.empty((memory, n))
        self._gram = np.zeros((memory, memory))
        self._count = 0
        self._previous: tuple[np.ndarray, np.ndarray] | None = None

    def restart(self) -> None:
        """Forget the past."""
        self._count = 0
        self._previous = None

    def step(self, plain: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Next iterate from the plain image of this one and the residual, image minus it, (n,)."""
        if self._memory == 0:
            return plain
        weighted = residual * self._root
        previous, self._previous = self._previous, (plain, weighted)
        if previous is None:
            return plain
        slot = self._count % self._memory
        # Differences of images are the columns of Delta H + Delta R.
        np.subtract(plain, previous[0], out=self._steps[slot])
        np.subtract(weighted, previous[1], out=self._differences[slot])
        self._count += 1
        used = min(self._count, self._memory)
        differences, gram = self._differences[:used], self._gram[:used, :used]
        products = differences @ self._differences[slot]
        gram[slot], gram[:, slot] = products, products
        # The normal equations in differences of unit length, for which one ridge fits all.
        diagonal = gram.diagonal()
        scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
        system = gram * (scale[:, None] * scale)
        system.flat[:: used + 1] = 1.0 + self._RIDGE
        # LAPACK's own routine: `scipy.linalg.solve` is several operations around it.
        _, solution, failed = dposv(system, (differences @ weighted) * scale)
        if failed:
            return plain
        return plain - (solution * scale) @ self._steps[:used]
