"""Pairs with a nonlinear map: published figures, and properties of the generated ones."""

import pickle

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skot.datasets import fetch_usps, fetch_w2_benchmark, make_w2_benchmark
from skot.metrics import l2_uvp, wasserstein_distance


def gaussian_map(X, Y):
    """The optimal map between the Gaussians of the same moments."""
    root = scipy.linalg.sqrtm(np.cov(X.T)).real
    inverse = np.linalg.inv(root)
    matrix = inverse @ scipy.linalg.sqrtm(root @ np.cov(Y.T) @ root).real @ inverse
    return lambda Z: Y.mean(axis=0) + (Z - X.mean(axis=0)) @ matrix


def least_squares_map(X, Y):
    """The affine map with the lowest error on paired rows."""
    solution = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), Y, rcond=None)[0]
    return lambda Z: np.column_stack([Z, np.ones(len(Z))]) @ solution


def linear_uvp(benchmark, n_samples=2**14):
    X, Z = (benchmark.sample_source(n_samples, random_state=seed) for seed in (1, 2))
    fitted = least_squares_map(X, benchmark.map(X))
    return l2_uvp(benchmark.map(Z), fitted(Z), variance=benchmark.output_variance)


def striped_images(n=400, side=8, seed=0):
    """Images with one bright bar, as a stand-in for digits."""
    rng = np.random.RandomState(seed)
    images = np.zeros((n, side, side))
    for image, row, column, across in zip(
        images, *rng.randint(side - 2, size=(2, n)), rng.randint(2, size=n), strict=True
    ):
        region = image if across else image.T
        region[row : row + 2, column:] = 1.0
    return images


def write_pair(folder, n_features=2, hidden=(6, 5, 3), seed=0, **changes):
    """Write a small pair in the layout of the benchmark."""
    rng = np.random.default_rng(seed)
    arrays = {
        "centers": rng.normal(size=(3, n_features)),
        "maps": rng.normal(size=(3, n_features, n_features)),
        "std": np.array(0.4),
        "strong_convexity": np.array(0.3),
        "shift": rng.normal(size=n_features),
        "scale": np.array(0.7),
        "output_variance": np.array(3.5),
        "input_variance": np.array(2.5),
    }
    for network in ("v1", "v2"):
        for layer, width in enumerate(hidden):
            name = f"{network}.quadratic{layer}"
            arrays[f"{name}.factor"] = rng.normal(size=(n_features, width)).astype(np.float32)
            arrays[f"{name}.weight"] = rng.normal(size=(width, n_features)).astype(np.float32)
            arrays[f"{name}.bias"] = rng.normal(size=width).astype(np.float32)
        for layer in (1, 2):
            shape = (hidden[layer], hidden[layer - 1])
            arrays[f"{network}.convex{layer}.weight"] = rng.random(shape).astype(np.float32)
        arrays[f"{network}.final.weight"] = rng.random((1, hidden[2])).astype(np.float32)
    arrays |= changes
    (folder / "w2_benchmark").mkdir(exist_ok=True)
    np.savez(folder / "w2_benchmark" / f"{n_features}.npz", **arrays)
    return arrays


def reference_potential(arrays, x):
    """The formulas of the benchmark, layer by layer."""
    total = 0.0
    for network in ("v1", "v2"):

        def get(name, network=network):
            return torch.tensor(arrays[f"{network}.{name}"], dtype=torch.float64)

        def quadratic(layer, get=get):
            name = f"quadratic{layer}"
            linear = x @ get(f"{name}.weight").T + get(f"{name}.bias")
            return (x @ get(f"{name}.factor")) ** 2 + linear

        z = quadratic(0)
        for layer in (1, 2):
            z = torch.celu(z @ get(f"convex{layer}.weight").T + quadratic(layer))
        convexity = float(arrays["strong_convexity"])
        total = total + (z @ get("final.weight").T)[:, 0] + 0.5 * convexity * (x**2).sum(dim=1)
    return total


