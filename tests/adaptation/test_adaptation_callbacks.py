import warnings

import numpy as np
import pytest
from _dummies import MeanShift
from sklearn.callback import ProgressBar
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skot import DomainAdaptation, SinkhornTransport
from skot.utils import stack_domains


class Recorder:
    """Writes down the tasks; handed on to the parts, like scikit-learn's progress bar."""

    max_propagation_depth = None

    def __init__(self):
        self.events = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {type(estimator).__name__} {context.task_name}")

    def on_fit_task_end(self, estimator, context):
        self.events.append(f"end {type(estimator).__name__} {context.task_name}")


@pytest.fixture
def problem():
    X = np.random.default_rng(0).normal(size=(30, 2))
    return stack_domains(X, X + 3.0, (X[:, 0] > 0).astype(int))


def test_callbacks_reach_the_transport(problem):
    X, y, sample_domain = problem
    recorder = Recorder()
    adaptation = DomainAdaptation(LogisticRegression(), SinkhornTransport())
    adaptation.set_callbacks(recorder).fit(X, y, sample_domain=sample_domain)
    first, second, third, *iterations = recorder.events[: len(recorder.events) - 3]
    assert [first, second, third] == [
        "begin DomainAdaptation fit",
        "begin DomainAdaptation fit SinkhornTransport",
        "begin SinkhornTransport fit",
    ]
    assert {event.split()[-1] for event in iterations} == {"iteration"}
    assert len(iterations) >= 2 * len(adaptation.transport_.loss_curve_)
    assert recorder.events[-1] == "end DomainAdaptation fit"
    plain = DomainAdaptation(LogisticRegression(), SinkhornTransport())
    plain.fit(X, y, sample_domain=sample_domain)
    np.testing.assert_array_equal(plain.predict_proba(X), adaptation.predict_proba(X))


def test_a_transport_without_callbacks_is_fine(problem):
    X, y, sample_domain = problem
    recorder = Recorder()
    adaptation = DomainAdaptation(LogisticRegression(), MeanShift()).set_callbacks(recorder)
    adaptation.fit(X, y, sample_domain=sample_domain)
    assert recorder.events == [
        "begin DomainAdaptation fit",
        "begin DomainAdaptation fit MeanShift",
        "end DomainAdaptation fit MeanShift",
        "end DomainAdaptation fit",
    ]


def test_progress_bar_of_a_pipeline(problem, capsys):
    X, y, sample_domain = problem
    pipeline = make_pipeline(DomainAdaptation(LogisticRegression())).set_callbacks(ProgressBar())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipeline.fit(X, y, domainadaptation__sample_domain=sample_domain)
    assert "DomainAdaptation - fit" in capsys.readouterr().out
