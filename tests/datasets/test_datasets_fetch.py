"""The data sets that are read from a folder: real ones where present, and small stand-ins."""

import bz2
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import savemat

from skot.datasets import (
    fetch_kodak,
    fetch_mnist,
    fetch_office_caltech,
    fetch_population,
    fetch_usps,
    get_data_home,
)


def write_digits(path, side, dtype, scale):
    """Write a small archive in the layout of MNIST and USPS."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n_samples in (("train", 6), ("test", 4)):
        arrays[f"x_{part}"] = (scale * rng.random((n_samples, side, side))).astype(dtype)
        arrays[f"y_{part}"] = rng.integers(0, 10, n_samples).astype(np.uint8)
    path.parent.mkdir(parents=True)
    np.savez(path, **arrays)
    return arrays


def test_data_home(monkeypatch, tmp_path):
    monkeypatch.setenv("SKOT_DATA", str(tmp_path))
    assert get_data_home() == tmp_path
    assert get_data_home(tmp_path / "other") == tmp_path / "other"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_data_home("~/folder") == tmp_path / "folder"
    monkeypatch.delenv("SKOT_DATA")
    assert get_data_home() == tmp_path / "skot_data"
    assert not (tmp_path / "skot_data").exists()


def test_mnist_is_scaled_and_split(tmp_path):
    arrays = write_digits(tmp_path / "mnist" / "mnist.npz", 28, np.uint8, 255)
    train = fetch_mnist(data_home=tmp_path)
    assert train.data.dtype == np.float32
    assert_allclose(train.data, arrays["x_train"].reshape(6, 784) / 255.0, rtol=1e-6)
    assert_array_equal(train.target, arrays["y_train"])
    assert train.target.dtype == np.int64
    assert_array_equal(train.images.reshape(6, 784), train.data)
    data, target = fetch_mnist(subset="all", data_home=tmp_path, return_X_y=True)
    assert_array_equal(target, np.concatenate([arrays["y_train"], arrays["y_test"]]))
    assert_array_equal(data[6:], fetch_mnist(subset="test", data_home=tmp_path).data)


def test_usps_keeps_its_values(tmp_path):
    arrays = write_digits(tmp_path / "usps" / "usps.npz", 16, np.float32, 1.0)
    usps = fetch_usps(subset="test", data_home=tmp_path)
    assert_array_equal(usps.images, arrays["x_test"])


def test_resampling_keeps_the_mean_and_constant_images(tmp_path):
    path = tmp_path / "usps" / "usps.npz"
    arrays = write_digits(path, 16, np.float32, 1.0)
    arrays["x_train"][0] = 0.5
    np.savez(path, **arrays)
    halved = fetch_usps(image_size=8, data_home=tmp_path)
    assert halved.data.shape == (6, 64)
    assert_allclose(halved.images[0], 0.5, rtol=1e-6)
    assert_allclose(halved.data.mean(axis=1), arrays["x_train"].mean(axis=(1, 2)), atol=0.03)
    assert halved.data.std() < arrays["x_train"].std()


def test_data_home_of_the_environment_is_read(monkeypatch, tmp_path):
    write_digits(tmp_path / "mnist" / "mnist.npz", 28, np.uint8, 255)
    monkeypatch.setenv("SKOT_DATA", str(tmp_path))
    assert fetch_mnist(download_if_missing=False).data.shape == (6, 784)


@pytest.mark.parametrize("fetch", [fetch_mnist, fetch_usps])
def test_absent_file_is_explained(fetch, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"(?s)x_train.*https://.*data_home.*SKOT_DATA"):
        fetch(data_home=tmp_path, download_if_missing=False)
    assert list(tmp_path.iterdir()) == []


def test_absent_files_that_are_never_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"dslr\.mat.*fts.*https://"):
        fetch_office_caltech("dslr", data_home=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"01\.png.*https://"):
        fetch_kodak(data_home=tmp_path)
    with pytest.raises(FileNotFoundError, match=r"gpw_v4.*density.*https://"):
        fetch_population(data_home=tmp_path)


def test_another_layout_is_reported(tmp_path):
    (tmp_path / "mnist").mkdir()
    np.savez(tmp_path / "mnist" / "mnist.npz", x_train=np.zeros((2, 28, 28)))
    with pytest.raises(ValueError, match="y_train, x_test, y_test not found"):
        fetch_mnist(data_home=tmp_path)


def test_nothing_is_unpickled(tmp_path):
    arrays = write_digits(tmp_path / "mnist" / "mnist.npz", 28, np.uint8, 255)
    arrays["x_train"] = np.array([{"an": "object"}], dtype=object)
    np.savez(tmp_path / "mnist" / "mnist.npz", **arrays)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        fetch_mnist(data_home=tmp_path)


@pytest.mark.parametrize(
    "bad",
    [{"subset": "validation"}, {"image_size": 0}, {"data_home": 3}, {"return_X_y": "yes"}],
)
def test_parameters_are_validated(bad):
    for fetch in (fetch_mnist, fetch_usps):
        with pytest.raises(ValueError, match=next(iter(bad))):
            fetch(**bad)


def test_mnist_is_downloaded_once(monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch")
    calls = []

    def retrieve(url, known_hash, fname, path):
        calls.append((url, known_hash))
        write_digits(path / fname, 28, np.uint8, 255)

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    for _ in range(2):
        assert fetch_mnist(data_home=tmp_path).data.shape == (6, 784)
    assert len(calls) == 1
    assert calls[0][0].startswith("https://")
    assert len(calls[0][1]) == len("sha256:") + 64


def test_usps_text_is_converted_once(monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch")
    rng = np.random.default_rng(0)
    pixels = rng.uniform(-1.0, 1.0, (5, 256)).round(4)
    calls = []

    def retrieve(url, known_hash, fname, path):
        calls.append(url)
        lines = [
            f"{label + 1} " + " ".join(f"{i + 1}:{value}" for i, value in enumerate(row))
            for label, row in enumerate(pixels)
        ]
        path.mkdir(exist_ok=True)
        (path / fname).write_bytes(bz2.compress("\n".join(lines).encode()))

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    for _ in range(2):
        usps = fetch_usps(data_home=tmp_path)
        assert_allclose(usps.data, (pixels + 1.0) / 2.0, atol=1e-6)
        assert_array_equal(usps.target, np.arange(5))
    assert [url.rpartition("/")[2] for url in calls] == ["usps.bz2", "usps.t.bz2"]
    assert [path.name for path in (tmp_path / "usps").iterdir()] == ["usps.npz"]


def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch")

    def retrieve(url, known_hash, fname, path):
        raise ConnectionError("no route")

    monkeypatch.setattr(pooch, "retrieve", retrieve)
    with pytest.raises(OSError, match=r"could not be downloaded \(no route\).*SKOT_DATA"):
        fetch_mnist(data_home=tmp_path)


def test_a_download_with_another_checksum_is_refused(monkeypatch, tmp_path):
    pooch = pytest.importorskip("pooch")

    class FakeDownloader:
        def __call__(self, url, output_file, pooch):
            Path(output_file).write_bytes(b"something else")

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar: FakeDownloader())
    with pytest.raises(ValueError, match=hashlib.sha256(b"something else").hexdigest()):
        fetch_mnist(data_home=tmp_path)
    assert not (tmp_path / "mnist" / "mnist.npz").exists()


def test_missing_pooch_is_explained(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match="pip install pooch"):
        fetch_mnist(data_home=tmp_path)


def test_office_caltech_layout(tmp_path):
    (tmp_path / "office_caltech").mkdir()
    counts = np.arange(1600, dtype=np.uint16).reshape(2, 800)
    savemat(
        tmp_path / "office_caltech" / "webcam.mat",
        {"fts": counts, "labels": np.array([[10], [1]], dtype=np.uint8)},
    )
    webcam = fetch_office_caltech("webcam", data_home=tmp_path)
    assert webcam.data.dtype == np.float64
    assert_array_equal(webcam.data, counts)
    assert_array_equal(webcam.target_names[webcam.target], ["projector", "backpack"])
    X, y = fetch_office_caltech("webcam", data_home=tmp_path, return_X_y=True)
    assert_array_equal(X, webcam.data)
    assert_array_equal(y, webcam.target)
    with pytest.raises(ValueError, match="domain"):
        fetch_office_caltech("ebay", data_home=tmp_path)


def test_real_digits(data_home):
    mnist = fetch_mnist(subset="test", image_size=16, data_home=data_home)
    usps = fetch_usps(subset="test", data_home=data_home)
    assert mnist.data.shape == (10_000, 256)
    assert usps.data.shape == (2007, 256)
    for digits in (mnist, usps):
        assert digits.data.min() >= 0.0
        assert 0.9 < digits.data.max() <= 1.0
        assert_array_equal(np.unique(digits.target), np.arange(10))
    # Both show ink as high values: the frame is darker than the middle.
    for images in (mnist.images, usps.images):
        assert images[:, 6:10, 6:10].mean() > 2 * images[:, 0].mean()


def test_real_office_caltech(data_home):
    sizes = {"amazon": 958, "caltech10": 1123, "dslr": 157, "webcam": 295}
    for domain, n_samples in sizes.items():
        X, y = fetch_office_caltech(domain, data_home=data_home, return_X_y=True)
        assert X.shape == (n_samples, 800)
        assert X.min() == 0.0
        assert X.sum(axis=1).min() > 0.0
        assert_array_equal(np.unique(y), np.arange(10))


def test_real_kodak(data_home):
    kodak = fetch_kodak(data_home=data_home)
    assert len(kodak.images) == len(kodak.filenames) == 24
    assert {image.shape for image in kodak.images} == {(512, 768, 3), (768, 512, 3)}


def test_population_has_coordinates(tmp_path):
    folder = tmp_path / "population"
    folder.mkdir()
    density = np.arange(32.0, dtype=np.float32).reshape(4, 8)
    density[0, 0] = np.nan
    np.savez(folder / "gpw_v4_density_2020_15min.npz", density=density)
    population = fetch_population(data_home=tmp_path)
    assert_array_equal(population.latitude, [67.5, 22.5, -22.5, -67.5])
    assert_array_equal(population.longitude[[0, -1]], [-157.5, 157.5])
    assert population.density[0, 0] == 0.0
    assert_array_equal(population.density[1:], density[1:])
    np.savez(folder / "gpw_v4_density_2020_15min.npz", density=density[:, :5])
    with pytest.raises(ValueError, match="raster of the globe"):
        fetch_population(data_home=tmp_path)


def test_real_population(data_home):
    population = fetch_population(data_home=data_home)
    assert population.density.shape == (720, 1440)
    row = np.abs(population.latitude - 35.7).argmin()
    column = np.abs(population.longitude - 139.7).argmin()
    assert population.density[row, column] > 5000.0  # Tokyo
