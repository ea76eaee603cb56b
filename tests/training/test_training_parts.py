import copy
import math
import pickle

import pytest
import torch
from sklearn.base import clone
from torch import nn

from skot.training import (
    Adam,
    AdamW,
    ConstantSchedule,
    CosineSchedule,
    EarlyStopping,
    ExponentialMovingAverage,
    MinibatchSampler,
    TimeBudget,
)

COMPONENTS = [
    Adam(lr=0.1, schedule=CosineSchedule(final=0.1)),
    AdamW(lr=0.1, max_grad_norm=1.0),
    ConstantSchedule(),
    CosineSchedule(warmup=3),
    ExponentialMovingAverage(0.9),
    EarlyStopping(patience=3),
    TimeBudget(3.0, stopping=EarlyStopping()),
]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: type(c).__name__)
def test_components_clone_and_validate(component):
    component.validate()
    assert repr(clone(component)) == repr(component)
    assert (
        pickle.loads(pickle.dumps(component)).get_params().keys() == component.get_params().keys()
    )


@pytest.mark.parametrize(
    "component, name",
    [
        (Adam(lr=0.0), "lr"),
        (Adam(betas=(0.9, 1.0)), "betas"),
        (AdamW(betas=(0.9,)), "betas"),
        (Adam(betas=0.9), "betas"),
        (AdamW(weight_decay=-1.0), "weight_decay"),
        (Adam(schedule="cosine"), "schedule"),
        (Adam(schedule=CosineSchedule(final=2.0)), "final"),
        (CosineSchedule(warmup=-1), "warmup"),
        (ExponentialMovingAverage(1.0), "decay"),
        (EarlyStopping(patience=0), "patience"),
        (EarlyStopping(validation_fraction=1.0), "validation_fraction"),
        (TimeBudget(0.0), "seconds"),
        (TimeBudget(1.0, stopping=EarlyStopping(tol=-1.0)), "tol"),
    ],
)
def test_bad_parameters_are_named(component, name):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of"):
        component.validate()


def test_a_nested_parameter_of_none_says_what_to_pass():
    with pytest.raises(ValueError, match=r"schedule=ConstantSchedule\(\)"):
        Adam().set_params(schedule__final=0.1)


# Schedules


@pytest.mark.parametrize("final", [0.0, 0.2])
def test_cosine_values(final):
    schedule = CosineSchedule(final=final, warmup=4)
    assert [schedule.factor(i, 104) for i in range(4)] == [0.25, 0.5, 0.75, 1.0]
    for i in range(4, 104):
        expected = final + (1 - final) * math.cos(0.5 * math.pi * (i - 4) / 100) ** 2
        assert schedule.factor(i, 104) == pytest.approx(expected, abs=1e-12)
    assert schedule.factor(104, 104) == pytest.approx(final)
    assert schedule.factor(10_000, 104) == pytest.approx(final)
    assert schedule.factor(50, None) == 1.0
    assert schedule.factor(1, None) == 0.5
    assert [CosineSchedule(warmup=4).factor(i, 2) for i in range(2)] == [0.25, 0.5]


def test_cosine_of_its_own_length_ignores_the_plan():
    schedule, planned = CosineSchedule(length=10), CosineSchedule()
    for i in (0, 3, 10, 20):
        assert schedule.factor(i, None) == schedule.factor(i, 1000) == planned.factor(i, 10)


def test_constant_is_one():
    assert [ConstantSchedule().factor(i, n) for i, n in [(0, 1), (7, None)]] == [1.0, 1.0]


# Optimizers


def reference_adam(start, gradients, lrs, betas, weight_decay=0.0):
    """Algorithm 1 of Kingma and Ba, with the decay of Loshchilov and Hutter."""
    x, m, v = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for t, (gradient, lr) in enumerate(zip(gradients, lrs, strict=True), start=1):
        x = x - lr * weight_decay * x
        m = betas[0] * m + (1 - betas[0]) * gradient
        v = betas[1] * v + (1 - betas[1]) * gradient**2
        m_hat, v_hat = m / (1 - betas[0] ** t), v / (1 - betas[1] ** t)
        x = x - lr * m_hat / (v_hat.sqrt() + 1e-8)
    return x


