import copy
import math
import pickle

import numpy as np
import pytest
import torch
from _regression import (
    assert_same,
    least_squares,
    make_state,
    make_step,
    solution,
    squared_error,
    validate,
)

from skot.training import (
    Adam,
    EarlyStopping,
    Stopping,
    StoppingRule,
    TimeBudget,
    TrainingState,
    train,
)


def test_full_batches_reach_the_closed_form():
    state = make_state(batch_size=1000, max_iter=1500, average=False)
    result = train(make_step(state), state, max_iter=1500)
    torch.testing.assert_close(
        solution(state.final_modules()["line"]), least_squares(), atol=1e-6, rtol=0
    )
    assert (result.n_iter, result.stop_reason) == (1500, "max_iter")
    assert result.converged is None
    assert result.best_loss is None
    assert result.diverged_at is None
    assert not result.interrupted
    assert len(result.loss_curve) == len(state.loss_curve) == state.iteration == 1500
    assert result.loss_curve[-1] < 0.02 < result.loss_curve[0]


def test_averaging_beats_the_last_iterate_under_a_constant_step():
    optimizer = Adam(lr=0.05)
    state = make_state(max_iter=1000, batch_size=4, optimizer=optimizer)
    train(make_step(state), state, max_iter=1000)
    error = (solution(state.final_modules()["line"]) - least_squares()).norm()
    last = (solution(state.modules["line"]) - least_squares()).norm()
    assert error < 0.7 * last


def test_steps_are_counted_over_runs_and_reported_by_run():
    state = make_state()
    seen = []

    def step(i):
        seen.append(i)
        return float(i)

    train(step, state, max_iter=3)
    result = train(step, state, max_iter=2)
    assert seen == [0, 1, 2, 3, 4]
    assert result.loss_curve == (3.0, 4.0)
    assert (result.n_iter, state.iteration) == (2, 5)
    assert state.loss_curve == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_two_runs_are_one_long_run():
    once, twice = make_state(), make_state()
    train(make_step(once), once, max_iter=200)
    train(make_step(twice), twice, max_iter=77)
    train(make_step(twice), twice, max_iter=123)
    assert_same(once, twice)


def test_no_step_is_allowed():
    state = make_state()
    before = solution(state.modules["line"])
    assert train(make_step(state), state, max_iter=0).loss_curve == ()
    assert bool((solution(state.modules["line"]) == before).all())


def test_alternating_updates_find_a_saddle_point():
    # min_x max_y  x y + (x - 1)^2 / 2 - (y + 2)^2 / 2  has x = 3/2, y = -1/2.
    x, y = (torch.nn.ParameterList([torch.zeros(1)]) for _ in range(2))
    state = TrainingState(
        {"x": x, "y": y}, {"x": Adam(0.05).build(x), "y": Adam(0.05).build(y)}, {}
    )

    def value():
        return (x[0] * y[0] + 0.5 * (x[0] - 1) ** 2 - 0.5 * (y[0] + 2) ** 2).sum()

    def step(i):
        for _ in range(5):
            state.updaters["y"].update(-value())
        loss = value()
        state.updaters["x"].update(loss)
        return loss

    train(step, state, max_iter=1000)
    assert x[0].item() == pytest.approx(1.5, abs=1e-3)
    assert y[0].item() == pytest.approx(-0.5, abs=1e-3)
    assert (state.updaters["x"].n_updates, state.updaters["y"].n_updates) == (1000, 5000)


# Losses that are not finite


class Scripted(torch.nn.Module):
    """A number that each step raises by one, until it is poisoned."""

    def __init__(self):
        super().__init__()
        self.count = torch.nn.Parameter(torch.zeros(()))


def scripted(bad_from=None, *, poison=math.nan):
    module = Scripted()
    state = TrainingState({"m": module}, {})

    def step(i):
        loss = module.count.detach().clone()
        with torch.no_grad():
            module.count += 1 if i != bad_from else poison
        return loss

    return step, state


def distance_to(count):
    return lambda state: abs(float(state.modules["m"].count) - count)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("bad_step", [0, 1, 2, 5, 63, 64, 99, 100, 101, 250])
