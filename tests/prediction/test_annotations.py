"""What a student found, as files for Raven and Audacity: read back, they say the same, and nothing of others is lost."""

from __future__ import annotations

import numpy as np
import pytest

from embcomp.data.annotations import read_audacity, read_raven
from embcomp.errors import ConfigError, EmbcompError
from embcomp.prediction.annotations import check_target, write_annotations
from embcomp.prediction.predicted import Predicted


def predicted(paths, several=False) -> Predicted:
    places = [(path, start, start + 1.0) for path in paths for start in (0.0, 1.0, 2.0)]
    probabilities = np.tile([[0.9, 0.1], [0.2, 0.8], [0.75, 0.7]], (len(paths), 1)).astype(np.float32)
    labels = (["wren", "", "wren|robin"] if several else ["wren", "robin", "wren"]) * len(paths)
    return Predicted(places, labels, probabilities, ("wren", "robin"), several, True)


def test_selections_read_back_as_they_were_predicted(tmp_path):
    (path,) = write_annotations(predicted(["rec.wav"]), "raven", 16_000, tmp_path / "t.txt")
    assert path == tmp_path / "t.txt"
    found, _ = read_raven(path)
    assert [(one.start, one.end, one.label) for one in found] == [(0, 1, "wren"), (1, 2, "robin"), (2, 3, "wren")]
    assert all(one.recording.endswith("/rec.wav") for one in found)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert [line[lines[0].index("Probability")] for line in lines[1:]] == ["0.9000", "0.8000", "0.7500"]
    assert {line[lines[0].index("High Freq (Hz)")] for line in lines[1:]} == {"8000"}


def test_several_labels_are_a_selection_each_and_none_is_none(tmp_path):
    (path,) = write_annotations(predicted(["rec.wav"], several=True), "audacity", 16_000, tmp_path / "t.txt")
    assert [(one.start, one.label) for one in read_audacity(path)] == [(0, "wren"), (2, "wren"), (2, "robin")]


def test_several_recordings_get_a_file_each_whose_names_differ(tmp_path):
    recordings = ["a/rec.wav", "b/rec.wav", "c.wav"]
    written = write_annotations(predicted(recordings), "audacity", 16_000, tmp_path / "out")
    assert [path.name for path in written] == [
        "rec.embcomp.labels.txt",
        "rec-2.embcomp.labels.txt",
        "c.embcomp.labels.txt",
    ]
    with pytest.raises(ConfigError, match="3 recordings need a file each"):
        write_annotations(predicted(recordings), "raven", 16_000, tmp_path / "one.txt")


def test_somebodys_own_annotations_are_kept(tmp_path):
    (tmp_path / "rec.txt").write_text("0\t1\tmine\n")
    with pytest.raises(EmbcompError, match="may hold your own annotations"):
        write_annotations(predicted(["rec.wav"]), "audacity", 16_000, tmp_path / "rec.txt")
    assert (tmp_path / "rec.txt").read_text() == "0\t1\tmine\n"
    for _ in range(2):  # those of an earlier prediction are not
        write_annotations(predicted(["rec.wav"]), "audacity", 16_000, tmp_path)


def test_places_are_refused_before_anything_is_predicted(tmp_path):
    with pytest.raises(ConfigError, match="2 recordings need a file each"):
        check_target("raven", None, 2)
    check_target("raven", None, 1)
    check_target("raven", tmp_path, 2)
    check_target("raven", tmp_path / "new.txt", 1)
