"""Groups that a manifest gives, those that follow from its files, and what may be claimed without any."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from embcomp.audio.clips import Clips
from embcomp.compression import Compressor
from embcomp.data.guards import joined_groups, refuse_duplicates, refuse_shared_clips, seen_among, shared_clips
from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompWarning, ManifestError
from embcomp.evaluation.comparison import sentence
from embcomp.report.tables import Column, units_of


@pytest.fixture
def read(tmp_path):
    def read(text, **options):
        (tmp_path / "m.csv").write_text(text)
        return Manifest.read(tmp_path / "m.csv", **options)

    return read


def test_parts_of_a_file_are_one_group(read):
    manifest = read("path,label,start,end\na,x,0,2\na,y,1,3\nb,x,0,2\n./a,x,5,6\n")
    assert manifest.groups.tolist() == ["a", "a", "b", "a"]
    assert (manifest.unit, manifest.ungrouped, manifest.unseen) == ("file", 4, "files; no groups given")
    assert "no groups given, so the clips of one file are one group" in manifest.notes[-1]


def test_without_groups_each_clip_is_alone(read):
    manifest = read("path,label\na,x\nb,y\n")
    assert manifest.groups.tolist() == ["a", "b"]
    assert (manifest.unit, manifest.unseen) == ("clip", "clips; no groups given")
    with pytest.warns(EmbcompWarning, match="no groups given, so each clip is a group of its own; .*--group-column"):
        read("path,label\na,x\nb,y\n")


def test_groups_that_are_given_hold(read):
    manifest = read("path,label,group,start,end\na,x,ann,0,2\na,y,bob,2,3\nb,x,ann,,\n")
    assert manifest.groups.tolist() == ["ann", "bob", "ann"]
    assert (manifest.unit, manifest.ungrouped, manifest.unseen, manifest.notes) == ("group", 0, "groups", ())


def test_a_clip_without_a_group_shares_that_of_its_file(read):
    manifest = read("path,label,group,start,end\na,x,ann,0,2\na,y,,2,3\nb,x,,,\nc,x,ann,,\nc#,y,bob,,\n")
    assert manifest.groups.tolist() == ["ann", "ann", "b", "ann", "bob"]
    assert manifest.unseen == "groups; 2 of 5 clips have none"
    assert "row 3, 4: 2 of 5 clips have no group" in manifest.notes[-1]


def test_two_candidates_are_asked_for(read):
    text = "path,label,speaker,session\na,x,1,1\nb,y,1,2\nc,x,2,1\n"
    with pytest.raises(ManifestError, match="--group-column"):
        read(text)
    assert read(text, group_column="speaker").groups.tolist() == ["1", "1", "2"]
    assert read("path,label\na,x\n", group_column="speaker", group_column_needed=False).group_column == ""


def test_overlapping_parts_are_one_audio_for_every_guard():
    train, test = {"a": "f#0-2"}, {"b": "f#1-3", "c": "f#2-4", "d": "f", "e": "g#0-2"}
    assert shared_clips(train, test) == [("a", "b"), ("a", "d")]
    with pytest.raises(ManifestError, match="share 1 clip by content: 'b' overlaps 'a'"):
        refuse_shared_clips(train, {"b": "f#1-3"}, "fold 1: fit and test")
    assert joined_groups(["ann", "bob", "cid"], ["f#0-2", "f#1-3", "f#3-4"]) == ["ann", "ann", "cid"]
    ids, keys = list("abcd"), ["f#0-2", "f#1-3", "f#2.5-4", "f#4-5"]
    assert refuse_duplicates(ids, keys, ["g"] * 4, "set", "group", "") == 2
    with pytest.raises(ManifestError, match=r"'b' \(group 'g'\) overlaps 'c' \(group 'h'\)"):
        refuse_duplicates(ids, keys, ["g", "g", "h", "h"], "set", "group", "")
    # Of two parts that reach as far, the first row is named, wherever they begin.
    with pytest.raises(ManifestError, match=r"'a' \(group 'g'\) overlaps 'c' \(group 'h'\)"):
        refuse_duplicates(ids[:3], ["f#1-4", "f#0-4", "f#2-5"], ["g", "g", "h"], "set", "group", "")


def test_what_was_seen_counts_in_parts():
    seen = seen_among(["f#0-2", "g"])
    assert seen(["f#1-3", "f#2-3", "f", "g#7-8", "h"]) == {"f#1-3", "f", "g#7-8"}


def test_a_compressor_knows_parts_of_what_it_was_fitted_on(tmp_path):
    rows = np.random.default_rng(0).normal(size=(4, 3))
    Compressor(2, "pca").fit(rows, ids=["f#0-2", "f#7-", "g", b"h"]).save(tmp_path / "c")
    compressor = Compressor.load(tmp_path / "c")
    asked = ["f#1-3", "f#2-3", "f", "g#7-8", "h", "x", "f#8-9", "f#0-2"]
    assert compressor.seen(asked) == ["f#1-3", "f", "g#7-8", "h", "f#8-9", "f#0-2"]


def test_content_keys_of_parts_are_told_apart_by_file_and_time(tmp_path):
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.full(32_000, 0.1), 16_000)
    (tmp_path / "m.csv").write_text("path,label,start,end\na.wav,x,0,1\nb.wav,y,0.5,1.5\nb.wav,y,,\n")
    keys = Clips(Manifest.read(tmp_path / "m.csv"), 16_000, 2.0).hashes()
    # The two files hold the same bytes.
    assert [key.partition("#")[2] for key in keys] == ["0-1", "0.5-1.5", ""]
    assert len({key.partition("#")[0] for key in keys}) == 1


@pytest.mark.parametrize("unseen", ["groups", "clips; no groups given", "files; no groups given"])
def test_titles_say_what_is_unseen(unseen):
    assert Column("in-domain", "a", "a").title(unseen) == f"a, unseen {unseen}"
    assert Column("in-domain", "a", "a").title() == "a, in-domain"
    assert Column("cross-dataset", "a", "b").title(unseen) == "a → b"


def test_intervals_say_what_they_resample():
    import pandas as pd

    rows = pd.DataFrame({"test_dataset": ["a", "b"], "unit": ["groups", "groups"]})
    assert units_of(rows) == units_of(rows[["test_dataset"]]) == "groups"
    assert units_of(rows.assign(unit="clips")) == "clips, for which no groups are given"
    assert units_of(rows.assign(unit=["groups", "files"])) == "groups, and files of b, for which no groups are given"


def test_sentences_name_the_unit():
    import pandas as pd

    row = {"metric": "accuracy", "p": 0.9, "p_corrected": 0.9, "p_smallest": 0.01, "n_groups": 9, "n_clips": 9}
    row |= {"variant": "b", "baseline": "a", "difference": 0.1, "low": 0.0, "high": 0.2}
    table = pd.DataFrame([row])
    assert "over 9 groups (9 clips)" in sentence(table)
    assert "over 9 clips, no groups given is" in sentence(table, "clip")
    assert "over 9 files (9 clips), no groups given" in sentence(table, "file")
