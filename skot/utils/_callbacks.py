"""Bridge between an ``on_iteration`` hook and scikit-learn's callbacks (experimental API)."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sklearn.callback import CallbackSupportMixin, ProgressBar
from sklearn.callback import with_callbacks as _sklearn_with_callbacks

__all__ = ["CallbackSupportMixin", "fit_part", "iteration_hook", "with_callbacks"]


def with_callbacks(fit: Callable) -> Callable:
    """Decorate a `fit` that uses `iteration_hook`, of a `CallbackSupportMixin`.

    It tears the callbacks down when `fit` ends, however it ends, and shows scikit-learn's
    `ProgressBar` for this one fit when the estimator has ``verbose=True``, which raises an
    `ImportError` when the optional package rich is missing. It goes below
    `skot.utils._sklearn.fit_context`, so that parameters are validated first.
    """
    managed_fit = _sklearn_with_callbacks(fit)

    @functools.wraps(fit)
    def fit_with_callbacks(estimator, *args, **kwargs):
        with _verbose_progress_bar(estimator):
            return managed_fit(estimator, *args, **kwargs)

    return fit_with_callbacks


@contextmanager
def _verbose_progress_bar(estimator: Any) -> Iterator[None]:
    """Give a verbose estimator a progress bar of its own for the length of the block."""
    own_callbacks = getattr(estimator, "_skl_callbacks", [])
    # Where something is set or handed down by a meta-estimator there is a display already, or
    # another callback whose place in the tree of tasks has to stay as it is.
    inside_another_fit = hasattr(estimator, "_parent_callback_ctx") and own_callbacks
    has_bar = any(isinstance(callback, ProgressBar) for callback in own_callbacks)
    if not getattr(estimator, "verbose", False) or has_bar or inside_another_fit:
        yield
        return
    try:
        progress_bar = ProgressBar()
    except ImportError as error:
        raise ImportError(
            "verbose=True shows the progress bar of scikit-learn, which needs the optional "
            "package rich: install it with `pip install rich`, or set verbose=False."
        ) from error
    # A meta-estimator marks its sub-estimators. The bar is not the meta-estimator's, so the
    # mark is lifted: with it scikit-learn would wait for the meta-estimator to set the bar up.
    parent = estimator.__dict__.pop("_parent_callback_ctx", None)
    estimator.set_callbacks(*own_callbacks, progress_bar)
    try:
        yield
    finally:
        estimator.set_callbacks(*own_callbacks)
        if parent is not None:
            estimator._parent_callback_ctx = parent


@contextmanager
def iteration_hook(
    estimator: Any,
    max_iter: int | None,
    X: Any = None,
    y: Any = None,
    *,
    metadata: dict | None = None,
    fitted_attributes: Callable[[Any], dict] | None = None,
) -> Iterator[Callable[[int, Any], bool] | None]:
    """Run the iterations of a fit as tasks of scikit-learn's callbacks.

    Use it once in a `fit` decorated by `with_callbacks`, around the solver and around the lines
    that store the fitted attributes: the task of the fit ends with the block, and a callback may
    then use the estimator.

    It yields ``on_iteration(i, state) -> stop``, to be called at the end of each iteration; `stop`
    is True when a callback asks to end the iterations. Without callbacks it yields None, so that a
    solver pays nothing. Calls past `max_iter`, which is None if it is not known, are not reported.
    Callbacks are handed `X`, `y` and `metadata`, such as ``{"sample_weight": sample_weight}``.
    `fitted_attributes` maps a `state` to the attributes which make a copy of the estimator fitted;
    it is called only when a callback asks for the estimator as it stands.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        yield None
        return
    context = estimator._init_callback_context(max_subtasks=max_iter)
    data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
    context.call_on_fit_task_begin(**data)
    iterations = _IterationTasks(context, data, max_iter, fitted_attributes)
    yield iterations.on_iteration
    iterations.close()
    context.call_on_fit_task_end(**data, reconstruction_attributes={})


class _IterationTasks:
    """One task per iteration, the next one open while the solver works on it."""

    def __init__(self, context, data, max_iter, fitted_attributes):
        self._context = context
        self._data = data
        self._max_iter = max_iter
        self._fitted_attributes = fitted_attributes
        self._n_begun = 0
        self._open_task = self._begin()

    def _begin(self):
        if self._max_iter is not None and self._n_begun >= self._max_iter:
            return None
        self._n_begun += 1
        task = self._context.subcontext(task_name="iteration")
        return task.call_on_fit_task_begin(**self._data)

    def on_iteration(self, i: int, state: Any) -> bool:
        if self._open_task is None:
            return False
        attributes = None
        if self._fitted_attributes is not None:
            attributes = functools.partial(self._fitted_attributes, state)
        stop = self._open_task.call_on_fit_task_end(
            **self._data, reconstruction_attributes=attributes
        )
        self._open_task = None if stop else self._begin()
        return stop

    def close(self) -> None:
        """End the task that was begun for an iteration that never ran."""
        if self._open_task is not None:
            self._open_task.call_on_fit_task_end(estimator=self._data["estimator"])
            self._open_task = None


@contextmanager
def fit_part(estimator: Any, part: Any, X: Any = None, y: Any = None) -> Iterator[None]:
    """Run the fit of a part of a meta-estimator as a task that has the callbacks too.

    Use it once in a `fit` decorated by `with_callbacks`. The part, which the block fits, is handed
    the callbacks, such as a progress bar, if it is a `CallbackSupportMixin`; they get `X` and `y`.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        yield
        return
    data = {"estimator": estimator, "X": X, "y": y}
    context = estimator._init_callback_context(max_subtasks=1)
    context.call_on_fit_task_begin(**data)
    task = context.subcontext(task_name=f"fit {type(part).__name__}")
    task.call_on_fit_task_begin(**data)
    if isinstance(part, CallbackSupportMixin):
        with task.propagate_callback_context(part):
            yield
    else:
        yield
    task.call_on_fit_task_end(**data)
    context.call_on_fit_task_end(**data)
