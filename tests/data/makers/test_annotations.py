"""Raven's selection tables and Audacity's label tracks: read, written back, matched to recordings, cut in windows."""

from __future__ import annotations

import pytest
from helpers.sounds import write_sound
from hypothesis import given
from hypothesis import strategies as st

from embcomp.data.annotations import (
    Annotation,
    audacity_text,
    is_audacity,
    is_raven,
    raven_text,
    read_audacity,
    read_raven,
)
from embcomp.data.makers import WindowRule, detect, make
from embcomp.errors import ManifestError

HEADER = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies"


def raven(path, rows, header=HEADER):
    path.write_text("\n".join([header, *("\t".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def recording(tmp_path):
    write_sound(tmp_path / "rec1.wav", seconds=4.0)
    return tmp_path


def test_selections_are_clips_and_views_of_one_are_one(recording):
    rows = [(1, "Waveform 1", 1, 0.5, 1.5, 0, 4000, "wren"), (1, "Spectrogram 1", 1, 0.5, 1.5, 0, 4000, "wren")]
    raven(recording / "rec1.Table.1.selections.txt", [*rows, (2, "Spectrogram 1", 1, 2, 2.5, 0, 4000, "robin")])
    made = make("raven", recording / "rec1.Table.1.selections.txt")
    assert [(clip.path.name, clip.label, clip.start, clip.end) for clip in made.clips] == [
        ("rec1.wav", "wren", 0.5, 1.5),
        ("rec1.wav", "robin", 2.0, 2.5),
    ]
    assert detect(recording).name == "raven"


def test_windows_get_labels_by_the_share_they_overlap(recording):
    raven(
        recording / "rec1.txt",
        [
            (1, "S", 1, 0.5, 1.5, 0, 1, "wren"),
            (2, "S", 1, 1.4, 1.8, 0, 1, "robin"),
            (3, "S", 1, 3.0, 3.2, 0, 1, "wren"),
        ],
    )
    made = make("raven", recording / "rec1.txt", window=WindowRule(1.0, overlap=0.6))
    # wren covers half of the first two windows, which is too little; robin and the last wren are whole in theirs.
    assert [(clip.start, clip.label) for clip in made.clips] == [(1.0, "robin"), (3.0, "wren")]
    assert any("1 window with less than 60% of a selection" in note for note in made.notes)
    made = make("raven", recording / "rec1.txt", window=WindowRule(1.0, overlap=0.5, background="none"))
    assert [(clip.start, clip.label) for clip in made.clips] == [
        (0.0, "wren"),
        (1.0, "wren|robin"),
        (2.0, "none"),
        (3.0, "wren"),
    ]
    made = make("raven", recording / "rec1.txt", window=WindowRule(1.0, overlap=0.6, background="|"))
    assert [clip.label for clip in made.clips] == ["?wren", "robin|?wren", "|", "wren"]


def test_a_table_of_several_files_has_times_in_each(tmp_path):
    for name in ("day1/a.wav", "day2/b.wav"):
        write_sound(tmp_path / name, seconds=2.0)
    header = HEADER + "\tBegin File\tFile Offset (s)"
    rows = [(1, "S", 1, 0.5, 1.0, 0, 1, "x", "a.wav", 0.5), (2, "S", 1, 2.5, 3.0, 0, 1, "y", "b.wav", 0.5)]
    made = make("raven", raven(tmp_path / "all.txt", rows, header))
    assert [(clip.path.name, clip.start, clip.end) for clip in made.clips] == [("a.wav", 0.5, 1.0), ("b.wav", 0.5, 1.0)]


def test_labels_and_recordings_that_are_missing_are_asked_for(recording):
    header = HEADER.replace("Species", "What")
    path = raven(recording / "rec1.txt", [(1, "S", 1, 0, 1, 0, 1, "wren")], header)
    with pytest.raises(ManifestError, match=r"no column that is known to hold labels.*What.*--label-column"):
        make("raven", path)
    assert make("raven", path, label_column="What").summary.classes == {"wren": 1}
    with pytest.raises(ManifestError, match="no column 'Whta'; did you mean 'What'"):
        make("raven", path, label_column="Whta")
    other = raven(recording / "other.txt", [(1, "S", 1, 0, 1, 0, 1, "wren")])
    with pytest.raises(ManifestError, match=r"a recording whose name other.txt begins with.*--audio DIR"):
        make("raven", other)
    other.write_text("a table\tof something\n")
    with pytest.raises(ManifestError, match="no Raven selection table"):
        make("raven", other)


def test_names_that_begin_alike_are_told_apart(tmp_path):
    for name in ("rec1.wav", "rec10.wav", "rec1_2.wav"):
        write_sound(tmp_path / name, seconds=1.0)
    for name in ("rec1", "rec10", "rec1_2"):
        (tmp_path / f"{name}_labels.txt").write_text(f"0.1\t0.5\t{name}\n")
    made = make("audacity", tmp_path)
    assert {clip.path.stem: clip.label for clip in made.clips} == {"rec1": "rec1", "rec10": "rec10", "rec1_2": "rec1_2"}


def test_audacity_tracks_with_points_frequencies_and_decimal_commas(recording):
    (recording / "rec1.txt").write_text("0,5\t1,5\twren\n\\\t100\t2000\n2.2\t2.2\tclick\n")
    assert is_audacity(recording / "rec1.txt") and not is_raven(recording / "rec1.txt")
    made = make("audacity", recording / "rec1.txt")
    assert [(clip.label, clip.start, clip.end) for clip in made.clips] == [("wren", 0.5, 1.5)]
    assert any("1 selection without a length" in note for note in made.notes)
    made = make("audacity", recording / "rec1.txt", window=1.0)
    assert [(clip.start, clip.label) for clip in made.clips] == [(0.0, "wren"), (1.0, "wren"), (2.0, "click")]


def test_a_recording_without_any_label_is_background(tmp_path):
    for name in ("a.wav", "b.wav"):
        write_sound(tmp_path / name, seconds=1.0)
    (tmp_path / "a.txt").write_text("0\t1\twren\n")
    (tmp_path / "b.txt").touch()
    assert len(make("audacity", tmp_path).clips) == 1
    made = make("audacity", tmp_path, window=WindowRule(1.0, background="none"))
    assert [(clip.path.name, clip.label) for clip in made.clips] == [("a.wav", "wren"), ("b.wav", "none")]


@pytest.mark.parametrize("line", ["no tabs", "x\ty\tz", "2\t1\twren", "-1\t1\twren", "inf\tinf\twren"])
def test_lines_that_are_no_labels_are_named(tmp_path, line):
    (tmp_path / "t.txt").write_text(f"0\t1\twren\n{line}\n")
    with pytest.raises(ManifestError, match="line 2"):
        read_audacity(tmp_path / "t.txt")


TIMES = st.floats(0, 40000).map(lambda value: round(value, 6))
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs")), min_size=1).filter(
    lambda text: text == " ".join(text.split())
)


@given(st.lists(st.tuples(TIMES, TIMES, NAMES), max_size=8))
def test_what_is_written_reads_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("round")
    some = [Annotation(min(a, b), max(a, b), label, "rec.wav") for a, b, label in rows]
    (folder / "r.txt").write_text(raven_text([(one, 0.5) for one in some], 8000), encoding="utf-8")
    assert read_raven(folder / "r.txt")[0] == some
    (folder / "a.txt").write_text(audacity_text([(one, 0.5) for one in some]), encoding="utf-8")
    assert read_audacity(folder / "a.txt") == [Annotation(one.start, one.end, one.label) for one in some]