@pytest.mark.parametrize("decay", [None, 0.3])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.5)])
def test_updates_are_those_of_the_papers(decay, betas):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=generator, dtype=torch.float64)
    gradients = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    schedule = CosineSchedule(final=0.1, warmup=3)
    options = {"lr": 0.05, "betas": betas, "schedule": schedule}
    optimizer = Adam(**options) if decay is None else AdamW(**options, weight_decay=decay)
    weight = nn.Parameter(start.clone())
    updater = optimizer.build([weight], max_iter=12)
    for gradient in gradients:
        updater.update(weight @ gradient)
    lrs = [0.05 * schedule.factor(i, 12) for i in range(12)]
    expected = reference_adam(start, gradients, lrs, betas, decay or 0.0)
    torch.testing.assert_close(weight.detach(), expected)
    assert updater.n_updates == 12


def test_defaults_of_the_two():
    assert (Adam().betas, AdamW().betas) == ((0.9, 0.999), (0.5, 0.5))


def test_an_update_touches_its_own_parameters_only():
    mine, others = nn.Linear(2, 2), nn.Linear(2, 1)
    others.weight.grad = torch.full_like(others.weight, 7.0)
    before = copy.deepcopy(others.state_dict())
    x = torch.ones(3, 2, requires_grad=True)
    Adam(lr=0.1).build(mine).update(others(mine(x)).sum())
    assert others.bias.grad is None
    assert bool((others.weight.grad == 7.0).all())
    assert x.grad is None
    assert all(parameter.grad is None for parameter in mine.parameters())
    assert all(torch.equal(before[key], value) for key, value in others.state_dict().items())


def test_parameters_out_of_reach_stay():
    used, unused = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    frozen = nn.Parameter(torch.ones(1), requires_grad=False)
    updater = Adam(lr=0.1).build([used, unused, frozen])
    updater.update((used * frozen).sum())
    assert used.item() == pytest.approx(0.9)
    assert (unused.item(), frozen.item()) == (1.0, 1.0)
    with pytest.raises(ValueError, match="no parameter"):
        Adam().build([frozen])


def test_two_updaters_share_a_graph():
    a, b = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.tensor(3.0))
    first, second = Adam(lr=0.1).build([a]), AdamW(lr=0.1, weight_decay=0.0).build([b])
    loss = (a * b).square()
    gradients = first.gradients(loss, retain_graph=True), second.gradients(-loss)
    assert (gradients[0][0].item(), gradients[1][0].item()) == (36.0, -24.0)
    assert a.grad is None
    first.apply(gradients[0])
    second.apply(gradients[1])
    assert (a.item(), b.item()) == (pytest.approx(1.9), pytest.approx(3.1))


def test_long_gradients_are_scaled_down():
    # With these betas the moments are the last gradient and its square.
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))]
    updater = Adam(betas=(0.0, 0.0), max_grad_norm=1.0).build(weights)
    updater.update(30.0 * weights[0].sum() + 40.0 * weights[1].sum())
    moments = [updater.optimizer.state[weight]["exp_avg"].item() for weight in weights]
    assert moments == pytest.approx([0.6, 0.8], rel=1e-5)
    updater.update(0.3 * weights[0].sum() + 0.4 * weights[1].sum())
    moments = [updater.optimizer.state[weight]["exp_avg"].item() for weight in weights]
    assert moments == pytest.approx([0.3, 0.4], rel=1e-5)


class NonNegative(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), 0.05))

    def project_(self):
        self.weight.clamp_(min=0.0)


def test_projection_follows_every_update():
    module = NonNegative()
    updater = Adam(lr=0.1).build(module)
    updater.update(module.weight[0] - module.weight[1])
    assert module.weight.tolist() == pytest.approx([0.0, 0.15])
    updater, module = pickle.loads(pickle.dumps((updater, module)))
    updater.update(module.weight.sum())
    assert module.weight[0].item() == 0.0
    calls = []
    updater = Adam().build([nn.Parameter(torch.ones(1))], project=lambda: calls.append(1))
    updater.update(updater.parameters[0].sum())
    assert calls == [1]


def test_the_schedule_can_begin_anew():
    weight = nn.Parameter(torch.zeros(1))
    updater = Adam(lr=1.0, schedule=CosineSchedule()).build([weight], max_iter=10)
    rates = []
    for i in range(30):
        if i == 15:
            updater.restart_schedule(20)
        updater.update(weight.sum())
        rates.append(updater.optimizer.param_groups[0]["lr"])
    expected = [CosineSchedule().factor(i, 10) for i in range(15)]
    expected += [CosineSchedule().factor(i, 20) for i in range(15)]
    assert rates == pytest.approx(expected)