def test_a_loss_that_is_not_finite_brings_back_earlier_weights(bad_step, poison):
    # The weights are ruined in `bad_step`, which the loss tells one step later.
    step, state = scripted(bad_step, poison=poison)
    result = train(step, state, max_iter=1000)
    assert (result.stop_reason, result.diverged_at) == ("diverged", bad_step + 1)
    count = int(state.modules["m"].count)
    # After k steps the number is k: weights, counter and history were restored together.
    assert count == state.iteration == result.n_iter == len(result.loss_curve)
    assert bad_step - 100 <= count <= bad_step
    assert bad_step // 2 <= count or bad_step >= 128
    assert int(state.final_modules()["m"].count) == count


def test_weights_ruined_in_the_last_step_are_noticed():
    step, state = scripted(9)
    result = train(step, state, max_iter=10)
    assert (result.stop_reason, result.diverged_at) == ("diverged", 10)
    assert int(state.modules["m"].count) == state.iteration == 8


def test_nan_in_the_first_loss_is_an_error_and_leaves_the_weights():
    state = make_state()
    before = solution(state.modules["line"])

    def step(i):
        state.updaters["line"].update(squared_error(state.modules["line"], torch.ones(2, 4)) * nan)
        return nan

    nan = math.nan
    state.modules["line"].to(torch.float32)
    with pytest.raises(FloatingPointError, match="iteration 0"):
        train(step, state, max_iter=10)
    assert bool((solution(state.modules["line"]) == before.float()).all())
    assert state.iteration == 0


def test_training_goes_on_after_divergence():
    state = make_state(max_iter=None)
    good_step = make_step(state)

    def bad_step(i):
        if i == 150:
            rows = torch.full((2, 4), torch.nan, dtype=torch.float64)
            state.updaters["line"].update(squared_error(state.modules["line"], rows))
        return good_step(i)

    result = train(bad_step, state, max_iter=300)
    assert (result.diverged_at, result.n_iter) == (150, 100)
    assert state.updaters["line"].n_updates == 100
    assert state.averages["line"].n_updates == 100
    assert state.is_finite()
    result = train(good_step, state, max_iter=600)
    assert result.stop_reason == "max_iter"
    assert state.iteration == 700
    assert validate(state) < 0.02


class Remote(torch.Tensor):
    """A tensor that claims to be on an accelerator."""

    @property
    def device(self):
        return torch.device("cuda", 0)


@pytest.mark.parametrize("bad_step", [None, 0, 3, 18, 19, 45, 120])
def test_losses_on_an_accelerator_are_read_now_and_then(bad_step):
    step, state = scripted(bad_step)
    lags = []

    def remote_step(i):
        lags.append(i - len(state.loss_curve))
        return step(i).as_subclass(Remote)

    result = train(remote_step, state, max_iter=200)
    assert max(lags) < 20
    if bad_step is None:
        assert result.loss_curve == tuple(range(200))
        # As long as that between two copies of the weights.
        assert max(lags) == 19
    else:
        assert result.diverged_at == bad_step + 1
        count = int(state.modules["m"].count)
        assert bad_step // 2 <= count == state.iteration <= bad_step


# The keyboard


@pytest.mark.parametrize("where", ["step", "hook", "validate"])
def test_keyboard_interrupt_keeps_the_current_state(where):
    state = make_state()
    plain_step = make_step(state)

    def press(here, when):
        if here == where and when:
            raise KeyboardInterrupt

    def step(i):
        press("step", i == 100)
        return plain_step(i)

    def check(state):
        press("validate", True)
        return validate(state)

    def hook(i, state):
        press("hook", i == 99)
        return False

    result = train(
        step,
        state,
        max_iter=300,
        validate=check if where == "validate" else None,
        on_iteration=hook,
    )
    assert result.interrupted
    assert result.stop_reason == "interrupted"
    assert state.iteration == len(state.loss_curve) == result.n_iter == 100
    twin = make_state()
    train(make_step(twin), twin, max_iter=100)
    assert_same(state, twin)


def test_keyboard_interrupt_within_the_loop_keeps_the_counts_together(monkeypatch):
    state = make_state()
    average = state.averages["line"]
    real_update = average.update

    def update():
        if average.n_updates == 37:
            raise KeyboardInterrupt
        real_update()

    monkeypatch.setattr(average, "update", update)
    result = train(make_step(state), state, max_iter=300)
    assert result.interrupted
    assert len(result.loss_curve) == result.n_iter == state.iteration == 37


