"""The curve finds the size that a task needs, and sees no test row while fitting."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from embcomp.compression import Compressor
from embcomp.errors import ConfigError, DataError
from embcomp.evaluation import dimension
from embcomp.evaluation.dimension import DEFAULT_METHODS, dimension_curve, plot_curve, recommend

FAST = {"epochs": 5, "hidden": 8}


@pytest.fixture(scope="module")
def data():
    """Five classes in four directions under stronger noise in eight others; ten groups."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 5
    X = rng.normal(size=(400, 24)) * np.r_[np.full(8, 3.0), np.full(16, 0.5)]
    X[:, 8:13] += 2.0 * np.eye(5)[y]
    return X.astype(np.float32), y, np.arange(400) // 40


@pytest.fixture(scope="module")
def curve(data):
    return dimension_curve(*data, dims=(1, 2, 4, 16), options=FAST)


def test_the_curve_has_every_rung_and_size_and_the_full_embedding(curve):
    assert list(curve.columns[:3]) == ["method", "dim", "score"]
    assert len(curve) == len(DEFAULT_METHODS) * 4 + 1
    full = curve[curve["method"] == "identity"].iloc[0]
    assert (full["dim"], full["retained"], full["overlap"], full["behind"]) == (24, 1, 1, 0)
    for measure in ("score", "retained", "overlap"):
        assert (curve[f"{measure}_low"] <= curve[measure]).all()
        assert (curve[measure] <= curve[f"{measure}_high"]).all()


def test_supervised_rungs_need_fewer_dimensions_than_pca(curve):
    at = curve.set_index(["method", "dim"])["score"]
    assert at["lda", 4] > at["pca", 4] + 0.3
    assert at["linear", 4] > at["pca", 4] + 0.3
    assert at["pca", 16] > at["pca", 4]


def test_variance_and_neighbours_grow_with_the_size(curve):
    pca = curve[curve["method"] == "pca"]
    assert pca["retained"].is_monotonic_increasing
    assert pca["overlap"].is_monotonic_increasing
    # Standardised noise fills all 24 dimensions: 16 keep their share of the variance and a little more.
    assert 16 / 24 < pca["retained"].iloc[-1] < 1
    random = curve[curve["method"] == "random"]
    assert (pca["retained"].to_numpy() > random["retained"].to_numpy()).all()


def test_units_of_the_embedding_do_not_matter(data):
    X, y, groups = data
    options = {"dims": (2, 8), "methods": ("pca", "lda")}
    plain, scaled = (dimension_curve(rows, y, groups, **options) for rows in (X, X * np.geomspace(1e-2, 1e2, 24)))
    for measure in ("score", "retained", "overlap"):
        np.testing.assert_allclose(plain[measure], scaled[measure], atol=0.01)


def test_most_components_score_as_the_full_embedding(data):
    curve = dimension_curve(*data, dims=(23,), methods=("pca",)).set_index("method")["score"]
    assert curve["pca"] == pytest.approx(curve["identity"], abs=0.02)


def test_the_recommendation_is_the_smallest_size_within_the_margin(curve):
    choice = recommend(curve, margin=0.05)
    assert choice.dim == 4
    assert choice.method in ("lda", "linear", "mlp")
    assert choice.score >= choice.full_score - 0.05 - 1e-9
    smaller = curve[(curve["dim"] < choice.dim)]
    assert (smaller["behind"] > 0.05).all()
    assert recommend(curve, 0.05, "pca").dim == 16
    assert recommend(curve, margin=1).dim == 1
    nothing = recommend(curve, margin=-1)
    assert (nothing.method, nothing.dim) == ("identity", 24)
    assert "keep 24" in str(nothing)
    with pytest.raises(ConfigError, match="'pca'"):
        recommend(curve, method="pcaa")


def test_compressors_see_training_rows_only(data, monkeypatch):
    X, y, groups = data
    fitted = []
    original = Compressor.fit

    def spy(self, rows, labels=None, **kwargs):
        fitted.append((rows.copy(), set(kwargs["groups"])))
        return original(self, rows, labels, **kwargs)

    monkeypatch.setattr(Compressor, "fit", spy)
    dimension_curve(X, y, groups, dims=(2,), methods=("pca",), folds=5)
    assert len(fitted) == 5
    for rows, inside in fitted:
        outside = np.isin(groups, sorted(inside), invert=True)
        assert outside.any()
        assert not (rows[:, None] == X[outside][None, :20]).all(axis=2).any()


