"""Copies between NumPy and torch, devices, dtypes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

from skot.utils.tensors import (
    like_input,
    output_dtype,
    resolve_device,
    resolve_dtype,
    to_numpy,
    to_tensor,
)


@given(
    hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<f2", "<i4", ">i8", "u1", "?"]),
        hnp.array_shapes(max_dims=3, max_side=4),
    ),
    st.booleans(),
    st.booleans(),
)
def test_to_tensor_copies_any_layout(array, reverse, read_only):
    array = array[::-1] if reverse else array
    array.flags.writeable = not read_only
    before = array.copy()
    tensor = to_tensor(array)
    assert tensor.dtype == (torch.float32 if array.dtype == np.float32 else torch.float64)
    assert tensor.is_contiguous()
    assert_array_equal(tensor.numpy(), before.astype(tensor.numpy().dtype))
    tensor.zero_()
    assert_array_equal(array, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.int64])
def test_to_tensor_copies_tensors(dtype):
    original = torch.arange(6).reshape(2, 3).to(dtype).T
    tensor = to_tensor(original)
    assert tensor.is_contiguous()
    assert tensor.dtype == (torch.float32 if dtype is torch.float32 else torch.float64)
    tensor.zero_()
    assert original.sum() == 15


def test_to_tensor_detaches():
    assert not to_tensor(torch.ones(2, requires_grad=True)).requires_grad


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bfloat16, torch.bool])
def test_to_tensor_to_dtype(dtype):
    tensor = to_tensor(np.array([0.0, 1.0], dtype=">f8"), dtype=dtype)
    assert tensor.dtype is dtype
    assert tensor.tolist() == [0, 1]


def test_to_numpy_from_any_tensor():
    tensor = torch.tensor([1.0, 2.0], requires_grad=True)
    assert_array_equal(to_numpy(tensor), [1.0, 2.0])
    assert_array_equal(to_numpy(torch.tensor([1 + 2j]).conj()), [1 - 2j])
    assert_array_equal(to_numpy([1, 2]), [1, 2])


@pytest.mark.parametrize(
    "X, expected",
    [
        (np.zeros(1, dtype="f4"), "f4"),
        (np.zeros(1, dtype="f8"), "f8"),
        (np.zeros(1, dtype="f2"), "f8"),
        (np.zeros(1, dtype="i4"), "f8"),
        (torch.zeros(1), "f4"),
        (torch.zeros(1, dtype=torch.bfloat16), "f8"),
        ([1.0], "f8"),
    ],
)
def test_output_dtype(X, expected):
    assert output_dtype(X) == np.dtype(expected)
    assert resolve_dtype(X) == (torch.float32 if expected == "f4" else torch.float64)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_values_like_the_input(dtype):
    values, X = torch.ones(2, dtype=torch.float64), np.zeros(3, dtype=dtype)
    for like in (like_input(values, X), to_numpy(like_input(values, torch.from_numpy(X)))):
        assert like.dtype == X.dtype
        assert_array_equal(like, [1.0, 1.0])
    assert isinstance(like_input(values, X), np.ndarray)
    assert isinstance(like_input(values, torch.from_numpy(X)), torch.Tensor)


def test_resolve_device_follows_the_input():
    assert resolve_device() == torch.device("cpu")
    assert resolve_device(None, np.zeros(2)) == torch.device("cpu")
    assert resolve_device(None, torch.zeros(2, device="meta")) == torch.device("meta")
    assert resolve_device("cpu", torch.zeros(2, device="meta")) == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("there", [True, False])
def test_auto_takes_cuda_when_there_is_one(monkeypatch, there):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert resolve_device("auto").type == ("cuda" if there else "cpu")


@pytest.mark.parametrize("device", ["gpu", "", 1.5, "cuda:zero"])
def test_bad_device(device):
    with pytest.raises(ValueError, match="The 'device' parameter must be"):
        resolve_device(device)


def test_cuda_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda") == torch.device("cuda")
    with pytest.raises(ValueError, match=r"device='cuda:1' is not there: torch sees 1 CUDA"):
        resolve_device("cuda:1")


@pytest.mark.gpu
def test_tensors_come_back_from_cuda():
    X = np.arange(3.0)[::-1]
    tensor = to_tensor(X, device=resolve_device("auto"))
    assert tensor.is_cuda
    assert to_tensor(tensor).is_cuda
    assert_array_equal(to_numpy(tensor), X)


def test_bfloat16_is_float32_for_numpy():
    values = torch.tensor([[1.0, 0.1], [-3.0, 1e30]], dtype=torch.bfloat16, requires_grad=True)
    array = to_numpy(values)
    assert array.dtype == np.float32
    assert_array_equal(array, values.detach().float())
    assert to_numpy(torch.zeros(2, dtype=torch.float16)).dtype == np.float16
