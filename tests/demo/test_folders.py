"""Sounds in class folders: what is in them, and that nothing else is written over."""

from __future__ import annotations

from collections import Counter

import pytest

from embcomp.demo import FAMILIES, render
from embcomp.demo.folders import render_folders
from embcomp.errors import ConfigError

SMALL = {"clips": 16, "other_clips": 8, "pool_clips": 9}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folders")
    return render_folders(root, **SMALL)


def test_a_folder_for_each_class_and_one_without(folders):
    sounds, other, pool = folders
    assert Counter(path.parent.name for path in sounds.rglob("*.flac")) == dict.fromkeys(FAMILIES, 2)
    assert {path.parent.name for path in other.rglob("*.flac")} == set(FAMILIES)
    assert len(list(pool.glob("*.flac"))) == 9 and not [path for path in pool.iterdir() if path.is_dir()]


def test_they_are_the_sounds_of_the_demo(folders, tmp_path):
    sets = render(tmp_path, clips=8, shifted_clips=8)
    for name in ("bell", "snare"):
        same = folders[0] / name / f"{name}_00_00.flac"
        assert same.read_bytes() == (sets.plain / f"audio/{name}_00_00.flac").read_bytes()


def test_again_writes_nothing_and_shows_no_progress(folders):
    before = {path: path.stat().st_mtime_ns for path in folders[0].rglob("*.flac")}
    (folders[0] / "manifest.csv").write_text("path,label\n")
    shown = []
    assert render_folders(folders[0].parent, **SMALL, progress=lambda done, total: shown.append(done)) == folders
    assert not shown and before == {path: path.stat().st_mtime_ns for path in folders[0].rglob("*.flac")}


def test_other_folders_are_refused_before_anything_is_rendered(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other/mine.wav").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="other exists and was not written by this command"):
        render_folders(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    with pytest.raises(ConfigError, match="clips of pool must be a whole number of at least 8, not 3"):
        render_folders(tmp_path / "new", pool_clips=3)


def test_other_settings_and_a_lost_file_are_named(folders, tmp_path):
    with pytest.raises(ConfigError, match="sounds exists and was not written by this command with these settings"):
        render_folders(folders[0].parent, **SMALL | {"clips": 24})
    render_folders(tmp_path, **SMALL)
    (tmp_path / "pool/bell_00_00.flac").unlink()
    with pytest.raises(ConfigError, match=r"pool lacks bell_00_00.flac and 0 more; remove the folder"):
        render_folders(tmp_path, **SMALL)