def test_shuffled_labels_score_at_chance(data):
    X, y, groups = data
    shuffled = np.random.default_rng(1).permutation(y)
    curve = dimension_curve(X, shuffled, groups, dims=(4,), methods=("lda", "linear"), options=FAST)
    assert curve["score"].max() < 0.32


def test_sizes_trained_one_by_one_and_unlabelled_rows(data):
    X, y, groups = data
    ticks = []
    curve = dimension_curve(
        X,
        np.where(np.arange(400) % 7 == 0, -1, y),
        groups,
        dims=(2, 4),
        methods=("linear",),
        folds=3,
        nested=False,
        options=FAST,
        progress=lambda done, total: ticks.append((done, total)),
    )
    assert ticks == [(number, 6) for number in range(1, 7)]
    assert len(curve) == 3


def test_several_labels_are_scored_by_average_precision(data):
    X, y, groups = data
    labels = np.eye(5)[y]
    labels[::9, 2] = np.nan
    curve = dimension_curve(X, labels, groups, dims=(2, 4), methods=("pca", "lda"), folds=3)
    at = curve.set_index(["method", "dim"])["score"]
    assert at["lda", 4] > at["pca", 4] > 0.1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"groups": np.zeros(400)}, DataError, "two groups or more"),
        ({"groups": np.zeros(3)}, DataError, "400 rows of embeddings but 3 groups"),
        ({"dims": (2, 50)}, DataError, r"dims must lie between 1 and 24"),
        ({"dims": ()}, DataError, r"dims must lie between"),
        ({"methods": ("pcs",)}, ConfigError, r"did you mean 'pca'"),
        ({"y": np.zeros(400, int)}, DataError, "one class only"),
    ],
)
def test_misuse(data, changes, error, message):
    X, y, groups = data
    with pytest.raises(error, match=message):
        dimension_curve(**{"X": X, "y": y, "groups": groups, **changes})


def test_the_plot_is_written_and_says_what_it_shows(curve, tmp_path):
    pytest.importorskip("matplotlib")
    figure = plot_curve(curve, tmp_path / "new" / "curve.png", margin=0.05)
    assert (tmp_path / "new" / "curve.png").stat().st_size > 10_000
    assert len(figure.axes) == 3
    assert str(recommend(curve, 0.05)) in figure.get_suptitle()
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [*DEFAULT_METHODS, "all 24"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fsdd", "esc10", "drums_acoustic"])
def test_real_embeddings_get_a_size(shared, name):
    folder = shared / "data" / name
    lines = [line.split(",") for line in (folder / "manifest.csv").read_text().splitlines()[1:]]
    X = np.load(folder / "embeddings" / "lyra_soundstream_192.npy", mmap_mode="r")
    curve = dimension_curve(X, [line[1] for line in lines], [line[2] for line in lines])
    choice = recommend(curve)
    assert choice.dim < 192
    assert choice.score > 0.4


def test_intervals_over_folds_are_students_and_end_at_1():
    measured = {"identity": [0.5, 0.6, 0.8], "pca": [0.9, 0.97, 1.0]}
    rows = [
        {"method": method, "dim": 2, "fold": fold, **dict.fromkeys(dimension.MEASURES, value)}
        for method, values in measured.items()
        for fold, value in enumerate(values)
    ]
    found = dimension._summarise(pd.DataFrame(rows)).set_index("method")
    for method, values in measured.items():
        low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
        assert found.loc[method, "score_low"] == pytest.approx(low)
        assert found.loc[method, "score_high"] == pytest.approx(min(high, 1.0))
    assert found.loc["pca", "behind"] == pytest.approx(np.mean(measured["identity"]) - np.mean(measured["pca"]))


@pytest.mark.parametrize("most", [3, 4, 5, 100, 256, 257, 2048])
def test_sizes_are_by_default_the_powers_of_two_below_the_most_up_to_256(most):
    assert dimension._sizes(None, most) == [2**power for power in range(1, 9) if 2**power < most]
