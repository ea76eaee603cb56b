"""Pairs around obstacles, and the sequences and sightings that metrics are learned from."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skot.costs import (
    CircleMetric,
    CrossingPathsMetric,
    HarmonicWell,
    KineticPotential,
    MassSplittingMetric,
    RiemannianKinetic,
    check_lagrangian,
)
from skot.datasets import (
    fetch_metric_sequences,
    fetch_snow_goose,
    make_obstacle_pair,
    obstacle_lagrangian,
)

STRIPS = ["box", "slit", "hill", "well", "maze"]
GAUSSIANS = {
    "v_neck": ((-7.0, 0.0), (7.0, 0.0), 0.04),
    "s_tunnel": ((-11.0, -1.0), (11.0, -1.0), 0.25),
    "circle": ((-1.0, 0.0), (1.0, 0.0), 0.09),
}
NAMES = [*STRIPS, *GAUSSIANS, "gaussian_mixture"]


@pytest.mark.parametrize("name", NAMES)
def test_sizes_and_seed(name):
    X, Y = make_obstacle_pair(name, (31, 20), random_state=3)
    assert X.shape == (31, 2)
    assert Y.shape == (20, 2)
    again = make_obstacle_pair(name, (31, 20), random_state=np.random.RandomState(3))
    assert_array_equal(X, again[0])
    assert_array_equal(Y, again[1])
    assert not np.array_equal(X, make_obstacle_pair(name, (31, 20), random_state=4)[0])
    state = np.random.mtrand._rand.get_state()[1].copy()
    make_obstacle_pair(name, 5, random_state=0)
    assert_array_equal(np.random.mtrand._rand.get_state()[1], state)


@pytest.mark.parametrize("name", STRIPS)
def test_strips(name):
    X, Y = make_obstacle_pair(name, 20_000, random_state=0)
    for sample, left in ((X, -1.25), (Y, 1.0)):
        # Uniform: the extremes, the means and the variances of the two sides.
        assert_allclose(sample.min(axis=0), [left, -1.0], atol=2e-3)
        assert_allclose(sample.max(axis=0), [left + 0.25, 1.0], atol=2e-3)
        assert_allclose(sample.mean(axis=0), [left + 0.125, 0.0], atol=0.015)
        assert_allclose(sample.var(axis=0), [0.25**2 / 12, 4 / 12], rtol=0.03)


@pytest.mark.parametrize("name", GAUSSIANS)
def test_gaussians(name):
    source, target, deviation = GAUSSIANS[name]
    for sample, mean in zip(
        make_obstacle_pair(name, 20_000, random_state=0), (source, target), strict=True
    ):
        assert_allclose(sample.mean(axis=0), mean, atol=0.04 * deviation)
        assert_allclose(np.cov(sample.T), deviation**2 * np.eye(2), atol=0.04 * deviation**2)


def test_gaussian_mixture():
    X, Y = make_obstacle_pair("gaussian_mixture", 16_000, random_state=0)
    assert_allclose(np.cov(X.T), np.eye(2), atol=0.05)
    angle = np.round(np.arctan2(Y[:, 1], Y[:, 0]) / (np.pi / 4)).astype(int) % 8
    assert_allclose(np.bincount(angle, minlength=8), 2000, atol=2)
    for k in range(8):
        center = 16.0 * np.array([np.cos(k * np.pi / 4), np.sin(k * np.pi / 4)])
        assert_allclose(Y[angle == k].mean(axis=0), center, atol=0.1)
        assert_allclose(np.cov(Y[angle == k].T), np.eye(2), atol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_lagrangian_is_defined_on_the_pair_and_between(name):
    lagrangian = obstacle_lagrangian(name)
    lagrangian.validate()
    X, Y = (torch.tensor(sample) for sample in make_obstacle_pair(name, 50, random_state=0))
    t = torch.linspace(0.0, 1.0, 201, dtype=X.dtype)
    paths = X[:, None] + t[:, None] * (Y - X)[:, None]
    velocities = (Y - X)[:, None].expand_as(paths)
    check_lagrangian(lagrangian, paths, velocities, t)
    if isinstance(lagrangian, KineticPotential) and not isinstance(
        lagrangian.potential, HarmonicWell
    ):
        # Both samples are clear of the obstacle; some straight line between them is not.
        energy = lagrangian.potential(paths)
        level = 0.6 if name == "hill" else 0.1
        clear = -level * lagrangian.potential.strength
        assert energy[:, [0, -1]].min() > clear
        assert energy.min() < clear or name == "v_neck"


def test_lagrangian_by_name():
    assert repr(obstacle_lagrangian("s_tunnel")) == "KineticPotential(potential=STunnel())"
    assert isinstance(obstacle_lagrangian("circle"), RiemannianKinetic)
    assert repr(obstacle_lagrangian()) == "KineticPotential(potential=BoxObstacle())"


@pytest.mark.parametrize("function", [make_obstacle_pair, obstacle_lagrangian])
def test_unknown_obstacle(function):
    with pytest.raises(ValueError, match=r"obstacle.*must be a str among"):
        function("wall")


@pytest.mark.parametrize("n_samples", [0, 2.5, (10,), (10, 0)])
def test_bad_sizes(n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        make_obstacle_pair("box", n_samples)


@pytest.fixture
def small_home(tmp_path):
    """Small stand-ins in the layout of the real files, every value different."""
    layouts = {
        "scarvelis/circle.npy": (3, 4, 2),
        "scarvelis/mass_splitting.npy": (3, 5, 2),
        "scarvelis/x_paths.npy": (2, 3, 4, 2),
        "snow_goose/ebird_snow_goose_data_basemap.npy": (12, 3, 2),
        "snow_goose/movebank_goose_data_basemap_82901.npy": (7, 2),
    }
    for name, shape in layouts.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.arange(float(np.prod(shape))).reshape(shape))
    return tmp_path


def test_sequences_are_stacked_by_time(small_home, monkeypatch):
    monkeypatch.setenv("SKOT_DATA", str(small_home))
    circle = fetch_metric_sequences()
    assert_array_equal(circle.time, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    assert_array_equal(circle.X, np.arange(24.0).reshape(12, 2))
    paths = fetch_metric_sequences("x_paths")
    original = np.load(small_home / "scarvelis" / "x_paths.npy")
    assert_array_equal(paths.time, np.repeat([0, 1, 2], 8))
    assert_array_equal(paths.X[paths.time == 1], np.concatenate([original[0, 1], original[1, 1]]))
    metrics = {
        "circle": CircleMetric,
        "mass_splitting": MassSplittingMetric,
        "x_paths": CrossingPathsMetric,
    }
    for name, metric in metrics.items():
        sequence = fetch_metric_sequences(name, data_home=small_home)
        assert type(sequence.metric) is metric
        assert name in sequence.DESCR


def test_geese_are_stacked_by_month(small_home):
    geese = fetch_snow_goose(data_home=small_home)
    assert_array_equal(geese.month, np.repeat(np.arange(1, 13), 3))
    assert_array_equal(geese.X, np.arange(72.0).reshape(36, 2))
    assert geese.tracks.shape == (7, 2)
    assert "Mercator" in geese.DESCR


def test_absent_files_are_explained(tmp_path):
    for name in ("circle", "mass_splitting", "x_paths"):
        with pytest.raises(FileNotFoundError, match=rf"{name}\.npy.*https://.*\.pt.*SKOT_DATA"):
            fetch_metric_sequences(name, data_home=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"ebird.*https://.*SKOT_DATA"):
        fetch_snow_goose(data_home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_absent_track_is_explained(small_home):
    (small_home / "snow_goose" / "movebank_goose_data_basemap_82901.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"movebank.*\(n_positions, 2\)"):
        fetch_snow_goose(data_home=small_home)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scarvelis/circle.npy", r"\(n_times, n_points, 2\). Got \(4, 3\)"),
        ("scarvelis/x_paths.npy", r"\(n_paths, n_times, n_points, 2\). Got \(4, 3\)"),
        ("snow_goose/ebird_snow_goose_data_basemap.npy", r"\(12, n_sightings, 2\). Got \(4, 3\)"),
        ("snow_goose/movebank_goose_data_basemap_82901.npy", r"\(n_positions, 2\). Got \(4, 3\)"),
    ],
)
def test_another_layout_is_reported(small_home, name, message):
    np.save(small_home / name, np.zeros((4, 3)))
    folder, stem = name.removesuffix(".npy").split("/")
    arguments = {"scarvelis": (fetch_metric_sequences, stem), "snow_goose": (fetch_snow_goose,)}
    fetch, *positional = arguments[folder]
    with pytest.raises(ValueError, match=message):
        fetch(*positional, data_home=small_home)


def test_nothing_is_unpickled(small_home):
    for name in ("scarvelis/circle.npy", "snow_goose/ebird_snow_goose_data_basemap.npy"):
        np.save(small_home / name, np.array([{"an": "object"}], dtype=object))
    for fetch in (fetch_metric_sequences, fetch_snow_goose):
        with pytest.raises(ValueError, match="allow_pickle=False"):
            fetch(data_home=small_home)


def test_parameters_are_validated():
    for bad in ({"name": "square"}, {"data_home": 3}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            fetch_metric_sequences(**bad)
    with pytest.raises(ValueError, match="data_home"):
        fetch_snow_goose(data_home=3)


def mean_directions(sequence, n_times):
    """Steps of the mean of the populations, and where they are taken."""
    means = np.array([sequence.X[sequence.time == k].mean(axis=0) for k in range(n_times)])
    return 0.5 * (means[1:] + means[:-1]), np.diff(means, axis=0)


def test_real_circle(data_home):
    circle = fetch_metric_sequences("circle", data_home=data_home)
    assert circle.X.shape == (2500, 2)
    assert_array_equal(np.bincount(circle.time), np.full(25, 100))
    assert_array_equal(circle.X[circle.time == 24], circle.X[circle.time == 0])
    assert_allclose(np.linalg.norm(circle.X, axis=1).mean(), 1.0, atol=0.02)
    # Motion is along the cheap direction, anticlockwise. The step of a mean is 0.26, its random
    # part has a standard deviation of 0.014 across: 4 of them are 5 % of the squared length.
    place, step = (torch.tensor(a) for a in mean_directions(circle, 25))
    squares = (step**2).sum(1)
    assert (circle.metric.quadratic_form(place, step) < 0.05 * squares).all()
    assert (place[:, 0] * step[:, 1] > place[:, 1] * step[:, 0]).all()


def test_real_mass_splitting(data_home):
    sequence = fetch_metric_sequences("mass_splitting", data_home=data_home)
    assert_array_equal(np.bincount(sequence.time), np.full(10, 100))
    assert_allclose(sequence.X[sequence.time == 0].std(axis=0), 1.0, atol=0.1)
    last = sequence.X[sequence.time == 9]
    for sign in (1, -1):
        half = last[sign * last[:, 1] > 0]
        assert len(half) == 50
        assert_allclose(half.mean(axis=0), [10.0, 10.0 * sign], atol=0.5)


def test_real_x_paths(data_home):
    sequence = fetch_metric_sequences("x_paths", data_home=data_home)
    assert_array_equal(np.bincount(sequence.time), np.full(10, 200))
    for time, sign in ((0, -1.0), (9, 1.0)):
        rows = sequence.X[sequence.time == time]
        for side in (slice(100), slice(100, None)):
            mean = rows[side].mean(axis=0)
            assert_allclose(np.abs(mean), 1.0, atol=0.05)
            assert np.sign(mean[0]) == sign
    # The middle of the way is near the origin.
    assert np.abs(sequence.X[sequence.time == 4]).max() < 0.3


def test_real_geese_are_where_the_description_says(data_home):
    geese = fetch_snow_goose(data_home=data_home)
    assert geese.X.shape == (12_000, 2)
    assert geese.tracks.shape == (78_179, 2)

    def degrees(points):
        origin = np.log(np.tan(np.pi / 4 + np.deg2rad(22.0) / 2))
        latitude = 2 * np.arctan(np.exp(points[:, 1] / 5 + origin)) - np.pi / 2
        return np.rad2deg(points[:, 0] / 5) - 172.0, np.rad2deg(latitude)

    longitude, latitude = degrees(geese.X)
    assert -172.0 - 1e-9 <= longitude.min() < longitude.max() < -52.0
    assert 22.0 - 1e-9 <= latitude.min() < latitude.max() < 83.0
    # South in winter, north in summer.
    by_month = [np.percentile(latitude[geese.month == month], 90) for month in range(1, 13)]
    assert np.argmax(by_month) in (5, 6)
    assert max(by_month) - by_month[0] > 15.0
    longitude, latitude = degrees(geese.tracks)
    for place in ((-121.8, 38.9), (-125.1, 72.4)):  # Sacramento Valley, Banks Island
        assert np.hypot(longitude - place[0], latitude - place[1]).min() < 0.2
    # In the order of time: most steps are small.
    steps = np.linalg.norm(np.diff(geese.tracks, axis=0), axis=1)
    assert np.median(steps) < 1e-3 * np.linalg.norm(geese.tracks.std(axis=0))
