"""CouplingDisplay: the heaviest pairs, all of the matrix, and how much mass is shown."""

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array, csc_matrix, csr_array
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skot import MetaOTRegressor, SinkhornTransport
from skot.datasets import make_moons_pair
from skot.plots import CouplingDisplay
from skot.plots._style import COLORS
from skot.utils import stack_domains

matplotlib = pytest.importorskip("matplotlib", reason="the displays draw with matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def pair():
    return make_moons_pair((12, 9), random_state=0)


@pytest.fixture
def coupling():
    plan = np.random.default_rng(0).random((12, 9))
    plan[plan < 0.3] = 0.0
    return plan / plan.sum()


def test_lines_are_the_heaviest_pairs(pair, coupling):
    X, Y = pair
    display = CouplingDisplay.from_predictions(coupling, X, Y, n_lines=10)
    order = np.argsort(coupling, axis=None)[-10:]
    rows, columns = np.unravel_index(order, coupling.shape)
    assert_array_equal(display.pairs_, np.column_stack([rows, columns]))
    segments = np.array(display.lines_.get_segments())
    assert_allclose(segments[:, 0], X[rows])
    assert_allclose(segments[:, 1], Y[columns])
    mass = coupling[rows, columns]
    assert display.mass_drawn_ == pytest.approx(mass.sum())
    opacity = display.lines_.get_colors()[:, 3]
    assert_allclose(opacity / opacity[-1], mass / mass[-1])
    assert_array_equal(display.source_.get_offsets(), X)
    assert_array_equal(display.target_.get_offsets(), Y)
    names = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert names == ["source", "target"]
    assert display.image_ is display.mass_within_classes_ is None
    assert display.figure_ is display.ax_.figure


@pytest.mark.parametrize("n_lines", [2000, 108])
def test_all_pairs_with_mass(pair, coupling, n_lines):
    display = CouplingDisplay.from_predictions(7.0 * coupling, *pair, n_lines=n_lines)
    assert len(display.pairs_) == np.count_nonzero(coupling) < coupling.size
    assert display.mass_drawn_ == pytest.approx(1.0)


def test_no_lines_and_every_line(pair, coupling):
    display = CouplingDisplay.from_predictions(coupling, *pair, n_lines=0)
    assert display.pairs_.shape == (0, 2)
    assert display.mass_drawn_ == 0.0
    full = coupling + 0.01
    assert len(CouplingDisplay.from_predictions(full, *pair).pairs_) == full.size


def test_a_plan_without_regularisation_is_drawn_whole(pair):
    ot = pytest.importorskip("ot")
    X, Y = pair
    plan = ot.emd(ot.unif(12), ot.unif(9), ot.dist(X, Y))
    display = CouplingDisplay.from_predictions(plan, X, Y)
    assert display.mass_drawn_ == pytest.approx(1.0)
    assert len(display.pairs_) <= 12 + 9 - 1


def test_large_couplings():
    rng = np.random.default_rng(0)
    coupling = rng.random((3200, 3200), dtype=np.float32)
    heaviest = rng.choice(coupling.size, 30, replace=False)
    coupling.ravel()[heaviest] += 5.0
    X = rng.random((3200, 2))
    display = CouplingDisplay.from_predictions(coupling, X, X + 1.0, n_lines=30)
    drawn = np.ravel_multi_index(tuple(display.pairs_.T), coupling.shape)
    assert_array_equal(np.sort(drawn), np.sort(heaviest))
    cells = np.asarray(CouplingDisplay.from_predictions(coupling, kind="matrix").image_.get_array())
    assert cells.shape == (512, 512)
    # 3200 / 512 = 6.25 entries a cell and side.
    assert_allclose(cells[0, 0], coupling[:6, :6].mean(), rtol=1e-5)
    assert_allclose(cells[-1, -1], coupling[-7:, -7:].mean(), rtol=1e-5)
    assert cells.mean() == pytest.approx(coupling.mean(), rel=1e-2)


def test_matrix(coupling):
    display = CouplingDisplay.from_predictions(coupling, kind="matrix")
    assert_array_equal(display.image_.get_array(), coupling)
    assert display.image_.get_extent() == [0, 9, 12, 0]
    assert_array_equal(display.order_[0], np.arange(12))
    assert_array_equal(display.order_[1], np.arange(9))
    assert display.mass_drawn_ == 1.0
    assert display.separators_ == []
    assert display.lines_ is display.pairs_ is display.source_ is None
    assert display.ax_.get_xlabel() == "target"
    assert display.ax_.get_ylabel() == "source"
    assert display.colorbar_.ax.get_ylabel() == "mass of a pair"
    assert display.image_.norm(coupling.max() / 4) == pytest.approx(0.5)


def test_matrix_is_sorted_by_class(coupling):
    y_source = np.array(["b", "a", "c"] * 4)
    y_target = np.array([1, 0, 0, 1, 1, 0, 1, 1, 0])
    display = CouplingDisplay.from_predictions(
        coupling, kind="matrix", y_source=y_source, y_target=y_target
    )
    rows = np.concatenate([np.flatnonzero(y_source == one) for one in "abc"])
    columns = np.concatenate([np.flatnonzero(y_target == one) for one in (0, 1)])
    assert_array_equal(display.order_[0], rows)
    assert_array_equal(display.order_[1], columns)
    assert_array_equal(display.image_.get_array(), coupling[rows][:, columns])
    borders = [line.get_xydata() for line in display.separators_]
    assert sorted(border[0, 1] for border in borders if border[0, 1] == border[1, 1]) == [4, 8]
    assert [border[0, 0] for border in borders if border[0, 0] == border[1, 0]] == [4]
    assert_allclose(display.ax_.get_yticks(), [2, 6, 10])
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["a", "b", "c"]
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["0", "1"]


def test_one_side_may_be_sorted_alone(coupling):
    y_target = [1, 0, 0, 1, 1, 0, 1, 1, 0]
    display = CouplingDisplay.from_predictions(coupling, kind="matrix", y_target=y_target)
    order = np.argsort(y_target, kind="stable")
    assert_array_equal(display.image_.get_array(), coupling[:, order])
    assert display.mass_within_classes_ is None


def _classes(pair):
    return {"y_source": np.arange(12) % 3, "y_target": np.arange(9) % 4}


@pytest.mark.parametrize("kind", [csr_array, csc_matrix, coo_array])
def test_sparse_couplings_are_drawn_like_dense_ones(pair, coupling, kind):
    for options in ({}, _classes(pair)):
        for n_lines in (0, 5, 2000):
            dense, sparse = (
                CouplingDisplay.from_predictions(one, *pair, n_lines=n_lines, **options)
                for one in (coupling, kind(coupling))
            )
            assert_array_equal(sparse.pairs_, dense.pairs_)
            assert_allclose(sparse.lines_.get_colors(), dense.lines_.get_colors())
            assert sparse.mass_drawn_ == pytest.approx(dense.mass_drawn_)
            assert sparse.mass_within_classes_ == pytest.approx(dense.mass_within_classes_)
        dense, sparse = (
            CouplingDisplay.from_predictions(one, kind="matrix", **options)
            for one in (coupling, kind(coupling))
        )
        assert_allclose(sparse.image_.get_array(), dense.image_.get_array(), atol=1e-15)


def test_blocks_of_a_large_sparse_coupling():
    rng = np.random.default_rng(0)
    coupling = rng.random((1300, 600)) * (rng.random((1300, 600)) < 0.05)
    dense, sparse = (
        CouplingDisplay.from_predictions(one, kind="matrix").image_.get_array()
        for one in (coupling, csr_array(coupling))
    )
    assert sparse.shape == (512, 512)
    assert_allclose(sparse, dense, atol=1e-15)


def test_entries_of_a_sparse_coupling_that_are_stored_twice_add_up(pair):
    entries = np.array([1.0, 2.0, 2.5]), (np.array([3, 3, 0]), np.array([4, 4, 1]))
    given = coo_array(entries, shape=(12, 9))
    display = CouplingDisplay.from_predictions(given, *pair)
    assert_array_equal(display.pairs_, [[0, 1], [3, 4]])
    for bad in (csr_array((12, 9)), -given):
        with pytest.raises(ValueError, match="must have mass, and no negative"):
            CouplingDisplay.from_predictions(bad, *pair)


def test_the_sparse_coupling_of_a_transport(pair):
    sparse = SinkhornTransport(epsilon=0.01).fit(*pair).sparse_coupling(0.9)
    display = CouplingDisplay.from_predictions(sparse.plan, *pair)
    assert len(display.pairs_) == sparse.plan.nnz < 12 * 9


def test_mass_within_classes(pair, coupling):
    y_source, y_target = np.arange(12) % 3, np.arange(9) % 4
    for kind in ("lines", "matrix"):
        display = CouplingDisplay.from_predictions(
            3.0 * coupling, *pair, kind=kind, y_source=y_source, y_target=y_target, n_lines=5
        )
        same = y_source[:, None] == y_target
        assert display.mass_within_classes_ == pytest.approx(coupling[same].sum())


#: A class of the source, a class of the target only, and an unknown one, in their kinds.
UNKNOWN = [
    (np.array([0, 1]), np.array([1, 2, -1])),
    (np.array([0.0, 1.0]), np.array([1.0, 2.0, np.nan])),
    (np.array([0, 1]), np.array([1.0, 2.0, np.nan])),
    (["cat", "dog"], ["dog", "eel", None]),
    (["cat", "dog"], ["dog", "eel", -1]),
]


@pytest.mark.parametrize("source, target", UNKNOWN)
def test_unknown_classes(pair, coupling, source, target):
    y_source = [source[k % 2] for k in range(12)]
    y_target = [target[k % 3] for k in range(9)]
    options = {"y_source": y_source, "y_target": y_target}
    same = (np.arange(12) % 2 == 1)[:, None] & (np.arange(9) % 3 == 0)
    known = np.arange(9) % 3 < 2
    share = pytest.approx(coupling[same].sum() / coupling[:, known].sum())

    lines = CouplingDisplay.from_predictions(coupling, *pair, **options)
    assert lines.mass_within_classes_ == share
    plain = CouplingDisplay.from_predictions(coupling, *pair).lines_.get_colors()
    rows, columns = lines.pairs_.T
    stand_out = (lines.lines_.get_colors() != plain).any(axis=1)
    assert_array_equal(stand_out, known[columns] & ~same[rows, columns])

    matrix = CouplingDisplay.from_predictions(coupling, kind="matrix", **options)
    assert matrix.mass_within_classes_ == share
    assert_array_equal(matrix.order_[1], [0, 3, 6, 1, 4, 7, 2, 5, 8])
    names = [text.get_text() for text in matrix.ax_.get_xticklabels()]
    assert names == [str(target[0]), str(target[1]), "unknown"]
    assert len(matrix.separators_) == 1 + 2


def test_a_class_of_the_source_may_be_minus_one(pair, coupling):
    y_source, y_target = np.arange(12) % 2 * 2 - 1, np.arange(9) % 2 * 2 - 1
    options = {"kind": "matrix", "y_source": y_source, "y_target": y_target}
    display = CouplingDisplay.from_predictions(coupling, **options)
    same = y_source[:, None] == y_target
    assert display.mass_within_classes_ == pytest.approx(coupling[same].sum())
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["-1", "1"]


def test_no_class_is_known(pair, coupling):
    options = {"y_source": np.zeros(12, dtype=int), "y_target": np.full(9, -1)}
    assert CouplingDisplay.from_predictions(coupling, *pair, **options).mass_within_classes_ is None
    display = CouplingDisplay.from_predictions(coupling, kind="matrix", **options)
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["unknown"]
    assert display.separators_ == []
    with pytest.raises(ValueError, match="Every source row needs a known label"):
        CouplingDisplay.from_predictions(coupling, kind="matrix", y_source=["a"] * 11 + [None])


def test_lines_between_classes_stand_out(pair, coupling):
    y_source, y_target = np.arange(12) % 2, np.arange(9) % 2
    display = CouplingDisplay.from_predictions(
        coupling, *pair, y_source=y_source, y_target=y_target
    )
    rows, columns = display.pairs_.T
    colors = display.lines_.get_colors()[:, :3]
    same = y_source[rows] == y_target[columns]
    assert len(np.unique(colors[same], axis=0)) == len(np.unique(colors[~same], axis=0)) == 1
    assert np.abs(colors[same][0] - colors[~same][0]).max() > 0.3


def test_sinkhorn(pair):
    X, Y = pair
    transport = SinkhornTransport(0.1).fit(X, Y)
    display = CouplingDisplay.from_estimator(transport, X, Y, n_lines=20)
    assert_array_equal(display.coupling, transport.coupling_)
    assert display.mass_drawn_ == pytest.approx(np.sort(transport.coupling_.ravel())[-20:].sum())
    assert 0.0 < display.mass_drawn_ < 1.0


def test_class_regularisation_keeps_mass_within_classes():
    rng = np.random.default_rng(0)
    y_source, y_target = np.arange(40) % 2, np.arange(30) % 2
    X = rng.normal(size=(40, 2)) + 2.0 * y_source[:, None]
    Y = rng.normal(size=(30, 2)) + 2.0 * y_target[:, None] + [1.0, -1.0]
    rows, labels, domain = stack_domains(X, Y, y_source, np.full(30, -1))
    within = []
    for class_reg in (0.0, 1.0):
        transport = SinkhornTransport(0.1, class_reg=class_reg)
        transport.fit(rows, labels, sample_domain=domain)
        display = CouplingDisplay.from_estimator(
            transport, X, Y, kind="matrix", y_source=y_source, y_target=y_target
        )
        within.append(display.mass_within_classes_)
    assert within[1] > within[0] + 0.01


def test_predicted_couplings():
    rng = np.random.default_rng(0)
    weights = rng.random((6, 8)) + 0.1
    weights /= weights.reshape(6, 2, 4).sum(axis=2).repeat(4, axis=1)
    from skot.costs import GridCost

    meta = MetaOTRegressor(GridCost((2, 2)), epsilon=0.1, max_iter=2, random_state=0).fit(weights)
    (coupling,) = meta.predict_coupling(weights[:1])
    display = CouplingDisplay.from_predictions(coupling, kind="matrix")
    assert_array_equal(display.image_.get_array(), coupling)


def test_colors_mean_the_same_everywhere(pair, coupling):
    from matplotlib.colors import to_hex

    display = CouplingDisplay.from_predictions(coupling, *pair)
    for role in ("source", "target"):
        (color,) = getattr(display, f"{role}_").get_facecolors()
        assert to_hex(color) == COLORS[role].lower()


def test_given_axes_and_columns(coupling):
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    X, Y = rng.random((12, 4)), rng.random((9, 4))
    _, ax = plt.subplots()
    display = CouplingDisplay.from_predictions(coupling, X, Y, features=(3, 1), ax=ax)
    assert display.ax_ is ax
    assert_array_equal(display.source_.get_offsets(), X[:, [3, 1]])
    ends = np.array(display.lines_.get_segments())[-1]
    row, column = display.pairs_[-1]
    assert_allclose(ends, [X[row, [3, 1]], Y[column, [3, 1]]])


def test_constructor_then_plot(pair, coupling):
    X, Y = pair
    display = CouplingDisplay(coupling=coupling, X=X, Y=Y)
    assert display.plot() is display
    assert display.lines_ is not None
    assert display.plot(kind="matrix").lines_ is None
    assert_array_equal(display.image_.get_array(), coupling)


def test_data_frames_name_the_axes(pair, coupling):
    pandas = pytest.importorskip("pandas")
    X, Y = (pandas.DataFrame(rows, columns=["east", "north"]) for rows in pair)
    display = CouplingDisplay.from_predictions(coupling, X, Y)
    assert display.ax_.get_xlabel() == "east"
    assert display.ax_.get_ylabel() == "north"


def test_tensors(pair, coupling):
    import torch

    X, Y, plan = (torch.from_numpy(values).requires_grad_() for values in (*pair, coupling))
    labels = torch.arange(12) % 2
    display = CouplingDisplay.from_predictions(plan, X, Y, y_source=labels)
    assert_array_equal(display.source_.get_offsets(), pair[0])
    assert_array_equal(display.coupling, coupling)
    assert_array_equal(display.y_source, np.arange(12) % 2)


@pytest.mark.parametrize("kind", ["lines", "matrix"])
def test_half_precision(pair, kind):
    """Sums over half precision overflow, and bfloat16 is none of NumPy's types."""
    import torch

    plan = torch.full((12, 9), 4096.0)
    halves = [plan.half(), plan.bfloat16(), plan.half().numpy()]
    for half in halves:
        display = CouplingDisplay.from_predictions(
            half, *pair, kind=kind, y_source=np.zeros(12), y_target=np.zeros(9)
        )
        assert_array_equal(display.coupling, 4096.0)
        assert display.mass_drawn_ == pytest.approx(1.0)
        assert display.mass_within_classes_ == pytest.approx(1.0)


def test_points_of_one_feature_have_a_matrix():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 1)), rng.normal(size=(15, 1))
    transport = SinkhornTransport(0.1).fit(X, Y)
    display = CouplingDisplay.from_estimator(transport, X, Y, kind="matrix")
    assert_array_equal(display.image_.get_array(), transport.coupling_)
    with pytest.raises(ValueError, match="features must be two columns, and X has 1"):
        CouplingDisplay.from_estimator(transport, X, Y)