def test_an_updater_goes_on_from_its_state():
    def build():
        weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        return weight, Adam(lr=0.1, schedule=CosineSchedule()).build([weight], max_iter=20)

    def descend(weight, updater, n):
        for _ in range(n):
            updater.update(weight.square().sum())

    whole, part, rest = build(), build(), build()
    descend(*whole, 15)
    descend(*part, 6)
    rest[0].data.copy_(part[0].data)
    rest[1].load_state_dict(copy.deepcopy(part[1].state_dict()))
    descend(*rest, 9)
    assert torch.equal(whole[0], rest[0])


# Stopping


def test_an_improvement_exceeds_the_tolerance():
    rule = EarlyStopping(patience=3, tol=0.1).build()
    # Small steps do not add up: each is compared with the best so far, which they lower too.
    scores = [1.0, 0.95, 0.9, 0.7, 0.65, math.nan, 0.5, 0.6, 0.45, 0.41]
    reasons = [rule.should_stop(0.0, score) for score in scores]
    assert reasons == [None] * 9 + ["converged"]
    assert rule.should_stop(0.0, None) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_no_convergence(bad):
    rule = EarlyStopping(patience=3).build()
    assert [rule.should_stop(0.0, score) for score in (1.0, bad, bad, bad)] == [
        None,
        None,
        None,
        "not_finite",
    ]
    assert rule.best == 1.0
    assert EarlyStopping(patience=1).build().should_stop(0.0, bad) == "not_finite"
    # Back among the numbers, and not better than before.
    assert rule.should_stop(0.0, 1.0) == "converged"
    assert rule.should_stop(0.0, 0.5) is None


# Averages


def follow(average, module, values):
    for value in values:
        with torch.no_grad():
            module.weight.fill_(value)
        average.update()
    return average.module.weight.item()


class Number(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(100.0, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(()))


def weights_of_average(n, decay):
    """What each of n values counts, from the definition."""
    weights = []
    for k in range(n):
        d = min(decay, k / (k + 9))
        weights = [w * d for w in weights] + [1 - d]
    return weights


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999])
def test_average_closed_form(decay):
    module = Number()
    average = ExponentialMovingAverage(decay).build(module)
    values = [math.sin(3.0 * i) for i in range(60)]
    expected = weights_of_average(60, decay)
    assert sum(expected) == pytest.approx(1.0)
    result = follow(average, module, values)
    assert result == pytest.approx(sum(w * v for w, v in zip(expected, values, strict=True)))
    # The value before the first step, 100, is forgotten at once.
    assert abs(result) <= 1.0


def test_in_the_long_run_each_step_counts_decay_times_the_next():
    module = Number()
    average = ExponentialMovingAverage(0.9).build(module)
    before = follow(average, module, [0.0] * 90)
    assert before == 0.0
    assert follow(average, module, [1.0]) == pytest.approx(0.1)
    assert follow(average, module, [0.0] * 10) == pytest.approx(0.1 * 0.9**10)


def test_the_start_is_forgotten_fast():
    # A plain average of decay 0.999 still gives the first of 500 values a weight of 0.6.
    assert weights_of_average(500, 0.999)[0] < 1e-15
    assert 30 < 1 / weights_of_average(500, 0.999)[-1] < 80


def test_averaging_starts_late():
    module = Number()
    average = ExponentialMovingAverage(0.9, start=5).build(module)
    assert follow(average, module, [1.0, 2.0, 3.0, 4.0, 5.0]) == 5.0
    assert follow(average, module, [6.0]) == 6.0
    assert follow(average, module, [16.0]) == pytest.approx(15.0)


def test_the_average_is_apart_from_the_module():
    module = Number().train()
    average = ExponentialMovingAverage().build(module)
    assert not average.module.training
    assert not average.module.weight.requires_grad
    assert module.weight.requires_grad
    module.shift.fill_(3.0)
    follow(average, module, [1.0, 0.0])
    assert average.module.shift.item() == 3.0
    assert module.weight.item() == 0.0
    assert average.module.weight.item() == pytest.approx(0.1)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copied_average_follows_its_own_module(copier):
    module = Number()
    average = ExponentialMovingAverage(0.9).build(module)
    follow(average, module, [1.0, 2.0])
    twin_average, twin = copier((average, module))
    assert follow(average, module, [3.0, 4.0]) == follow(twin_average, twin, [3.0, 4.0])
    follow(twin_average, twin, [50.0])
    assert module.weight.item() == 4.0
    third = ExponentialMovingAverage(0.9).build(module)
    third.load_state_dict(copy.deepcopy(average.state_dict()))
    assert follow(third, module, [7.0]) == follow(average, module, [7.0])