def test_keyboard_interrupt_keeps_the_best_state():
    step, state = scripted()

    def interrupted_step(i):
        if i == 450:
            raise KeyboardInterrupt
        return step(i)

    result = train(
        interrupted_step,
        state,
        max_iter=1000,
        validate=lambda s: abs(float(s.modules["m"].count) - 200),
    )
    assert result.interrupted
    assert result.best_loss == 0.0
    assert int(state.final_modules()["m"].count) == 200
    assert state.iteration == 450


# Validation, stopping, hooks


def test_the_best_weights_are_those_of_the_lowest_validation_loss():
    step, state = scripted()
    result = train(
        step, state, max_iter=555, validate=lambda s: abs(float(s.modules["m"].count) - 310)
    )
    assert state.validation_curve == [
        (100, 210),
        (200, 110),
        (300, 10),
        (400, 90),
        (500, 190),
        (555, 245),
    ]
    assert result.best_loss == 10
    assert int(state.final_modules()["m"].count) == 300
    assert int(state.modules["m"].count) == 555


def test_validation_is_without_gradients_and_nan_is_never_best():
    step, state = scripted()
    scores = iter([math.nan, 3.0, math.nan, 5.0])

    def check(state):
        assert not torch.is_grad_enabled()
        return next(scores)

    train(step, state, max_iter=400, validate=check)
    assert state.best["loss"] == 3.0
    assert state.best["iteration"] == 200


def test_validation_sees_averaged_weights():
    state = make_state()
    assert state.averaged_modules()["line"] is state.averages["line"].module
    bare = make_state(average=False)
    assert bare.averaged_modules()["line"] is bare.modules["line"]


@pytest.mark.parametrize("held_out", [True, False])
def test_early_stopping_ends_when_nothing_improves(held_out):
    step, state = scripted()
    loss = lambda s: max(300.0 - float(s.modules["m"].count), 0.0)  # noqa: E731
    stopping = EarlyStopping(patience=3, check_every=50, validation_fraction=None)
    if held_out:
        result = train(step, state, max_iter=5000, stopping=stopping, validate=loss)
        assert result.n_iter == 300 + 3 * 50
        assert int(state.final_modules()["m"].count) == 300
    else:
        # The training loss grows by one a step: the first check is the best.
        result = train(step, state, max_iter=5000, stopping=stopping)
        assert result.n_iter == 50 + 3 * 50
    assert result.converged is True
    assert result.stop_reason == "converged"


def test_early_stopping_says_when_it_did_not_happen():
    step, state = scripted()
    falling = lambda s: -float(s.modules["m"].count)  # noqa: E731
    result = train(step, state, max_iter=700, stopping=EarlyStopping(), validate=falling)
    assert result.converged is False
    assert result.stop_reason == "max_iter"


