"""Splits that never share a group and never lose a class."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.data.labels import encode
from embcomp.data.manifest import Manifest
from embcomp.data.splits import column_folds, group_folds, only_groups, validation_split
from embcomp.errors import ManifestError


def data(seed, clips=120, classes=4, groups=12, unlabelled=0):
    """Classes and groups drawn at random: groups of very different size, classes unevenly over them."""
    rng = np.random.default_rng(seed)
    strata = rng.choice(classes, clips, p=rng.dirichlet(np.full(classes, 3.0)))
    names = np.array(
        [f"g{number}" for number in rng.choice(groups, clips, p=rng.dirichlet(np.ones(groups)))], dtype=object
    )
    strata[rng.permutation(clips)[:unlabelled]] = -1
    return strata, names


@pytest.mark.parametrize("unlabelled", [0, 30])
@pytest.mark.parametrize("folds", [0, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_group_folds_test_every_free_clip_once_and_share_no_group(seed, folds, unlabelled):
    strata, groups = data(seed, unlabelled=unlabelled)
    pinned = only_groups(strata, groups)
    found = group_folds(strata, groups, folds, seed)
    assert len(found) == (folds or len(set(groups[~pinned])))
    assert len({fold.name for fold in found}) == len(found)
    for fold in found:
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert sorted([*fold.train, *fold.test]) == list(range(len(groups)))
        assert set(np.flatnonzero(pinned)) <= set(fold.train)
        assert set(strata[fold.test]) - {-1} <= set(strata[fold.train])
    assert sorted(np.concatenate([fold.test for fold in found])) == np.flatnonzero(~pinned).tolist()


def test_leaving_one_group_out_names_the_group():
    strata, groups = np.array([0, 1] * 6), np.repeat(["ann", "bob", "cid"], 4).astype(object)
    found = group_folds(strata, groups, 0, 0)
    assert [fold.name for fold in found] == ["without-ann", "without-bob", "without-cid"]
    assert [set(groups[fold.test]) for fold in found] == [{"ann"}, {"bob"}, {"cid"}]


def test_group_folds_depend_on_the_seed_alone():
    strata, groups = data(0)
    parts = [[fold.test.tolist() for fold in group_folds(strata, groups, 3, seed)] for seed in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2]


def test_folds_keep_the_shares_of_the_classes():
    strata, groups = np.tile([0, 0, 0, 1], 100), np.repeat(np.arange(40), 10)
    for fold in group_folds(strata, groups, 4, 0):
        assert np.mean(strata[fold.test]) == pytest.approx(0.25, abs=0.05)
        assert len(fold.test) == pytest.approx(100, abs=20)


def test_groups_that_alone_have_a_class_stay_in_training():
    strata = np.array([0, 0, 1, 1, 0, 1, 2, 2, 0])
    groups = np.array(["a", "b", "a", "b", "c", "c", "d", "d", "d"], dtype=object)
    assert only_groups(strata, groups).tolist() == [False] * 6 + [True] * 3
    for fold in group_folds(strata, groups, 3, 0):
        assert {6, 7, 8} <= set(fold.train)


def test_clips_without_a_label_pin_no_group():
    assert not only_groups(np.array([-1, 0, 0]), np.array(["a", "b", "c"])).any()


@pytest.mark.parametrize(
    ("strata", "groups", "folds", "message"),
    [
        ([0, 1, 0, 1], "aabb", 1, "1 fold leaves nothing to train on"),
        ([0, 1, 0, 1], "aabb", 3, r"3 folds need as many groups; 2 can be tested: a, b\. Set split\.folds to 2 or"),
        ([0, 1, 0, 1, 2], "aabbc", 4, r"tested: a, b \(1 group must stay in training, .*\)\. Set split\.folds to 2"),
        ([0] * 6, "abcdef", 7, r"; 6 can be tested: a, b, c, d, e, \.\.\.\. Set split\.folds to 6"),
        ([0, 0, 0, 1], "aabb", 0, r"two groups or more; 1 can be tested: a \(1 group .*\)\. Add groups to"),
        ([0, 0, 1, 1], "aabb", 5, r"5 folds need as many groups; 0 can be tested \(2 groups .*\)\. Add groups"),
        ([0, 1, 0, 1], "aaaa", 0, "4 clips are all of one group, 'a', .*: give clips of other speakers"),
        ([0, 1, 0, 1], "aaaa", 1, "4 clips are all of one group, 'a'"),
        ([-1, -1, -1], "aaa", 5, "3 clips are all of one group, 'a'"),
        ([0, 0, 1, 1], "abcd", 3, "3 folds need a class of as many clips"),
    ],
)
def test_too_few_groups_or_clips_for_the_folds_are_refused(strata, groups, folds, message):
    with pytest.raises(ManifestError, match=message):
        group_folds(np.array(strata), np.array(list(groups), dtype=object), folds, 0)


@pytest.mark.parametrize("folds", [0, 2])
def test_two_groups_are_enough(folds):
    found = group_folds(np.array([0, 1, 0, 1]), np.array(list("aabb"), dtype=object), folds, 0)
    assert sorted(fold.test.tolist() for fold in found) == [[0, 1], [2, 3]]


def test_published_folds_test_each_value_once():
    splits = np.array(["2", "1", "", "3", "1"], dtype=object)
    groups = np.array(list("abcde"), dtype=object)
    found = column_folds(splits, groups)
    assert [(fold.name, fold.train.tolist(), fold.test.tolist()) for fold in found] == [
        ("1", [0, 3], [1, 4]),
        ("2", [1, 3, 4], [0]),
        ("3", [0, 1, 4], [3]),
    ]
    assert [fold.name for fold in column_folds(splits, groups, ["3"])] == ["3"]


@pytest.mark.parametrize(
    ("splits", "test", "message"),
    [
        (["", ""], [], r"the split column holds \[\]; two values or more"),
        (["a", "a"], [], r"holds \['a'\]; two values"),
        (["a", "b"], ["c"], r"split\.test names \['c'\], but the split column holds \['a', 'b'\]"),
    ],
)
def test_a_split_column_without_the_values_asked_for_is_refused(splits, test, message):
    with pytest.raises(ManifestError, match=message):
        column_folds(np.array(splits, dtype=object), np.array(["g", "h"], dtype=object), test)


def test_published_validation_clips_are_neither_trained_on_nor_tested():
    splits = np.array(["train", "val", "test", "", "train"], dtype=object)
    groups = np.array(["a", "b", "c", "d", "a"], dtype=object)
    (fold,) = column_folds(splits, groups, ["test"], validate=["val"])
    assert [part.tolist() for part in (fold.train, fold.validation, fold.test)] == [[0, 4], [1], [2]]
    assert [fold.name for fold in column_folds(splits, groups, validate=["val"])] == ["test", "train"]
    assert column_folds(splits, groups, ["test"])[0].validation is None
    with pytest.raises(ManifestError, match=r"split\.validate names \['dev'\], but the split column holds"):
        column_folds(splits, groups, ["test"], validate=["dev"])
    with pytest.raises(ManifestError, match="leaves nothing to train on"):
        column_folds(splits, groups, ["test"], validate=["val", "train"])
    groups[1] = "c"
    with pytest.raises(
        ManifestError, match=r"split\.validate = \['val'\] shares 1 group between validation and the rest, 'c'"
    ):
        column_folds(splits, groups, ["test"], validate=["val"])
    assert len(column_folds(splits, groups, ["test"], True, ["val"])) == 1


def test_a_published_split_that_shares_a_group_is_refused_unless_accepted():
    splits, groups = np.array(["a", "b", "b"], dtype=object), np.array(["g", "g", "h"], dtype=object)
    with pytest.raises(ManifestError, match="split 'a' shares 1 group between train and test, 'g' first"):
        column_folds(splits, groups)
    assert len(column_folds(splits, groups, allow_shared_groups=True)) == 2


def test_the_official_folds_of_esc10_share_no_recording(shared):
    manifest = Manifest.read(shared / "data" / "esc10" / "manifest.csv")
    found = column_folds(manifest.splits, manifest.groups)
    index = encode(manifest.labels).index
    assert [fold.name for fold in found] == ["1", "2", "3", "4"]
    assert sorted(np.concatenate([fold.test for fold in found])) == list(range(len(manifest)))
    for fold in found:
        assert not set(manifest.groups[fold.train]) & set(manifest.groups[fold.test])
        assert set(index[fold.test]) == set(index[fold.train]) == set(range(10))
        # The fold stands first in the names of the data set's own files.
        assert {manifest.audio_path(row).name[0] for row in fold.test} == {fold.name}


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_validation_rows_share_no_group_and_lose_no_class(seed, share):
    strata, groups = data(seed, clips=300, groups=40)
    fit, held = validation_split(strata, groups, share, seed)
    assert sorted([*fit, *held]) == list(range(300))
    assert not set(groups[fit]) & set(groups[held])
    assert set(strata[fit]) == set(strata)
    assert len(held) / 300 == pytest.approx(share, abs=0.15)


def test_validation_holds_every_class_where_it_can():
    strata, groups = np.tile(np.arange(5), 40), np.repeat(np.arange(20), 10)
    for seed in range(5):
        assert set(strata[validation_split(strata, groups, 0.2, seed)[1]]) == set(range(5))


def test_validation_depends_on_the_seed_alone():
    strata, groups = data(0, groups=30)
    held = [validation_split(strata, groups, 0.2, seed)[1].tolist() for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


def test_validation_of_classes_with_fewer_clips_than_shares():
    strata, groups = np.repeat(np.arange(5), 3), np.arange(15)
    fit, held = validation_split(strata, groups, 0.1, 0)
    assert len(held) and set(strata[fit]) == set(range(5))


@pytest.mark.parametrize(
    ("strata", "groups", "found"), [([0, 1, 0, 1], "aaaa", "none"), ([0, 1], "ab", "none"), ([-1, -1], "aa", "a")]
)
def test_validation_without_groups_to_spare_is_refused(strata, groups, found):
    with pytest.raises(ManifestError, match=f"two groups or more that can be spared; found {found}"):
        validation_split(np.array(strata), np.array(list(groups), dtype=object), 0.2, 0)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 6)), min_size=1, max_size=30),
    st.integers(0, 4),
    st.sampled_from([0.05, 0.2, 0.5]),
)
def test_any_labels_and_groups_are_split_soundly_or_are_a_manifest_error(clips, folds, share):
    strata, groups = (np.array(column) for column in zip(*clips))
    parts = []
    with contextlib.suppress(ManifestError):
        parts += [(fold.train, fold.test) for fold in group_folds(strata, groups, folds, 0)]
    with contextlib.suppress(ManifestError):
        fit, held = validation_split(strata, groups, share, 0)
        assert len(held) and set(strata[held]) <= set(strata[fit])
        parts.append((fit, held))
    for train, test in parts:
        assert sorted([*train, *test]) == list(range(len(clips)))
        assert not set(groups[train]) & set(groups[test])
