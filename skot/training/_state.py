"""Everything that a training run changes, in one object."""

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from skot.training._averaging import WeightAverage
from skot.training._sampler import MinibatchSampler
from skot.training._updater import Updater
from skot.utils._brief import brief_repr


@dataclass(eq=False)
class TrainingState:
    """What a training run changes: weights, optimizers, averages, random numbers and history.

    It is built once for a fit and kept to go on from: :func:`train` continues where the state
    stands, from the latest weights rather than the best. It can be pickled and deep-copied
    between steps. Pickles hold tensors on the CPU (see :meth:`to`) and leave out the samplers,
    which hold the data.

    Attributes
    ----------
    modules : dict of str to torch.nn.Module
        All that has weights.
    updaters : dict of str to Updater
        Used by the steps. Their parameters belong to `modules`.
    averages : dict of str to WeightAverage
        Averages of some of the modules, under the same names.
    generator : torch.Generator or None
        On the CPU; the source of all draws, those of the samplers too.
    samplers : dict of str to MinibatchSampler
        Used by the steps; listed so that a checkpoint holds their place.
    iteration : int
        Number of steps taken, over all calls of :func:`train`.
    seconds : float
        Time spent in them.
    loss_curve : list of float
        Loss of each step. On CUDA it lags up to 20 steps behind while training.
    validation_curve : list of (int, float)
        Number of steps taken and validation loss at that point.
    best : dict or None
        The lowest validation loss of the last run, ``"loss"``, with its ``"iteration"`` and
        ``"weights"``.
    run_start : tuple of (int, float)
        ``iteration`` and ``seconds`` at the start of the last run.

    Examples
    --------
    >>> import torch
    >>> from skot.training import Adam, TrainingState, train
    >>> module = torch.nn.Linear(1, 1)
    >>> state = TrainingState({"line": module}, {"line": Adam(lr=0.1).build(module)})
    >>> def step(i):
    ...     loss = (module(torch.ones(1, 1)) - 3.0).square().mean()
    ...     state.updaters["line"].update(loss)
    ...     return loss
    >>> train(step, state, max_iter=200).n_iter
    200
    >>> round(state.final_modules()["line"](torch.ones(1, 1)).item(), 1)
    3.0
    """

    modules: dict[str, nn.Module]
    updaters: dict[str, Updater]
    averages: dict[str, WeightAverage] = field(default_factory=dict)
    generator: torch.Generator | None = None
    samplers: dict[str, MinibatchSampler] = field(default_factory=dict)
    iteration: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    loss_curve: list[float] = field(default_factory=list, init=False, repr=False)
    validation_curve: list[tuple[int, float]] = field(default_factory=list, init=False, repr=False)
    best: dict[str, Any] | None = field(default=None, init=False, repr=False)
    run_start: tuple[int, float] = field(default=(0, 0.0), init=False)

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        if self.generator is not None and self.generator.device.type != "cpu":
            raise ValueError(
                "The generator of a training state must be on the CPU, so that its draws repeat "
                f"on any machine. Got one on {self.generator.device}."
            )

    def averaged_modules(self) -> dict[str, nn.Module]:
        """Return the modules as validation should see them.

        Returns
        -------
        modules : dict of str to torch.nn.Module
            The averaged module where there is one, else the trained one; not copies.
        """
        averaged = {name: average.module for name, average in self.averages.items()}
        return {**self.modules, **averaged}

    def final_modules(self) -> dict[str, nn.Module]:
        """Return copies of the modules as training leaves them.

        They have the weights of the lowest validation loss if there is one, else the averaged
        weights, else the current ones.

        Returns
        -------
        modules : dict of str to torch.nn.Module
            In evaluation mode, with parameters that require no gradient.
        """
        modules = {
            name: copy.deepcopy(module).requires_grad_(False).eval()
            for name, module in self.averaged_modules().items()
        }
        if self.best is not None:
            for name, weights in self.best["weights"].items():
                modules[name].load_state_dict(weights)
        return modules

    def keep_best(self, loss: float) -> None:
        """Note the validation loss of the current weights, and keep these if it is the lowest.

        Parameters
        ----------
        loss : float
            NaN and infinity are never the lowest.
        """
        self.validation_curve.append((self.iteration, loss))
        lowest = float("inf") if self.best is None else self.best["loss"]
        if not (math.isfinite(loss) and loss < lowest):
            return
        weights = {
            name: {key: value.detach().clone() for key, value in module.state_dict().items()}
            for name, module in self.averaged_modules().items()
        }
        self.best = {"loss": loss, "iteration": self.iteration, "weights": weights}

    def weights(self) -> list[Tensor]:
        """Return the tensors of all modules and averages, without copying them.

        Returns
        -------
        weights : list of Tensor
            Parameters and buffers, detached.
        """
        return [
            tensor.detach()
            for module in self._trained_and_averaged()
            for tensor in [*module.parameters(), *module.buffers()]
        ]

    def is_finite(self) -> bool:
        """Say whether all parameters are finite.

        Returns
        -------
        finite : bool
            Buffers do not count: some hold infinities on purpose.
        """
        return all(
            bool(torch.isfinite(parameter).all())
            for module in self._trained_and_averaged()
            for parameter in module.parameters()
        )

    def _trained_and_averaged(self) -> list[nn.Module]:
        return [*self.modules.values(), *(average.module for average in self.averages.values())]

    def to(self, device: torch.device | str) -> "TrainingState":
        """Move modules, averages and optimizers to a device.

        Parameters
        ----------
        device : torch.device or str
            The device. Samplers stay where their rows are.

        Returns
        -------
        state : TrainingState
            The same object.
        """
        for module in self.modules.values():
            module.to(device)
        for average in self.averages.values():
            average.module.to(device)
            average.synchronize()
        for updater in self.updaters.values():
            updater.synchronize()
        if self.best is not None:
            for weights in self.best["weights"].values():
                weights.update({key: value.to(device) for key, value in weights.items()})
        return self

    def state_dict(self) -> dict[str, Any]:
        """Return all that another state, built alike, needs to go on from here.

        Returns
        -------
        state : dict
            Of numbers, strings and tensors, nested; tensors are not copied.
        """
        parts = {
            key: {name: part.state_dict() for name, part in getattr(self, key).items()}
            for key in _PARTS
        }
        return {
            **parts,
            "generator": None if self.generator is None else self.generator.get_state(),
            "loss_curve": torch.tensor(self.loss_curve, dtype=torch.float64),
            **{key: getattr(self, key) for key in _PLAIN},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned.

        Parameters
        ----------
        state : dict
            State of a training state with the same modules, updaters, averages and samplers.
        """
        for key in _PARTS:
            for name, part in getattr(self, key).items():
                part.load_state_dict(state[key][name])
        if self.generator is not None:
            self.generator.set_state(state["generator"])
        self.loss_curve = state["loss_curve"].tolist()
        for key in _PLAIN:
            setattr(self, key, state[key])

    def __deepcopy__(self, memo: dict[int, Any]) -> "TrainingState":
        # Unlike a pickle a copy stays on its device and keeps the samplers, which share the data.
        memo.update({id(sampler.rows): sampler.rows for sampler in self.samplers.values()})
        twin = memo[id(self)] = object.__new__(type(self))
        for key, value in vars(self).items():
            setattr(twin, key, copy.deepcopy(value, memo))
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state = self
        if any(tensor.device.type != "cpu" for tensor in self.weights()):
            state = copy.deepcopy(self).to("cpu")
        return {**vars(state), "samplers": {}}


#: Dicts of objects with a state of their own, and attributes that are plain data.
_PARTS = ("modules", "updaters", "averages", "samplers")
_PLAIN = ("iteration", "seconds", "validation_curve", "best", "run_start")