def test_the_time_is_limited(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("skot.training._loop.time.perf_counter", lambda: now[0])
    step, state = scripted()

    def slow_step(i):
        now[0] += 0.5
        return step(i)

    result = train(slow_step, state, max_iter=1000, stopping=TimeBudget(10.0))
    assert (result.n_iter, result.stop_reason, result.converged) == (20, "time", None)
    assert state.seconds == pytest.approx(10.0)
    # Another run has its own time.
    both = TimeBudget(10.0, stopping=EarlyStopping(patience=2, check_every=5))
    result = train(slow_step, state, max_iter=1000, stopping=both)
    assert (result.n_iter, result.stop_reason, result.converged) == (15, "converged", True)
    both.set_params(seconds=2.0, stopping__patience=100)
    result = train(slow_step, state, max_iter=1000, stopping=both)
    assert (result.n_iter, result.stop_reason, result.converged) == (4, "time", False)


def test_a_stopping_component_of_ones_own():
    class Threshold(Stopping):
        check_every = 7

        def __init__(self, level=30.0):
            self.level = level

        def build(self):
            level = self.level

            class Rule(StoppingRule):
                def should_stop(self, seconds, score):
                    return "enough" if score is not None and score > level else None

            return Rule()

    step, state = scripted()
    result = train(step, state, max_iter=1000, stopping=Threshold())
    # Means over seven steps: 3, 10, 17, 24, 31.
    assert (result.n_iter, result.stop_reason, result.converged) == (35, "enough", None)


def test_the_hook_sees_every_step_and_stops():
    state = make_state()
    seen = []

    def on_iteration(i, state):
        seen.append((i, state.iteration))
        return i == 41

    result = train(make_step(state), state, max_iter=100, on_iteration=on_iteration)
    assert seen == [(i, i + 1) for i in range(42)]
    assert (result.stop_reason, result.n_iter) == ("callback", 42)


# Going on, copying, pickling


@pytest.mark.parametrize("twin_of", ["pickle", "deepcopy"])
def test_a_copy_made_midway_continues_alike(twin_of):
    whole, half = make_state(), make_state()
    train(make_step(whole), whole, max_iter=250)
    train(make_step(half), half, max_iter=131)
    if twin_of == "deepcopy":
        twin = copy.deepcopy(half)
        assert twin.samplers["rows"].rows is half.samplers["rows"].rows
    else:
        twin = pickle.loads(pickle.dumps(half))
        assert twin.samplers == {}
        place = half.samplers["rows"].state_dict()
        twin.samplers = make_state().samplers
        twin.samplers["rows"]._generator = twin.generator
        twin.samplers["rows"].load_state_dict(place)
    # The twin is on its own.
    train(make_step(half), half, max_iter=5)
    train(make_step(twin), twin, max_iter=119)
    assert_same(whole, twin)


def test_a_pickle_is_small():
    state = make_state()
    state.samplers["rows"].rows = torch.zeros(10**6, 4)
    assert len(pickle.dumps(state)) < 20_000


@pytest.mark.parametrize("average", [True, False])
def test_final_modules_are_copies_for_inference(average):
    state = make_state(average=average)
    train(make_step(state), state, max_iter=20)
    final = state.final_modules()["line"]
    assert final is not state.averaged_modules()["line"]
    assert not final.training
    assert not any(parameter.requires_grad for parameter in final.parameters())
    before = solution(state.modules["line"])
    final.to(torch.float32)
    with torch.no_grad():
        final.weight.fill_(torch.nan)
    assert state.is_finite()
    assert bool((solution(state.modules["line"]) == before).all())
    train(make_step(state), state, max_iter=1)


def test_global_state_is_left_alone():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    settings = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled())
    state = make_state()
    train(make_step(state), state, max_iter=50, validate=validate)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()
    assert settings == (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_run_without_gradient_mode_still_trains(mode):
    state = make_state()
    with mode():
        train(make_step(state), state, max_iter=20)
        assert not torch.is_grad_enabled()
    twin = make_state()
    train(make_step(twin), twin, max_iter=20)
    assert_same(state, twin)


def test_the_loop_costs_little():
    module = torch.nn.Linear(2, 2)
    state = TrainingState({"m": module}, {"m": Adam().build(module)})
    seconds = []
    for _ in range(5):
        before = state.seconds
        train(lambda i: 0.0, state, max_iter=2000)
        seconds.append((state.seconds - before) / 2000)
    # Measured: 3 microseconds a step. The bound leaves room for a busy machine.
    assert min(seconds) < 30e-6


def test_a_generator_elsewhere_is_refused(monkeypatch):
    class Elsewhere:
        device = torch.device("cuda")

    with pytest.raises(ValueError, match="on the CPU"):
        TrainingState({}, {}, generator=Elsewhere())


@pytest.mark.gpu
def test_cuda_run_is_pickled_to_the_cpu():
    state = make_state().to("cuda")
    rows = state.samplers["rows"].rows = state.samplers["rows"].rows.cuda()
    state.samplers["rows"]._order = torch.empty(0, dtype=torch.int64, device="cuda")
    train(
        make_step(state),
        state,
        max_iter=150,
        validate=lambda s: squared_error(s.averaged_modules()["line"], rows),
    )
    assert len(state.loss_curve) == 150
    twin = pickle.loads(pickle.dumps(state))
    assert all(weight.device.type == "cpu" for weight in twin.weights())
    assert all(weight.device.type == "cuda" for weight in state.weights())
    twin.samplers = make_state().samplers
    train(make_step(twin), twin, max_iter=50)
    on_cpu = make_state()
    train(make_step(on_cpu), on_cpu, max_iter=150)
    torch.testing.assert_close(
        solution(state.modules["line"]).cpu(), solution(on_cpu.modules["line"])
    )
