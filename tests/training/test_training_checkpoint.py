import os
import warnings

import numpy as np
import pytest
import torch
from _regression import DATA, assert_same, make_state, make_step, validate

from skot.base import check_component
from skot.training import Adam, Checkpoint, EarlyStopping, TimeBudget, fingerprint, train


class Crash(Exception):
    pass


def crash_at(i):
    def on_iteration(j, state):
        if j == i:
            raise Crash
        return False

    return on_iteration


def run(state, path, *, max_iter=300, every=50, fingerprint="fit", **options):
    return train(
        make_step(state),
        state,
        max_iter=max_iter,
        checkpoint=Checkpoint(path, every=every),
        fingerprint=fingerprint,
        **options,
    )


@pytest.mark.parametrize("crash", [50, 137, 299])
@pytest.mark.parametrize("batch_size", [16, 20])
def test_a_resumed_run_ends_like_one_that_was_not_interrupted(tmp_path, crash, batch_size):
    options = {"validate": validate, "stopping": EarlyStopping(patience=200, check_every=30)}
    whole = make_state(batch_size=batch_size)
    expected = run(whole, tmp_path / "whole.pt", **options)

    crashed, path = make_state(batch_size=batch_size), tmp_path / "fit.pt"
    with pytest.raises(Crash):
        run(crashed, path, on_iteration=crash_at(crash), **options)
    # A fresh process builds the same state; here with other draws, which the file replaces.
    resumed = make_state(seed=99, batch_size=batch_size)
    seen = []
    result = run(resumed, path, on_iteration=lambda i, state: seen.append(i), **options)
    assert seen == list(range(crash // 50 * 50, 300))
    assert_same(whole, resumed)
    assert result == expected
    best = resumed.final_modules()["line"], whole.final_modules()["line"]
    assert torch.equal(best[0].weight, best[1].weight)


def test_without_the_file_it_would_not():
    whole, other = make_state(), make_state(seed=99)
    train(make_step(whole), whole, max_iter=50)
    train(make_step(other), other, max_iter=50)
    with pytest.raises(AssertionError):
        assert_same(whole, other)


def test_patience_is_counted_over_the_crash(tmp_path):
    losses = {10 * k: (1.0 if k < 5 else 2.0) - 0.01 * k for k in range(1, 100)}
    options = {
        "validate": lambda state: losses[state.iteration],
        "stopping": EarlyStopping(patience=7, check_every=10),
        "every": 30,
    }
    whole = run(make_state(), tmp_path / "whole.pt", **options)
    assert whole.n_iter == 110
    path = tmp_path / "fit.pt"
    with pytest.raises(Crash):
        run(make_state(), path, on_iteration=crash_at(95), **options)
    assert run(make_state(), path, **options) == whole


def test_a_finished_fit_is_not_run_again(tmp_path):
    first = make_state()
    expected = run(first, tmp_path / "fit.pt")
    second = make_state(seed=1)
    result = train(
        lambda i: pytest.fail("a step was run"),
        second,
        max_iter=300,
        checkpoint=Checkpoint(tmp_path / "fit.pt"),
        fingerprint="fit",
    )
    assert_same(first, second)
    assert result == expected


def test_a_converged_fit_is_not_run_again(tmp_path):
    options = {"validate": lambda state: 1.0, "stopping": EarlyStopping(patience=2, check_every=9)}
    first, second = make_state(), make_state()
    expected = run(first, tmp_path / "fit.pt", **options)
    assert expected.n_iter == 27
    assert run(second, tmp_path / "fit.pt", **options) == expected
    assert_same(first, second)


def test_a_longer_fit_goes_on(tmp_path):
    whole, short, longer = make_state(), make_state(), make_state(seed=5)
    train(make_step(whole), whole, max_iter=300)
    run(short, tmp_path / "fit.pt", max_iter=120)
    assert run(longer, tmp_path / "fit.pt", max_iter=300).n_iter == 300
    assert_same(whole, longer)


def test_time_is_counted_over_the_crash(tmp_path):
    state = make_state()
    run(state, tmp_path / "fit.pt", stopping=TimeBudget(1e-9), max_iter=10)
    assert state.iteration == 1
    again = make_state()
    result = run(again, tmp_path / "fit.pt", stopping=TimeBudget(1e-9), max_iter=10)
    assert (result.n_iter, result.stop_reason) == (1, "time")
    more = make_state()
    result = run(more, tmp_path / "fit.pt", stopping=TimeBudget(1e9), max_iter=10)
    assert (result.n_iter, result.stop_reason) == (10, "max_iter")


def test_another_fit_is_never_resumed(tmp_path):
    run(make_state(), tmp_path / "fit.pt", fingerprint="one")
    state, plain = make_state(), make_state()
    with pytest.warns(UserWarning, match="other parameters or other data") as caught:
        run(state, tmp_path / "fit.pt", fingerprint="another")
    assert caught[0].filename == __file__
    train(make_step(plain), plain, max_iter=300)
    assert_same(state, plain)
    # The file is the other one's now.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(make_state(), tmp_path / "fit.pt", fingerprint="another")


def test_a_later_run_of_a_state_does_not_take_the_file_of_the_first(tmp_path):
    state = make_state()
    run(state, tmp_path / "fit.pt", max_iter=40)
    with pytest.warns(UserWarning, match="starts anew"):
        run(state, tmp_path / "fit.pt", max_iter=40)
    assert state.iteration == 80


@pytest.mark.parametrize("content", [b"", b"a thesis", None])
def test_a_file_that_is_something_else_is_not_overwritten(tmp_path, content):
    path = tmp_path / "fit.pt"
    if content is None:
        torch.save({"weights": torch.ones(2)}, path)
        content = path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        run(make_state(), path)
    assert path.read_bytes() == content


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    torch.save({"format": Evil()}, tmp_path / "fit.pt")
    with pytest.raises(ValueError, match="cannot be read"):
        run(make_state(), tmp_path / "fit.pt")
    assert not (tmp_path / "evil").exists()


def test_a_missing_folder_is_told_before_training(tmp_path):
    state = make_state()
    with pytest.raises(FileNotFoundError, match="no folder"):
        run(state, tmp_path / "nowhere" / "fit.pt")
    assert state.iteration == 0


def test_a_failure_while_writing_keeps_the_file_before(tmp_path, monkeypatch):
    path, real_save = tmp_path / "fit.pt", torch.save
    n_saves = 0

    def failing_save(content, file):
        nonlocal n_saves
        n_saves += 1
        if n_saves == 3:
            file.write(b"half")
            raise OSError("disk full")
        real_save(content, file)

    monkeypatch.setattr(torch, "save", failing_save)
    with pytest.raises(OSError, match="disk full"):
        run(make_state(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["fit.pt"]
    seen = []
    run(make_state(), path, on_iteration=lambda i, state: seen.append(i))
    assert seen[0] == 100


def test_an_interrupted_or_diverged_run_is_not_written(tmp_path):
    for end in (KeyboardInterrupt, None):
        path, state = tmp_path / f"{end}.pt", make_state()
        plain_step = make_step(state)

        def step(i, plain_step=plain_step, end=end):
            if i == 70:
                if end is None:
                    return float("nan")
                raise end
            return plain_step(i)

        train(step, state, max_iter=100, checkpoint=Checkpoint(path, every=50))
        assert torch.load(path, weights_only=True)["state"]["iteration"] == 50


def test_nan_after_a_resumption_goes_back_as_far(tmp_path):
    states = []
    for name in ("whole", "crashed"):
        state, path = make_state(), tmp_path / f"{name}.pt"
        if name == "crashed":
            with pytest.raises(Crash):
                run(state, path, on_iteration=crash_at(99), every=70)
            state = make_state()
        plain_step = make_step(state)

        def step(i, plain_step=plain_step):
            return plain_step(i) if i < 90 else float("nan")

        checkpoint = Checkpoint(path, every=70)
        result = train(step, state, max_iter=300, checkpoint=checkpoint, fingerprint="fit")
        assert (result.diverged_at, result.n_iter) == (90, 70)
        states.append(state)
    assert_same(*states)


def test_checkpoint_is_a_component(tmp_path):
    assert (
        check_component(
            Checkpoint(tmp_path / "a", every=3), default=None, kind=Checkpoint, name="checkpoint"
        ).every
        == 3
    )
    for bad in (Checkpoint(7), Checkpoint("a", every=0)):
        with pytest.raises(ValueError, match="parameter of Checkpoint"):
            bad.validate()


def test_fingerprints_tell_fits_apart():
    parts = [
        (Adam(), DATA),
        (Adam(lr=1e-4), DATA),
        (Adam(), DATA + 1e-12),
        (Adam(), DATA[:-1]),
        (Adam(), DATA.float()),
        (Adam(), DATA, None),
        (TimeBudget(stopping=EarlyStopping(tol=0.1)),),
        (TimeBudget(stopping=EarlyStopping(tol=0.2)),),
        ({"a": 1, "b": [1, 2]},),
        ({"a": 1, "b": [12]},),
        (np.array(["x", "yz"], dtype=object),),
        (np.array(["xy", "z"], dtype=object),),
        (np.zeros((2, 3)),),
        (np.zeros((3, 2)),),
    ]
    digests = [fingerprint(*part) for part in parts]
    assert len(set(digests)) == len(parts)
    assert digests == [fingerprint(*part) for part in parts]
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    strided = DATA.T.contiguous().T
    assert fingerprint(strided) == fingerprint(DATA)