def test_fetched_pair_follows_the_formulas(tmp_path):
    arrays = write_pair(tmp_path)
    benchmark = fetch_w2_benchmark(2, data_home=tmp_path)
    x = torch.randn(
        9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    values = reference_potential(arrays, x)
    (gradients,) = torch.autograd.grad(values.sum(), x)
    X = x.detach().numpy()
    expected = 0.7 * (gradients.numpy() - arrays["shift"])
    assert_allclose(benchmark.map(X), expected, rtol=1e-10)
    assert_allclose(
        benchmark.potential(X), 0.7 * (values.detach().numpy() - X @ arrays["shift"]), rtol=1e-10
    )
    assert benchmark.output_variance == 3.5
    assert benchmark.n_features == 2


def test_fetched_source_is_the_mixture(tmp_path):
    arrays = write_pair(tmp_path)
    benchmark = fetch_w2_benchmark(2, data_home=tmp_path)
    X = benchmark.sample_source(200_000, random_state=0)
    assert_allclose(X.mean(axis=0), arrays["centers"].mean(axis=0), atol=0.02)
    covariance = np.cov(arrays["centers"].T, bias=True)
    covariance = covariance + 0.16 * np.mean([m @ m.T for m in arrays["maps"]], axis=0)
    assert_allclose(np.cov(X.T), covariance, atol=0.02)
    assert_allclose(benchmark.input_variance, np.trace(covariance))


def test_missing_and_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"w2_benchmark.*2\.npz"):
        fetch_w2_benchmark(2, data_home=tmp_path)
    arrays = write_pair(tmp_path)
    del arrays["v2.final.weight"]
    np.savez(tmp_path / "w2_benchmark" / "2.npz", **arrays)
    with pytest.raises(ValueError, match=r"expected layout.*v2\.final\.weight not found"):
        fetch_w2_benchmark(2, data_home=tmp_path)
    write_pair(tmp_path, n_features=3)
    (tmp_path / "w2_benchmark" / "3.npz").rename(tmp_path / "w2_benchmark" / "5.npz")
    with pytest.raises(ValueError, match="expected 5 features, found 3"):
        fetch_w2_benchmark(5, data_home=tmp_path)
    write_pair(tmp_path, shift=np.array([None, 1.0], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        fetch_w2_benchmark(2, data_home=tmp_path)
    with pytest.raises(ValueError, match="n_features"):
        fetch_w2_benchmark(0)


@pytest.mark.parametrize(
    "n_features, linear, identity",
    [(2, 14.0, 32.8), (4, 14.7, 42.4), (16, 41.5, 89.0), (64, 63.4, 135.1)],
)
def test_published_figures(data_home, n_features, linear, identity):
    benchmark = fetch_w2_benchmark(n_features, data_home=data_home)
    X, Y = benchmark.sample_source(2**15, 0), benchmark.sample_target(2**15, 1)
    Z = benchmark.sample_source(2**14, 2)
    T = benchmark.map(Z)
    uvp = l2_uvp(T, gaussian_map(X, Y)(Z), variance=benchmark.output_variance)
    assert uvp == pytest.approx(linear, rel=0.03)
    assert l2_uvp(T, Z, variance=benchmark.output_variance) == pytest.approx(identity, rel=0.03)
    assert_allclose(Y.mean(axis=0), 0.0, atol=0.04)
    assert_allclose(Y.var(axis=0).sum(), n_features, rtol=0.02)
    assert_allclose(X.var(axis=0).sum(), benchmark.input_variance, rtol=0.02)


@pytest.fixture(params=["dense", "images"])
def benchmark(request):
    if request.param == "dense":
        return make_w2_benchmark(5, random_state=0)
    return make_w2_benchmark(images=striped_images(side=7), random_state=0)


def test_the_map_is_the_gradient_of_the_potential(benchmark):
    X = benchmark.sample_source(4, random_state=0)
    step = 1e-6
    T = benchmark.map(X)
    for j in range(benchmark.n_features):
        offset = step * np.eye(benchmark.n_features)[j]
        slope = (benchmark.potential(X + offset) - benchmark.potential(X - offset)) / (2.0 * step)
        assert_allclose(T[:, j], slope, atol=1e-5)


def test_the_potential_is_convex(benchmark):
    rng = np.random.default_rng(0)
    X, Y = (3.0 * rng.normal(size=(500, benchmark.n_features)) for _ in range(2))
    middle = benchmark.potential((X + Y) / 2.0)
    mean = (benchmark.potential(X) + benchmark.potential(Y)) / 2.0
    assert (middle < mean).all()


def test_no_assignment_is_cheaper_than_the_map(benchmark):
    X = benchmark.sample_source(150, random_state=0)
    Y = benchmark.map(X)
    cost = np.sqrt(np.square(Y - X).sum(axis=1).mean())
    assert wasserstein_distance(X, Y) == pytest.approx(cost, rel=1e-9)


def test_variances(benchmark):
    X, Y = benchmark.sample_source(2**15, 0), benchmark.sample_target(2**15, 1)
    assert_allclose(X.var(axis=0).sum(), benchmark.input_variance, rtol=0.02)
    assert_allclose(Y.var(axis=0).sum(), benchmark.output_variance, rtol=0.03)
    center = X.mean(axis=0) if benchmark.n_features == 49 else np.zeros(5)
    assert_allclose(Y.mean(axis=0), center, atol=0.05)


def test_samples_are_independent_and_seeded(benchmark):
    X, Y = benchmark.sample_source(30, 0), benchmark.sample_target(30, 1)
    assert_array_equal(X, benchmark.sample_source(30, 0))
    assert_array_equal(Y, benchmark.sample_target(30, 1))
    assert np.abs(benchmark.map(X) - Y).max(axis=1).min() > 1e-3
    rng = np.random.RandomState(0)
    first, second = benchmark.sample_source(30, rng), benchmark.sample_target(30, rng)
    assert np.abs(benchmark.map(first) - second).max(axis=1).min() > 1e-3


def test_tensors_agree_with_arrays(benchmark):
    generator = torch.Generator().manual_seed(0)
    x = benchmark.sample_source_tensor(5000, generator)
    y = benchmark.sample_target_tensor(5000, generator)
    assert x.dtype == y.dtype == torch.float32
    assert not y.requires_grad
    assert_allclose(benchmark.map_tensor(x).numpy(), benchmark.map(x.numpy()), atol=2e-4)
    assert_allclose(y.var(dim=0).sum(), benchmark.output_variance, rtol=0.06)
    again = torch.Generator().manual_seed(0)
    assert torch.equal(benchmark.sample_source_tensor(5000, again), x)


def test_pickle(benchmark):
    benchmark.sample_target_tensor(3, torch.Generator())
    again = pickle.loads(pickle.dumps(benchmark))
    assert_array_equal(again.sample_target(5, 0), benchmark.sample_target(5, 0))


def test_wrong_width(benchmark):
    with pytest.raises(ValueError, match="X has 2 features, but W2Benchmark is expecting"):
        benchmark.map(np.zeros((4, 2)))


@pytest.mark.parametrize("n_features", [2, 3, 16, 64])
@pytest.mark.parametrize("random_state", [0, 1])
def test_generated_maps_are_far_from_linear(n_features, random_state):
    benchmark = make_w2_benchmark(n_features, random_state=random_state)
    assert benchmark.n_features == n_features
    assert_allclose(benchmark.output_variance, n_features)
    assert_allclose(benchmark.input_variance, n_features, rtol=1e-6)
    assert linear_uvp(benchmark, 2**13) >= 10.0


def test_maps_of_digits_are_far_from_linear(data_home):
    images, _ = fetch_usps(data_home=data_home, return_X_y=True)
    benchmark = make_w2_benchmark(images=images, random_state=0)
    assert benchmark.n_features == 256
    assert linear_uvp(benchmark) >= 30.0
    X = images.astype(np.float64)
    assert_allclose(benchmark.input_variance, X.var(axis=0).sum() + 256 * 0.1**2, rtol=1e-6)


def test_seeds_of_the_pair():
    one, two, other = (make_w2_benchmark(3, random_state=seed) for seed in (0, 0, 1))
    X = np.ones((1, 3))
    assert_array_equal(one.map(X), two.map(X))
    assert not np.allclose(one.map(X), other.map(X), atol=1e-3)


def test_flat_and_shaped_images_are_the_same():
    images = striped_images()
    flat = make_w2_benchmark(images=images.reshape(400, 64), random_state=0)
    shaped = make_w2_benchmark(64, images=images, random_state=0)
    assert_array_equal(flat.sample_target(3, 0), shaped.sample_target(3, 0))


def test_noise_of_the_images():
    images = striped_images()
    X = make_w2_benchmark(images=images, noise=0.0, random_state=0).sample_source(20, 0)
    distance = np.abs(X[:, None] - images.reshape(400, 64)).max(axis=2).min(axis=1)
    assert_allclose(distance, 0.0)


def test_bad_parameters():
    images = striped_images(n=5)
    with pytest.raises(ValueError, match="n_features"):
        make_w2_benchmark(0)
    with pytest.raises(ValueError, match="noise"):
        make_w2_benchmark(noise=-1.0)
    with pytest.raises(ValueError, match="number of pixels, 64. Got 5"):
        make_w2_benchmark(5, images=images)
    with pytest.raises(ValueError, match="Flat images must be square. Got 63 pixels"):
        make_w2_benchmark(images=images.reshape(5, 64)[:, :63])
    with pytest.raises(ValueError, match="images must be a finite array of shape"):
        make_w2_benchmark(images=np.full((3, 4, 4), np.nan))
    with pytest.raises(ValueError, match="images must be a finite array of shape"):
        make_w2_benchmark(images=np.zeros(16))
