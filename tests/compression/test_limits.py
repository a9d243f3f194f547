"""Parameters of a compressor: defaults as documented, limits that hold up to the limit, and what each choice needs."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from helpers.documented import named
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from embcomp.compression import Compressor, Concatenation, Moments, Quantiser, parameters
from embcomp.compression.frame import ConstantColumnWarning
from embcomp.errors import ConfigError, DataError, EmbcompWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 8))
Y = RNG.integers(0, 3, 40)
DEFAULTS = Compressor().get_params()


def test_defaults_are_those_that_the_docstrings_name():
    found = list(named("embcomp.compression"))
    assert len(found) >= 28
    assert [one for one in found if one[2] != one[3] or type(one[2]) is not type(one[3])] == []


def checked(**changed):
    parameters.check({**DEFAULTS, **changed})


LIMITS = {
    "reconstruction_weight": (0, "inf", "a number"),
    "hidden": (1, "inf", "an integer"),
    "epochs": (0, "inf", "an integer"),
    "batch_size": (1, "inf", "an integer"),
    "learning_rate": (0, "inf", "a number"),
    "weight_decay": (0, "inf", "a number"),
    "patience": (1, "inf", "an integer"),
    "validation_share": (0, 0.9, "a number"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_numbers_may_be_their_least_and_their_most_and_nothing_beyond(name):
    low, high, what = LIMITS[name]
    checked(**{name: low})
    checked(**{name: np.int64(low + 1) if high == "inf" else high})
    below = low - 1 if what == "an integer" else low - 0.001
    wrong = [below, True, None, "2", *([0.901] if high != "inf" else [])]
    for value in [*wrong, *([low + 0.5] if what == "an integer" else [])]:
        with pytest.raises(ConfigError) as error:
            checked(**{name: value})
        assert str(error.value) == f"{name} must be {what} from {low} to {high}, got {value!r}"


def test_shrinkage_is_a_share_or_one_of_two_words():
    for value in (0, 0.5, 1, None, "auto"):
        checked(shrinkage=value)
    for value in (-0.001, 1.001, True, "ledoit"):
        with pytest.raises(ConfigError, match="shrinkage must be from 0 to 1, 'auto' or None, got"):
            checked(shrinkage=value)


@pytest.mark.parametrize("method", ["pca", "identity"])
def test_components_are_at_most_the_rows_and_dimensions(method):
    def found(n_components, rows=5, dim=8):
        return parameters.check_components({"n_components": n_components, "method": method}, rows, dim)

    most = 8 if method == "identity" else 5
    assert found(1) == 1 and found(most) == most and found(np.int64(2)) == 2 and found(None) == most
    assert found(None, rows=9) == 8 and found(0.5) == 0.5 and isinstance(found(0.999), float)
    data = "8 dimensions" if method == "identity" else "5 rows of 8 dimensions"
    with pytest.raises(DataError, match=rf"n_components={most + 1} is more than {most}, the most that {data} allow"):
        found(most + 1)
    for wrong in (0, -1, 1.0, 0.0, 2.5, True, "3"):
        with pytest.raises(ConfigError, match="n_components must be a positive integer, a share of variance"):
            found(wrong)


@pytest.mark.parametrize("method", ["identity", "random", "pca", "lda", "linear", "mlp"])
def test_what_a_choice_needs(method):
    for objective, start, shrinkage in itertools.product(
        ("reconstruction", "task", "both"), ("auto", "pca", "lda"), (None, "auto", 0.1)
    ):
        given = {**DEFAULTS, "method": method, "objective": objective, "start": start, "shrinkage": shrinkage}
        trained = method in ("linear", "mlp")
        if trained and start == "lda" and objective == "reconstruction":
            with pytest.raises(ConfigError, match="start='lda' needs an objective with labels"):
                parameters.check(given)
            continue
        parameters.check(given)
        labels = method == "lda" or (trained and objective != "reconstruction")
        by_class = method == "lda" or (trained and objective != "reconstruction" and start != "pca")
        summed = method in ("identity", "random", "pca") or (method, objective) == ("linear", "reconstruction")
        assert parameters.needs_labels(given) == labels and parameters.needs_classes(given) == by_class
        assert parameters.sums_over_rows(given) == summed == hasattr(Compressor(**given), "partial_fit")
        assert parameters.fitted_by_moments(given) == (summed or (method == "lda" and shrinkage != "auto"))
        tags = get_tags(Compressor(**given))
        assert tags.target_tags.required == labels and tags.target_tags.multi_output
        assert tags.transformer_tags.preserves_dtype == ["float32"]
        for scale in (False, True):
            sound = not scale and not by_class
            with pytest.raises(DataError if sound else ConfigError, match="NaN or inf" if sound else "solver='subspa"):
                fitted = Compressor(**{**given, "solver": "subspace", "scale": scale, "n_components": 2, "epochs": 0})
                fitted.fit(np.where(X > 2, np.nan, X), Y)


@pytest.mark.parametrize(
    ("method", "n_components", "least"),
    [("pca", 3, 3), ("pca", 1, 2), ("pca", None, 8), ("pca", 0.5, 2), ("identity", 3, 2), ("identity", None, 2)],
)
def test_added_rows_are_a_fit_from_as_many_on_as_there_must_be(method, n_components, least):
    compressor = Compressor(n_components, method)
    for row in range(least - 1):
        compressor.partial_fit(X[row : row + 1])
        with pytest.raises(NotFittedError, match=f"{row + 1} rows were added so far, too few for n_components="):
            compressor.transform(X)
    assert compressor.partial_fit(X[least - 1 : least]).transform(X).shape[0] == 40


def test_what_was_added_before_a_fit_is_forgotten_and_ids_are_those_of_all_batches():
    compressor = Compressor(2, "pca").partial_fit(X[:30], ids=[f"{row}" for row in range(30)]).fit(X[:20])
    assert compressor.n_samples_ == 20
    with pytest.warns(EmbcompWarning, match="starts anew") as caught:
        compressor.partial_fit(X[:7])
    assert caught[0].filename == __file__ and compressor.n_samples_ == 7
    with pytest.raises(ValueError, match="X has 7 features, but Compressor is expecting 8"):
        compressor.partial_fit(X[:, :7])
    ids = [f"{row}" for row in range(7)]
    for first, second, seen in ((ids, ids, ["0", "6"]), (ids, None, []), (None, ids, [])):
        both = Compressor(2, "pca").partial_fit(X[:7], ids=first).partial_fit(X[7:14], ids=second)
        assert both.seen(["0", "6", "7"]) == seen and both.n_samples_ == 14


@pytest.mark.parametrize("size", [0, 4, -1])
def test_prefixes_are_from_one_to_all(size):
    compressor = Compressor(3, "pca").fit(X)
    assert compressor.truncate(1).n_components_ == 1 and compressor.truncate(3).n_components_ == 3
    with pytest.raises(DataError, match=f"this compressor has 3 components; cannot keep {size}"):
        compressor.truncate(size)


def test_a_single_row_is_no_fit_and_two_are():
    with pytest.raises(DataError, match="a compressor needs at least 2 rows, got n_samples=1"):
        parameters.check_data({**DEFAULTS, "method": "pca"}, Concatenation([X[:1]]), None)
    for count, fits in ((1, False), (2, True)):
        moments = Moments(8).update(X[:count])
        if fits:
            assert Compressor(1, "pca").fit_moments(moments).n_samples_ == 2
            assert Compressor(1, "pca").fit(X[:2]).n_samples_ == 2
        else:
            with pytest.raises(DataError, match="a compressor needs at least 2 rows, got n_samples=1"):
                Compressor(1, "pca").fit_moments(moments)


def test_labels_that_a_method_does_not_read_must_match_the_rows():
    with pytest.raises(DataError, match="40 rows of embeddings but 39 labels"):
        Compressor(2, "pca").fit(X, Y[:39])
    Compressor(2, "pca").fit(X, np.zeros(40))  # one class, which it does not ask


def test_several_teachers_are_not_weighed_by_the_subspace_solver_and_one_is():
    given = {"n_components": 2, "method": "pca", "solver": "subspace"}
    with pytest.raises(ConfigError, match="solver='subspace' does not weigh several teachers"):
        Compressor(**given).fit(Concatenation([X, X]))
    np.testing.assert_allclose(
        Compressor(**given).fit(Concatenation([X])).transform(X), Compressor(**given).fit(X).transform(X)
    )


def test_discriminants_of_moments_take_two_classes_that_have_rows():
    two = Moments(8, 2).update(X, np.eye(2)[Y % 2])
    np.testing.assert_allclose(
        Compressor(1, "lda").fit_moments(two).transform(X), Compressor(1, "lda").fit(X, Y % 2).transform(X), atol=1e-5
    )
    one = Moments(8, 3).update(X, np.eye(3)[np.zeros(40, int)])
    with pytest.raises(DataError, match="lda needs rows of two classes or more"):
        Compressor(1, "lda").fit_moments(one)


def test_there_are_no_more_discriminants_than_dimensions():
    y = np.arange(40) % 6
    rows = X[:, :3] + np.eye(3)[y % 3] * (1 + y[:, None] // 3)
    assert Compressor(3, "lda").fit(rows, y).transform(rows).shape == (40, 3)
    with pytest.raises(DataError, match="n_components=4 is more than 3"):
        Compressor(4, "lda", wide=True).fit(rows, y)


def test_a_start_that_nobody_asked_for_gives_way_and_one_that_was_asked_for_does_not():
    few = np.full(40, -1)
    few[:2] = 0, 1
    given = {"n_components": 2, "shrinkage": 0.0, "epochs": 0}
    np.testing.assert_allclose(
        Compressor(**given).fit(X, few).transform(X), Compressor(2, "pca").fit(X).transform(X), atol=1e-5
    )
    with pytest.raises(DataError, match="set shrinkage above 0"):
        Compressor(**given, start="lda").fit(X, few)


@pytest.mark.parametrize("count", [1, 8, 9])
def test_up_to_eight_constant_columns_are_named(count):
    rows = np.concatenate([np.full((40, count), 3.0), X], axis=1)
    listed = ", ".join(map(str, range(min(count, 8)))) + (", ..." if count > 8 else "")
    with pytest.warns(ConstantColumnWarning) as caught:
        Compressor(2, "pca", scale=True).fit(rows)
    assert str(caught[0].message) == f"{count} of {count + 8} columns are constant and cannot be scaled: {listed}"


@pytest.mark.parametrize("clip", [-0.001, 0.5, 0.7])
def test_a_quantiser_leaves_out_less_than_half_at_each_end(clip):
    assert Quantiser(clip=0).clip == 0 and Quantiser(clip=0.499).clip == 0.499
    with pytest.raises(ConfigError, match=f"clip must be from 0 to below 0.5, got {clip}"):
        Quantiser(clip=clip)


@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [1, -1], [1, np.inf], [0, 1]])
def test_every_teacher_has_one_positive_weight(weights):
    with pytest.raises(DataError, match="2 teachers need as many positive weights, got"):
        Concatenation([X, X], weights)
    with pytest.raises(DataError, match="a concatenation needs at least one teacher"):
        Concatenation([])


def test_class_weights_are_not_negative_and_of_known_labels():
    from embcomp.compression.targets import encode

    targets = encode(Y, 40)
    assert targets.class_weights({"1": 0, 2: 3}).tolist() == [1, 0, 3] and targets.class_weights(None) is None
    for weight in (-1, float("inf"), float("nan")):
        with pytest.raises(DataError, match=f"class_weight of 1 is {weight}; it must be 0 or more"):
            targets.class_weights({1: weight})
    with pytest.raises(DataError, match="class_weight must be None, 'balanced' or a mapping of label to weight, got"):
        targets.class_weights("even")
    many = encode([f"c{number:02d}" for number in range(12)], 12)
    with pytest.raises(DataError, match=r"names 'x', which is not among the classes \['c00', .*'c09'\]"):
        many.class_weights({"x": 1})
    with pytest.raises(DataError) as error:
        encode([f"d{number:02d}" for number in range(12)], 12, many.classes)
    shown = [[f"{letter}{number:02d}" for number in range(count)] for letter, count in (("d", 8), ("c", 10))]
    assert str(error.value) == f"labels not seen in fitting: {shown[0]}; known are {shown[1]}"


def test_a_class_of_weight_0_is_left_out():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weighed = Compressor(1, "lda", class_weight={2: 0}).fit(X, Y).transform(X)
        left = Compressor(1, "lda").fit(X, np.where(Y == 2, -1, Y)).transform(X)
    np.testing.assert_allclose(weighed, left, atol=1e-5)
