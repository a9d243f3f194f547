"""What would stop or mislead a run is found: each fault planted alone, and nothing in a sound set."""

from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
from helpers.sounds import write_sound

from embcomp.config import parse
from embcomp.pipeline.validation import _spread, validate

GOOD = [(f"{label}{number}.wav", label, f"g{number % 6}") for label in ("a", "b") for number in range(24)]


@pytest.fixture
def folder(tmp_path):
    for name, _, _ in GOOD:
        write_sound(tmp_path / name)
    return tmp_path


def check(folder, rows=GOOD, header="path,label,group", **about):
    lines = [header, *(",".join(row) for row in rows)]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return validate(folder / "manifest.csv", **about)


def levels(found) -> dict[str, str]:
    return {one.name: one.level for one in found.findings}


def text(found, name: str) -> str:
    return next(one.text for one in found.findings if one.name == name)


def test_a_sound_set_has_nothing_to_find(folder):
    found = check(folder)
    assert found.findings == () and found.usable and found.decoded == found.clips == 48


def test_unreadable_clips_are_errors_with_their_rows(folder):
    (folder / "a0.wav").write_bytes(b"")
    whole = (folder / "b1.wav").read_bytes()
    (folder / "b1.wav").write_bytes(whole[: len(whole) // 2])  # its header is as it was
    (folder / "b2.wav").unlink()
    found = check(folder)
    (bad,) = [one for one in found.findings if one.name == "unreadable"]
    assert not found.usable and bad.level == "error" and len(bad.clips) == 3
    assert any("row 2: a0.wav: the file is empty" in clip for clip in bad.clips)
    assert any("b1.wav" in clip and "cut off" in clip for clip in bad.clips)
    assert any("b2.wav" in clip and "no such file" in clip for clip in bad.clips)


def test_a_manifest_that_cannot_be_read_is_one_error(folder):
    (folder / "m.csv").write_text("path,label\na0.wav,a\na0.wav,b\n")
    found = validate(folder / "m.csv")
    assert [one.level for one in found.findings] == ["error"] and "named twice" in found.findings[0].text
    assert found.clips == 0 and not found.usable


def test_labels_that_are_too_few_rare_missing_or_alone(folder):
    assert levels(check(folder, [(path, "a", group) for path, _, group in GOOD]))["classes"] == "error"
    rows = [(path, "" if path == "a1.wav" else label, group) for path, label, group in GOOD]
    assert levels(check(folder, rows))["no label"] == "note"
    rows = [(path, "rare" if path in ("a0.wav", "a6.wav") else label, group) for path, label, group in GOOD]
    found = check(folder, rows)
    assert levels(found)["few clips"] == "warning" and "rare (2)" in text(found, "few clips")
    assert "one group only" in text(found, "class in one group") and "rare" in text(found, "class in one group")
    assert levels(found)["imbalance"] == "warning"


def test_labels_that_look_like_slips_and_columns_not_used(folder):
    rows = [(path, "A" if path == "a0.wav" else label, group, "7") for path, label, group in GOOD]
    found = check(folder, rows, "path,label,group,age")
    texts = " ".join(one.text for one in found.findings)
    assert "'a' (23 cells) and 'A' (1)" in texts and "not used: age" in texts


def test_no_groups_too_few_groups_and_groups_that_repeat_the_label(folder):
    found = check(folder, [(path, label) for path, label, _ in GOOD], "path,label")
    assert any("no groups given" in one.text for one in found.findings)
    found = check(folder, [(path, label, "one") for path, label, _ in GOOD])
    assert not found.usable
    found = check(folder, [(path, label, f"group {label}") for path, label, _ in GOOD])
    assert levels(found)["groups are classes"] == "error"
    rows = [(path, label, "big" if number % 24 > 5 else group) for number, (path, label, group) in enumerate(GOOD)]
    assert "'big' is 36 of 48 clips" in text(check(folder, rows), "large group")


def test_splits_that_share_groups_or_miss_a_class(folder):
    rows = [(*row, "test" if number % 2 else "train") for number, row in enumerate(GOOD)]
    rows[1] = (*GOOD[1], "train")
    assert "1 group is in more than one split" in text(
        check(folder, rows, "path,label,group,split"), "groups across splits"
    )
    rows = [(*row, "test" if row[1] == "a" else "train") for row in GOOD]
    assert "has no clip of b" in text(check(folder, rows, "path,label,group,split"), "class missing from a split")


def test_the_settings_of_a_run_are_tried(folder):
    config = parse({"split": {"by": "column", "test": ["tset"]}, "audio": {"seconds": 0.1}})
    found = check(
        folder,
        [(*row, "train" if number % 2 else "test") for number, row in enumerate(GOOD)],
        "path,label,group,split",
        config=config,
    )
    assert levels(found)["split"] == "error" and "tset" in text(found, "split")
    assert "48 clips are longer than audio.seconds = 0.1, and cut there" in text(found, "long")


def test_the_same_audio_in_two_groups_and_under_two_labels(folder):
    (folder / "b7.wav").write_bytes((folder / "a0.wav").read_bytes())
    found = check(folder)
    assert levels(found)["duplicates"] == "error" and "is the same audio as" in text(found, "duplicates")
    assert levels(found)["labels disagree"] == "warning"
    (folder / "b7.wav").unlink()
    write_sound(folder / "b7.wav")
    (folder / "a6.wav").write_bytes((folder / "a0.wav").read_bytes())  # both in g0, both a
    assert levels(check(folder)) == {"duplicates": "note"}


def test_overlapping_parts_of_a_file_in_two_groups(folder):
    rows = [(path, label, group, "", "") for path, label, group in GOOD[1:]]
    rows += [("a0.wav", "a", "g0", "0", "0.15"), ("a0.wav", "a", "g1", "0.1", "0.25")]
    assert levels(check(folder, rows, "path,label,group,start,end"))["duplicates"] == "error"


def test_clips_that_are_silent_or_short(folder):
    soundfile.write(folder / "a0.wav", np.zeros(2000), 8000)
    write_sound(folder / "a1.wav", seconds=0.01)
    found = check(folder)
    assert levels(found)["silence"] == "warning" and "a0.wav" in text(found, "silence")
    assert "a1.wav" in text(found, "short")


def test_properties_of_files_that_give_the_class_away(folder):
    for number in range(24):
        write_sound(folder / f"a{number}.wav", rate=16_000)
    found = check(folder)
    assert "a (16000 Hz), b (8000 Hz)" in text(found, "sample rate tells the class")
    for number in range(24):
        write_sound(folder / f"a{number}.wav", rate=8000 if number % 2 else 16_000)
    assert "sample rate tells the class" not in levels(check(folder))


def test_audio_outside_is_an_error_unless_trusted(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("lists")
    lines = ["path,label,group", *(f"{folder}/{path},{label},{group}" for path, label, group in GOOD)]
    (other / "m.csv").write_text("\n".join(lines) + "\n")
    found = validate(other / "m.csv")
    assert levels(found)["outside"] == "error" and found.decoded == 0
    assert validate(other / "m.csv", allow_outside=True).usable


def test_little_time_decodes_clips_spread_over_the_set(folder):
    found = check(folder, seconds=0.0)
    assert found.decoded == 1 and found.usable
    assert check(folder, seconds=math.inf).decoded == 48


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 48, 100])
def test_every_row_comes_once_and_the_first_lie_far_apart(count):
    order = list(_spread(range(count)))
    assert sorted(order) == list(range(count))
    if count == 100:
        assert order[:3] == [0, 64, 32]
