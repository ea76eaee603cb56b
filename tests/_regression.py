"""A linear regression whose solution is known, as something to train."""

import torch

from skot.training import (
    Adam,
    CosineSchedule,
    ExponentialMovingAverage,
    MinibatchSampler,
    TrainingState,
)

FEATURES = torch.randn(64, 3, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
TARGETS = FEATURES @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64) + 0.3
TARGETS = TARGETS + 0.1 * torch.randn(
    64, generator=torch.Generator().manual_seed(8), dtype=torch.float64
)
DATA = torch.cat([FEATURES, TARGETS[:, None]], dim=1)


def least_squares():
    """Weights and bias of the closed form."""
    design = torch.cat([FEATURES, torch.ones(64, 1, dtype=torch.float64)], dim=1)
    return torch.linalg.lstsq(design, TARGETS[:, None]).solution[:, 0]


def solution(module):
    return torch.cat([module.weight.detach()[0], module.bias.detach()])


def squared_error(module, rows):
    return (module(rows[:, :3])[:, 0] - rows[:, 3]).square().mean()


def make_state(*, seed=0, batch_size=16, max_iter=300, optimizer=None, average=True):
    """A fresh regression: the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    # Linear's own initialisation draws from the global generator.
    module = torch.nn.utils.skip_init(torch.nn.Linear, 3, 1, dtype=torch.float64)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    optimizer = optimizer or Adam(lr=0.05, schedule=CosineSchedule(warmup=10))
    averages = {"line": ExponentialMovingAverage(0.95).build(module)} if average else {}
    return TrainingState(
        {"line": module},
        {"line": optimizer.build(module, max_iter=max_iter)},
        averages,
        generator,
        {"rows": MinibatchSampler(DATA, batch_size, generator=generator)},
    )


def make_step(state):
    def step(i):
        loss = squared_error(state.modules["line"], state.samplers["rows"].sample())
        state.updaters["line"].update(loss)
        return loss

    return step


def validate(state):
    return squared_error(state.averaged_modules()["line"], DATA)


def assert_same(first, second):
    """Two states agree to the last bit, the time apart."""
    first, second = first.state_dict(), second.state_dict()
    for state in (first, second):
        del state["seconds"], state["run_start"]
    torch.testing.assert_close(
        _flat(first), _flat(second), rtol=0, atol=0, equal_nan=True, check_dtype=True
    )


def _flat(value, path=""):
    if isinstance(value, dict):
        return {k: v for key in value for k, v in _flat(value[key], f"{path}/{key}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for i, item in enumerate(value) for k, v in _flat(item, f"{path}/{i}").items()}
    if value is None or isinstance(value, str):
        return {f"{path}={value}": torch.zeros(())}
    return {path: torch.as_tensor(value)}
