from __future__ import annotations

import pytest
from helpers.settings import teacher_settings

from embcomp.config.choices import SECTIONS
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, TeacherError
from embcomp.teachers import open_teacher
from embcomp.teachers.catalogue import cache_folder, catalogue
from embcomp.teachers.describe import shipped
from embcomp.teachers.embed_manifest import embed_manifest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBCOMP_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", catalogue())
def test_an_entry_says_everything_and_a_teacher_runs_it(name):
    entry = catalogue()[name]
    assert entry.origin in ("wheel", "files", "hub", "torchaudio", "package", "here")
    assert entry.domain and entry.signal and entry.licence and entry.sample_rate >= 1000 and entry.dim >= 1
    assert entry.megabytes >= 0 and all(len(one.sha256) == 64 for one in entry.files)
    assert bool(entry.files) == (entry.origin in ("wheel", "files"))
    if entry.origin == "wheel":
        assert "==" in entry.package and len(entry.sha256) == 64
    settings = teacher_settings(spec=name)
    assert settings.choice is SECTIONS["teacher"].classes[entry.kind] and settings.spec == entry.spec


def test_what_is_fetched_is_what_a_shipped_description_describes():
    known = {tuple(sorted((model.file, model.sha256) for model in one.models)): one for one in shipped()}
    for entry in catalogue().values():
        if entry.files:
            one = known[tuple(sorted((file.name, file.sha256) for file in entry.files))]
            assert (one.sample_rate, one.name) == (entry.sample_rate, entry.name)


def test_one_that_is_not_fetched_says_how():
    with pytest.raises(TeacherError, match=r"yamnet is not on this machine .* `embcomp teachers fetch yamnet`"):
        open_teacher(teacher_settings(spec="yamnet"))


@pytest.mark.parametrize("spec", ["yamnet", "kmeans + yamnet"])
def test_it_is_said_before_a_clip_is_read(tmp_path, spec):
    (tmp_path / "m.csv").write_text("path,label\nnone.wav,a\n")
    with pytest.raises(TeacherError, match="embcomp teachers fetch yamnet"):
        embed_manifest(Manifest.read(tmp_path / "m.csv"), tmp_path / "store", teacher=spec)
    assert not (tmp_path / "store").exists()


def test_a_name_of_the_catalogue_is_near_too():
    with pytest.raises(ConfigError, match="unknown teacher 'yamnt': did you mean 'yamnet'"):
        teacher_settings(spec="yamnt")


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache/teachers"
    monkeypatch.delenv("EMBCOMP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/embcomp/teachers"


def test_a_fetched_teacher_is_opened_by_its_name(shared, tmp_path):
    pytest.importorskip("onnxruntime")
    folder = shared / "teachers/google_speech_embedding"
    entry = catalogue()["google-speech-embedding"]
    entry.folder.mkdir(parents=True)
    for one in entry.files:
        (entry.folder / one.name).symlink_to(folder / one.name)
    assert entry.fetched
    teacher = open_teacher(teacher_settings(spec="google-speech-embedding"))
    assert (teacher.dim, teacher.sample_rate) == (entry.dim, entry.sample_rate)
    assert teacher.fingerprint() == open_teacher(teacher_settings(spec=f"onnx:{folder}")).fingerprint()
