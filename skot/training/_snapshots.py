"""Copies of the weights that a run which turns NaN goes back to."""

from typing import Any

from torch import Tensor

from skot.training._state import TrainingState

#: Steps between two copies.
_EVERY = 100


class Snapshots:
    """Copies of the weights at the last two moments that were asked for."""

    def __init__(self, state: TrainingState):
        self._state = state
        self._weights = state.weights()
        self._taken: list[tuple[dict[str, Any], list[Tensor]]] = []
        self.take()

    def _counters(self) -> list[Any]:
        return [*self._state.updaters.values(), *self._state.averages.values()]

    def take(self) -> None:
        """Copy the current weights, over the older of the two copies."""
        counts = {
            "iteration": self._state.iteration,
            "n_updates": [counter.n_updates for counter in self._counters()],
        }
        if self._taken and self._taken[-1][0] == counts:
            return
        if len(self._taken) < 2:
            copies = [tensor.clone() for tensor in self._weights]
        else:
            copies = self._taken.pop(0)[1]
            for mine, current in zip(copies, self._weights, strict=True):
                mine.copy_(current)
        self._taken.append((counts, copies))

    def restore(self, before: int) -> bool:
        """Go back to the latest weights from before a step, with empty optimizer moments.

        The step is the first whose loss is not finite, so theirs was. Without any, the state goes
        back to the earliest ones, with False.
        """
        state = self._state
        good = [taken for taken in self._taken if taken[0]["iteration"] < before]
        counts, copies = good[-1] if good else self._taken[0]
        for current, mine in zip(self._weights, copies, strict=True):
            current.copy_(mine)
        for counter, n_updates in zip(self._counters(), counts["n_updates"], strict=True):
            counter.n_updates = n_updates
        for updater in state.updaters.values():
            updater.forget_moments()
        state.iteration = counts["iteration"]
        del state.loss_curve[state.iteration :]
        checks = state.validation_curve
        state.validation_curve = [check for check in checks if check[0] <= state.iteration]
        return bool(good)


def takes_snapshot(count: int) -> bool:
    """Say whether to copy the weights after so many steps of a run.

    At multiples of 100 and, because trouble tends to come early, at the powers of two before.
    """
    return count % _EVERY == 0 or (count < _EVERY and count & (count - 1) == 0)
