"""The bridge from a solver's hook to scikit-learn's callbacks, on a tiny estimator."""

import builtins
import pickle
import sys

import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skot.utils._callbacks import CallbackSupportMixin, iteration_hook, with_callbacks
from skot.utils._sklearn import fit_context

X = [[0.0], [1.0], [2.0], [3.0]]
y = [0, 1, 0, 1]


class Counter(CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Counts to `max_iter`, or to `converge_at` if that comes first."""

    _parameter_constraints = {"max_iter": [int]}

    def __init__(self, max_iter=4, converge_at=None, fail_at=None, known=True, verbose=False):
        self.max_iter = max_iter
        self.converge_at = converge_at
        self.fail_at = fail_at
        self.known = known
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y=None):
        hook = iteration_hook(
            self,
            self.max_iter if self.known else None,
            X=X,
            y=y,
            metadata={"colour": "red"},
            fitted_attributes=lambda state: {"count_": state},
        )
        with hook as on_iteration:
            self.had_hook_ = on_iteration is not None
            self.count_ = self._solve(on_iteration)
        return self

    def _solve(self, on_iteration):
        for i in range(self.max_iter):
            if i == self.fail_at:
                raise FloatingPointError("the solver broke")
            if on_iteration is not None and on_iteration(i, i + 1):
                break
            if i + 1 == self.converge_at:
                break
        return i + 1

    def transform(self, X):
        return X

    def score(self, X, y=None):
        return self.count_


class Recorder:
    """Writes down every hook; asks to stop after iteration `stop_after`."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, metadata=None):
        self.events.append(("begin", context.task_name, context.task_id))
        self.begin_saw = (X, metadata)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        count = getattr(fitted_estimator, "count_", None)
        self.events.append(("end", context.task_name, context.task_id, count))
        return context.task_name == "iteration" and context.task_id == self.stop_after


def iterations(*counts):
    events = []
    for task_id, count in enumerate(counts):
        events.append(("begin", "iteration", task_id))
        events.append(("end", "iteration", task_id, count))
    return events


def whole_fit(*counts):
    last = [count for count in counts if count is not None][-1]
    return [
        "setup",
        ("begin", "fit", 0),
        *iterations(*counts),
        ("end", "fit", 0, last),
        "teardown",
    ]


def test_no_callbacks_no_hook():
    counter = Counter().fit(X)
    assert not counter.had_hook_
    assert counter.count_ == 4


def test_every_iteration_is_a_task():
    recorder = Recorder()
    assert Counter().set_callbacks(recorder).fit(X).had_hook_
    assert recorder.events == whole_fit(1, 2, 3, 4)
    assert recorder.begin_saw == (X, {"colour": "red"})


@pytest.mark.parametrize("known", [True, False])
def test_early_convergence_closes_the_open_task(known):
    recorder = Recorder()
    Counter(converge_at=2, known=known).set_callbacks(recorder).fit(X)
    assert recorder.events == whole_fit(1, 2, None)


def test_a_callback_may_stop_the_iterations():
    recorder = Recorder(stop_after=1)
    assert Counter().set_callbacks(recorder).fit(X).count_ == 2
    assert recorder.events == whole_fit(1, 2)


def test_calls_past_max_iter_are_not_reported():
    recorder = Recorder()

    class Overrun(Counter):
        def _solve(self, on_iteration):
            return [on_iteration(i, i) for i in range(6)]

    assert Overrun(max_iter=2).set_callbacks(recorder).fit(X).count_ == [False] * 6
    assert [event for event in recorder.events if event[1] == "iteration"] == iterations(0, 1)


def test_failure_tears_down():
    recorder = Recorder()
    counter = Counter(fail_at=1).set_callbacks(recorder)
    with pytest.raises(FloatingPointError):
        counter.fit(X)
    assert recorder.events[-1] == "teardown"
    assert not hasattr(counter, "_callback_fit_ctx")
    counter.set_params(fail_at=None).fit(X)


def test_parameters_are_validated_before_the_callbacks():
    recorder = Recorder()
    with pytest.raises(ValueError, match="'max_iter' parameter of Counter"):
        Counter(max_iter="many").set_callbacks(recorder).fit(X)
    assert recorder.events == []


def test_scoring_monitor_scores_each_iteration():
    monitor = ScoringMonitor(scoring={"count": lambda model, X, y, colour: model.score(X)})
    Counter().set_callbacks(monitor).fit(X, y)
    logs = monitor.get_logs()
    scores = [row["count"] for row in logs.data if row["task_name"] == "iteration"]
    assert scores == [1, 2, 3, 4]


def test_clone_and_pickle_after_fit():
    counter = Counter().set_callbacks(ProgressBar()).fit(X)
    assert pickle.loads(pickle.dumps(counter)).count_ == 4
    assert isinstance(clone(counter)._skl_callbacks[0], ProgressBar)


class TestVerbose:
    def test_shows_a_bar_for_one_fit(self, capsys):
        counter = Counter(verbose=True).fit(X)
        assert "Counter - fit" in capsys.readouterr().out
        assert counter.had_hook_
        assert not hasattr(counter, "_skl_callbacks")
        counter.set_params(verbose=False).fit(X)
        assert capsys.readouterr().out == ""

    def test_keeps_the_callbacks_of_the_user(self):
        recorder = Recorder()
        counter = Counter(verbose=True).set_callbacks(recorder).fit(X)
        assert counter._skl_callbacks == [recorder]
        assert recorder.events == whole_fit(1, 2, 3, 4)

    def test_does_not_add_a_second_bar(self, capsys):
        Counter(verbose=True).set_callbacks(ProgressBar()).fit(X)
        assert capsys.readouterr().out.count("Counter - fit") == 1

    def test_bar_goes_when_the_fit_fails(self):
        counter = Counter(verbose=True, fail_at=0)
        with pytest.raises(FloatingPointError):
            counter.fit(X)
        assert not hasattr(counter, "_skl_callbacks")

    def test_inside_a_pipeline(self, capsys):
        pipeline = make_pipeline(StandardScaler(), Counter(verbose=True)).fit(X)
        assert "Counter - fit" in capsys.readouterr().out
        assert not hasattr(pipeline[-1], "_parent_callback_ctx")
        assert not hasattr(pipeline[-1], "_skl_callbacks")

    def test_without_rich(self, monkeypatch):
        real_import = builtins.__import__

        def no_rich(name, *args, **kwargs):
            if name.split(".")[0] == "rich":
                raise ImportError(name)
            return real_import(name, *args, **kwargs)

        for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(builtins, "__import__", no_rich)
        with pytest.raises(ImportError, match="needs the optional package rich: install it with"):
            Counter(verbose=True).fit(X)
        assert Counter().fit(X).count_ == 4


class TestMetaEstimators:
    def test_callbacks_come_down_a_pipeline(self, capsys):
        pipeline = make_pipeline(StandardScaler(), Counter()).set_callbacks(ProgressBar()).fit(X)
        assert "Counter - fit" in capsys.readouterr().out
        assert pipeline[-1].had_hook_
        assert not hasattr(pipeline[-1], "_skl_callbacks")

    @pytest.mark.parametrize("verbose", [False, True])
    def test_grid_search(self, verbose):
        search = GridSearchCV(Counter(verbose=verbose), {"max_iter": [2, 3]}, cv=2)
        search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X)
        assert search.best_params_ == {"max_iter": 3}
        assert search.best_estimator_.had_hook_
        assert pickle.loads(pickle.dumps(search)).best_estimator_.count_ == 3

    def test_own_callback_of_a_step(self):
        recorder = Recorder()
        make_pipeline(StandardScaler(), Counter().set_callbacks(recorder)).fit(X)
        assert [event for event in recorder.events if event[1] == "iteration"] == iterations(
            1, 2, 3, 4
        )

    @pytest.mark.slow
    def test_grid_search_in_processes(self):
        search = GridSearchCV(Counter(), {"max_iter": [2, 3]}, cv=2, n_jobs=2)
        search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X)
        assert search.best_params_ == {"max_iter": 3}
