"""Components: parameters, validation, clones, and messages when there is none."""

import pickle

import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import Pipeline

from skot.base import Component, ComponentParamsMixin, check_component
from skot.utils._sklearn import InvalidParameterError


class Power(Component):
    _parameter_constraints = {"gamma": [float]}

    def __init__(self, gamma=1.0):
        self.gamma = gamma

    def apply(self, value):
        return value**self.gamma


class Wrapped(Component):
    _default_components = {"inner": Power}

    def __init__(self, inner=None):
        self.inner = inner


class Model(ComponentParamsMixin, BaseEstimator):
    _default_components = {"cost": Power}

    def __init__(self, cost=None, other=None):
        self.cost = cost
        self.other = other

    def fit(self, X, y=None):
        self.cost_ = check_component(self.cost, default=Power, kind=Power, name="cost")
        return self

    def score(self, X, y=None):
        return -abs(self.cost_.gamma - 2.0)


class TestSetParams:
    def test_nested_parameter_of_none_says_what_to_pass(self):
        model = Model()
        with pytest.raises(ValueError, match=r"Pass an instance, for example Model\(cost=Power\("):
            model.set_params(cost__gamma=2.0)
        assert model.cost is None

    def test_without_a_declared_default(self):
        with pytest.raises(ValueError, match=r"'other' is None, which has no parameters to set"):
            Model().set_params(other__gamma=2.0)

    def test_nested_parameter_of_a_string(self):
        with pytest.raises(ValueError, match=r"'cost' is 'sqeuclidean', which has no parameters"):
            Model(cost="sqeuclidean").set_params(cost__gamma=2.0)

    def test_component_and_its_parameter_together(self):
        model = Model().set_params(cost__gamma=3.0, cost=Power())
        assert model.cost.gamma == 3.0

    def test_replacing_the_component_by_none(self):
        with pytest.raises(ValueError, match="'cost' is None, which stands for"):
            Model(cost=Power()).set_params(cost=None, cost__gamma=2.0)

    def test_through_a_component_and_a_pipeline(self):
        with pytest.raises(ValueError, match="of 'inner' of Wrapped"):
            Model(cost=Wrapped()).set_params(cost__inner__gamma=2.0)
        pipeline = Pipeline([("model", Model())])
        with pytest.raises(ValueError, match="of 'cost' of Model"):
            pipeline.set_params(model__cost__gamma=2.0)

    def test_unknown_parameter_keeps_the_words_of_sklearn(self):
        with pytest.raises(ValueError, match="Invalid parameter 'price' for estimator Model"):
            Model().set_params(price__gamma=1.0)

    def test_grid_search_over_a_nested_parameter(self):
        grid = {"cost__gamma": [1.0, 2.0, 3.0]}
        search = GridSearchCV(Model(cost=Power()), grid, cv=2).fit([[0.0]] * 4)
        assert search.best_params_ == {"cost__gamma": 2.0}
        assert len(ParameterGrid(grid)) == len(search.cv_results_["params"])


class TestComponent:
    def test_is_a_sklearn_parameter(self):
        component = Power(gamma=2.0)
        assert repr(component) == "Power(gamma=2.0)"
        assert clone(component).get_params() == {"gamma": 2.0}
        assert pickle.loads(pickle.dumps(component)).gamma == 2.0

    def test_validate_is_recursive(self):
        Wrapped(inner=Power()).validate()
        with pytest.raises(InvalidParameterError, match="The 'gamma' parameter of Power must be"):
            Wrapped(inner=Power(gamma="wide")).validate()

    def test_constraints_are_optional(self):
        class Free(Component):
            def __init__(self, anything=None):
                self.anything = anything

        Free(anything=object()).validate()


class TestCheckComponent:
    def test_none_is_the_default(self):
        assert check_component(None, default=Power, kind=Power, name="cost").gamma == 1.0

    def test_returns_a_clone(self):
        power = Power(gamma=2.0)
        checked = check_component(power, default=None, kind=Power, name="cost")
        assert checked is not power
        assert checked.gamma == 2.0

    def test_none_without_a_default(self):
        with pytest.raises(InvalidParameterError, match=r"'cost' parameter must be .* Got None"):
            check_component(None, default=None, kind=Power, name="cost")

    @pytest.mark.parametrize("kind", ["apply", (BaseException, "apply"), (Power, "missing")])
    def test_kinds(self, kind):
        assert check_component(Power(), default=None, kind=kind, name="cost").gamma == 1.0

    def test_an_object_of_the_user(self):
        class Own:
            def __init__(self):
                self.numbers = [1, 2]

            def apply(self, value):
                return value

        own = Own()
        checked = check_component(own, default=Power, kind="apply", name="cost")
        assert checked.numbers == [1, 2]
        assert checked.numbers is not own.numbers

    @pytest.mark.parametrize(
        "value, message",
        [
            (3, r"must be an instance of .*Power or an object with the method 'run'. Got 3"),
            (Power, r"must be an instance, not a class. Got Power; pass Power\(\) instead"),
            (torch.nn.Linear(1, 1), "torch.nn.Module Linear"),
            (Power(gamma="wide"), "The 'gamma' parameter of Power must be"),
        ],
    )
    def test_bad_components(self, value, message):
        with pytest.raises(InvalidParameterError, match=message):
            check_component(value, default=Power, kind=(Power, "run"), name="cost")

    def test_the_clone_of_a_fitted_estimator_is_unfitted(self):
        checked = check_component(Model().fit(None), default=None, kind="score", name="model")
        assert not hasattr(checked, "cost_")
