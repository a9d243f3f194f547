"""What was seen, kept with an artifact: as good after as before, and no more than is needed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcomp.errors import ArtifactError
from embcomp.storage.artifact import check_tensors, load_artifact, save_artifact
from embcomp.storage.content import part_key
from embcomp.storage.seen import Seen, counts_of, tensors_expected, tensors_of

KEYS = st.builds(
    lambda file, start, length: part_key(file, start, None if length is None else (start or 0) + length),
    st.sampled_from("abc"),
    st.one_of(st.none(), st.integers(0, 9)),
    st.one_of(st.none(), st.integers(1, 5)),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(KEYS, max_size=6), st.lists(KEYS, max_size=6))
def test_what_was_kept_finds_the_same_clips(tmp_path_factory, learned, asked):
    seen, path = Seen.of(learned), tmp_path_factory.mktemp("a") / "a"
    save_artifact(path, "thing", counts_of(seen), tensors_of(seen))
    config, tensors = load_artifact(path, "thing")
    check_tensors(path, tensors, tensors_expected(config))
    again = Seen.of_tensors(tensors)
    assert again.among(asked) == seen.among(asked) and len(again) == len(set(learned))
    assert set(learned) & set(asked) <= set(again.among(asked))
    size = sum(tensor.nbytes for tensor in tensors.values())
    assert size <= 32 * len(set(learned))  # whatever the names


def test_nothing_known_is_not_the_same_as_no_clip():
    assert counts_of(None) == {"n_seen": None, "n_parts_seen": 0} and tensors_of(None) == {}
    assert Seen.of_tensors(tensors_of(None)) is None and tensors_expected({}) == {}
    assert len(Seen.of_tensors(tensors_of(Seen.of([])))) == 0


@pytest.mark.parametrize("wrong", [{"n_seen": 3}, {"n_seen": None}, {"n_parts_seen": 0}])
def test_counts_that_do_not_fit_are_refused(wrong):
    seen = Seen.of(["a", "b#1-2"])
    with pytest.raises(ArtifactError, match="seen"):
        check_tensors("a", tensors_of(seen), tensors_expected(counts_of(seen) | wrong))