def test_bad_input(pair, coupling):
    X, Y = pair
    with pytest.raises(ValueError, match=r"X has 11 rows, and axis 0 .* \(12, 9\), has 12"):
        CouplingDisplay.from_predictions(coupling, X[:-1], Y)
    with pytest.raises(ValueError, match="Y has 12 rows, and axis 1"):
        CouplingDisplay.from_predictions(coupling, X, X)
    with pytest.raises(ValueError, match="y_target has 12 rows"):
        CouplingDisplay.from_predictions(coupling, X, Y, y_target=np.zeros(12))
    with pytest.raises(ValueError, match="kind must be 'lines' or 'matrix'. Got 'heat'"):
        CouplingDisplay.from_predictions(coupling, X, Y, kind="heat")
    with pytest.raises(ValueError, match="pass X and Y"):
        CouplingDisplay.from_predictions(coupling, X)
    with pytest.raises(ValueError, match="no negative entries"):
        CouplingDisplay.from_predictions(coupling - 0.1, X, Y)
    with pytest.raises(ValueError, match="must have mass"):
        CouplingDisplay.from_predictions(np.zeros((12, 9)), X, Y)
    with pytest.raises(ValueError, match="NaN"):
        CouplingDisplay.from_predictions(np.full((12, 9), np.nan), X, Y)
    with pytest.raises(TypeError, match="BaseEstimator has none"):
        CouplingDisplay.from_estimator(BaseEstimator(), X, Y)
    with pytest.raises(NotFittedError):
        CouplingDisplay.from_estimator(SinkhornTransport(), X, Y)


def test_missing_matplotlib_is_explained(monkeypatch, pair, coupling):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"CouplingDisplay.plot requires matplotlib"):
        CouplingDisplay.from_predictions(coupling, *pair)
