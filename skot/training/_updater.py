"""What changes parameters, one step at a time."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from skot.training._schedules import Schedule


class Updater:
    """What changes one set of parameters, step by step, and nothing else.

    Built by :meth:`Optimizer.build`. Alternating and joint training use one for every set:
    gradients are computed for its own parameters only and are not left behind in ``.grad``.

    Parameters
    ----------
    parameters : list of torch.nn.Parameter
        The parameters to update.
    optimizer : torch.optim.Optimizer
        Of these parameters, in one group.
    schedule : Schedule
        Scales the learning rate of `optimizer`.
    max_iter : int or None
        Planned number of updates, for the schedule.
    max_grad_norm : float or None, default=None
        Longer gradients are scaled down to this norm (all parameters together).
    project : callable, default=None
        Called without arguments after each update, to bring the parameters back to a constraint
        set. For the updater to be pickled, a method of a module rather than a lambda.

    Attributes
    ----------
    n_updates : int
        Number of updates so far.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        optimizer: torch.optim.Optimizer,
        *,
        schedule: Schedule,
        max_iter: int | None,
        max_grad_norm: float | None = None,
        project: Callable[[], Any] | None = None,
    ):
        self.parameters = parameters
        self.optimizer = optimizer
        self.schedule = schedule
        self.max_iter = max_iter
        self.max_grad_norm = max_grad_norm
        self.project = project
        self.n_updates = 0
        self._lr = optimizer.param_groups[0]["lr"]
        self._schedule_start = 0

    def update(self, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Do one descent step on a loss.

        Parameters
        ----------
        loss : Tensor of shape ()
            With a graph back to the parameters. Those that it does not depend on stay unchanged.
        retain_graph : bool, default=False
            Keep the graph for another backward pass. When two updaters share a graph, take the
            :meth:`gradients` of both before applying either.
        """
        self.apply(self.gradients(loss, retain_graph=retain_graph))

    def gradients(self, loss: Tensor, *, retain_graph: bool = False) -> tuple[Tensor | None, ...]:
        """Return the gradients of a loss with respect to the parameters, and change nothing.

        Parameters
        ----------
        loss : Tensor of shape ()
            With a graph back to the parameters.
        retain_graph : bool, default=False
            Keep the graph for another backward pass.

        Returns
        -------
        gradients : tuple of Tensor or None
            One for each parameter; None where the loss does not depend on it.
        """
        return torch.autograd.grad(
            loss, self.parameters, retain_graph=retain_graph, allow_unused=True
        )

    def apply(self, gradients: Iterable[Tensor | None]) -> None:
        """Do one descent step along given gradients.

        Parameters
        ----------
        gradients : iterable of Tensor or None
            One for each parameter; those with None stay unchanged. May be overwritten.
        """
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        position = self.n_updates - self._schedule_start
        self.optimizer.param_groups[0]["lr"] = self._lr * self.schedule.factor(
            position, self.max_iter
        )
        self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None
        if self.project is not None:
            with torch.no_grad():
                self.project()
        self.n_updates += 1

    def restart_schedule(self, max_iter: int | None) -> None:
        """Begin the schedule anew; moments and the count of updates stay.

        For a fit that goes on after its schedule has run out.

        Parameters
        ----------
        max_iter : int or None
            Number of updates planned from now on.
        """
        self._schedule_start = self.n_updates
        self.max_iter = max_iter

    def forget_moments(self) -> None:
        """Drop the running averages of the optimizer, which are then built up anew."""
        self.optimizer.state.clear()

    def synchronize(self) -> None:
        """Bring the optimizer's tensors to the device of the parameters, after a move of these."""
        self.optimizer.load_state_dict(self.optimizer.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the state of the optimizer.

        Returns
        -------
        state : dict
            Of numbers and tensors.
        """
        return {
            "optimizer": self.optimizer.state_dict(),
            "n_updates": self.n_updates,
            "schedule_start": self._schedule_start,
            "max_iter": self.max_iter,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Parameters
        ----------
        state : dict
            State of an updater of parameters of the same shapes.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        self.n_updates = state["n_updates"]
        self._schedule_start = state["schedule_start"]
        self.max_iter = state["max_iter"]