# Samplers


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("batch_size", [1, 4, 5, 12, 100])
def test_every_row_comes_up_once_an_epoch(batch_size):
    sampler = MinibatchSampler(torch.arange(12), batch_size, generator=generator())
    assert sampler.batch_size == min(batch_size, 12)
    batches = [sampler.sample() for _ in range(60)]
    assert all(len(batch) == sampler.batch_size for batch in batches)
    epochs = torch.cat(batches).reshape(-1, 12)
    assert bool((epochs.sort(dim=1).values == torch.arange(12)).all())
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == len(epochs)


def test_equal_weights_are_no_weights():
    plain = MinibatchSampler(torch.arange(9), 4, generator=generator())
    equal = MinibatchSampler(
        torch.arange(9), 4, generator=generator(), weights=torch.full((9,), 0.1)
    )
    assert all(torch.equal(plain.sample(), equal.sample()) for _ in range(20))


def test_weighted_rows_come_up_by_their_weights():
    weights = torch.tensor([0.0, 1.0, 2.0, 0.5, 0.0, 6.5, 0.0])
    sampler = MinibatchSampler(torch.arange(7), 7, generator=generator(), weights=weights)
    counts = torch.stack([torch.bincount(sampler.sample(), minlength=7) for _ in range(4000)])
    share = 7 * weights / weights.sum()
    # Each epoch holds a row as often as its share, rounded up or down.
    assert bool((counts >= share.floor()).all())
    assert bool((counts <= share.ceil()).all())
    # Standard error at most 0.5 / sqrt(4000).
    torch.testing.assert_close(counts.double().mean(0), share.double(), atol=0.03, rtol=0)


def test_weighted_batches_are_in_random_order():
    weights = torch.tensor([1.0, 3.0])
    sampler = MinibatchSampler(torch.arange(2), 1, generator=generator(), weights=weights)
    draws = torch.stack([sampler.sample()[0] for _ in range(8000)]).double()
    pairs = draws.reshape(-1, 2)
    assert pairs.mean(0).tolist() == pytest.approx([0.75, 0.75], abs=0.03)


@pytest.mark.parametrize("weights", [None, [0.1, 0.0, 3.0, 1.0, 0.4]])
def test_a_sampler_goes_on_from_its_state(weights):
    weights = None if weights is None else torch.tensor(weights)

    def build(seed):
        shared = generator(seed)
        return shared, MinibatchSampler(torch.arange(5), 3, generator=shared, weights=weights)

    shared, sampler = build(0)
    for _ in range(4):
        sampler.sample()
    other_shared, other = build(1)
    other.load_state_dict(sampler.state_dict())
    other_shared.set_state(shared.get_state())
    assert all(torch.equal(sampler.sample(), other.sample()) for _ in range(10))


def test_bad_samplers():
    rows = torch.zeros(3, 2)
    with pytest.raises(ValueError, match="at least one row"):
        MinibatchSampler(rows[:0], 1, generator=generator())
    with pytest.raises(ValueError, match="positive batch_size"):
        MinibatchSampler(rows, 0, generator=generator())
    for bad in ([1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0], [1.0, math.inf, 1.0]):
        with pytest.raises(ValueError, match="weights must be 3 finite"):
            MinibatchSampler(rows, 1, generator=generator(), weights=torch.tensor(bad))
    sampler = MinibatchSampler(rows, 1, generator=generator())
    sampler.sample()
    with pytest.raises(ValueError, match="3 rows, and there are 5"):
        MinibatchSampler(torch.zeros(5, 1), 1, generator=generator()).load_state_dict(
            sampler.state_dict()
        )


def test_batches_are_copies_of_any_shape():
    rows = torch.arange(24.0).reshape(4, 2, 3)
    sampler = MinibatchSampler(rows, 4, generator=generator())
    sampler.sample().zero_()
    assert rows.sum() == 276.0
    indices = sampler.sample_indices()
    assert indices.dtype == torch.int64
    assert indices.shape == (4,)
