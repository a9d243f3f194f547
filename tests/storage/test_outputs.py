"""Results at a URL: uploaded when they are finished, gone on with by another machine, never in place of others' files."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
from helpers.remotes import contents, fresh_cache, upload

from embcomp.errors import ArtifactError, ConfigError, RemoteError
from embcomp.storage import cached, publishing, remote
from embcomp.storage.bringing import brought
from embcomp.storage.files import new_folder, write_json, write_text, writing
from embcomp.storage.outputs import begun, ended, results_at
from embcomp.storage.ownership import mark_results
from embcomp.storage.places import path_of
from embcomp.storage.store import EmbeddingStore, write_store


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Become another machine: one with an empty cache, or the one of that name again."""
    monkeypatch.setattr(remote, "PAUSE", 0)
    return lambda name: fresh_cache(tmp_path / name, monkeypatch)


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path, machine) -> str:
    machine("first")
    return f"file://{tmp_path}/there" if request.param == "file" else f"memory://{uuid.uuid4().hex}/there"


def fill(folder: Path, **texts: str) -> None:
    with new_folder(folder, lambda there: None) as temporary:
        for name, text in texts.items():
            write_text(temporary / name, text)


def test_files_and_folders_are_uploaded_when_they_get_their_names(url):
    out = begun(url)
    mark_results(out, "run")
    with writing(out / "table.csv") as file:
        file.write("a")
        assert sorted(contents(url)) == ["embcomp.json"]
    fill(out / "stages/one", x="1", y="2")
    (out / ".lock").write_text("")
    (out / "curves.log").write_text("3")  # by a library
    assert sorted(contents(url)) == ["embcomp.json", "stages/one/x", "stages/one/y", "table.csv"]
    ended(out)
    assert contents(url)["curves.log"] == b"3" and ".lock" not in contents(url)
    fill(out / "stages/one", x="5")
    publishing.withdraw(out / "table.csv")
    assert {name: text for name, text in contents(url).items() if "." not in name} == {"stages/one/x": b"5"}
    assert "table.csv" not in contents(url)


def test_another_machine_finds_what_is_finished_and_nothing_else(url, machine):
    with results_at(url) as out:
        mark_results(out, "run")
        fill(out / "stages/one", x="1")
    remote.write(b"", f"{url}/stages/two/{publishing.UPLOADING}")
    remote.write(b"half", f"{url}/stages/two/x")
    machine("second")
    out = begun(url)
    assert (out / "stages/one/x").read_text() == "1" and not (out / "stages/two").exists()
    fill(out / "stages/two", y="whole")
    machine("third")
    assert sorted(path.name for path in (begun(url) / "stages/two").iterdir()) == ["y"]


@pytest.mark.parametrize("after", range(5))
def test_an_upload_that_is_cut_off_is_gone_on_with(url, machine, after, monkeypatch):
    out = begun(url)
    mark_results(out, "run")
    fill(out / "stages/one", x="old", z="gone")
    steps = []

    def dies(real):
        def call(*given):
            if len(steps) == after:
                raise KeyboardInterrupt
            steps.append(given)
            return real(*given)

        return call

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publishing, "TOGETHER", 1)
        for name in ("put", "write", "remove"):
            patch.setattr(remote, name, dies(getattr(remote, name)))
        fill(out / "stages/one", x="new", y="1")
    machine("second")
    other = begun(url) / "stages/one"
    found = {path.name: path.read_text() for path in other.iterdir()} if other.exists() else {}
    assert found in ({}, {"x": "old", "z": "gone"}, {"x": "new", "y": "1"})
    machine("first")
    assert sorted(path.name for path in (begun(url) / "stages/one").iterdir()) == ["x", "y"]
    machine("third")
    found = {path.name: path.read_text() for path in (begun(url) / "stages/one").iterdir()}
    assert found == {"x": "new", "y": "1"}


def test_an_upload_that_fails_says_how_to_go_on(url, machine, monkeypatch):
    out = begun(url)
    mark_results(out, "run")
    real = remote._system

    class Full:
        def __getattr__(self, name):
            if name == "put_file":
                raise OSError(28, "No space left on device")
            return getattr(real(url), name)

    with monkeypatch.context() as patch:
        patch.setattr(remote, "_system", lambda url: Full())
        with pytest.raises(
            RemoteError, match="tried 5 times: OSError.*No space.*is kept here; run the same command again"
        ):
            write_json(out / "scores.json", [1])
    assert "scores.json" not in contents(url)
    begun(url)
    assert b"1" in contents(url)["scores.json"]
    assert not cached.due_below(url)


def test_what_others_delete_or_write_there_counts(url, machine):
    with results_at(url) as out:
        mark_results(out, "run")
        fill(out / "stages/one", x="1")
        fill(out / "stages/two", x="2")
    remote.remove(f"{url}/stages/one/x")
    remote.write(b"3", f"{url}/stages/two/x")
    out = begun(url)
    assert not (out / "stages/one/x").exists() and (out / "stages/two/x").read_text() == "3"


def test_folders_of_others_are_left_alone(url, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/notes.txt").write_text("theirs")
    upload(tmp_path / "theirs", url)
    with pytest.raises(ArtifactError, match="holds other files \\(notes.txt\\); choose another name"):
        begun(url)
    assert contents(url) == {"notes.txt": b"theirs"}


@pytest.mark.parametrize("url", ["https://example.org/out", "hf://datasets/a/b"])
def test_places_that_cannot_be_written_are_refused(url, machine):
    machine("first")
    with pytest.raises(ConfigError, match="results cannot be written to"):
        begun(url)


def test_local_places_are_what_they_are(tmp_path):
    assert begun(tmp_path / "new") == tmp_path / "new" and not (tmp_path / "new").exists()
    with results_at("some/folder") as out:
        assert out == Path("some/folder")


def test_a_store_is_written_and_gone_on_with_at_a_url(url, machine):
    rows = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    ids, hashes, made = [f"{row}" for row in range(10)], [f"h{row}" for row in range(10)], []

    def produce(numbers):
        made.extend(numbers.tolist())
        return rows[numbers]

    write_store(begun(url), ids[:6], hashes[:6], 3, {}, produce)
    assert sorted(contents(url)) == ["data.npy", "index.csv", "meta.json"]
    assert np.array_equal(EmbeddingStore.open(url).data, rows[:6])
    machine("second")
    write_store(begun(url), ids, hashes, 3, {}, produce)
    assert made == list(range(10))  # rows of the first machine were taken over
    machine("third")
    assert np.array_equal(EmbeddingStore.open(brought(url)).data, rows)
    assert path_of(url).is_dir()
