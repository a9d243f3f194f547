"""Runs, stores and predictions from remote files are those of the same files here."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.killing import contents as contents_here
from helpers.remotes import contents, forget_looks, fresh_cache, upload
from helpers.runs import tiny
from helpers.tones import write_tones

import embcomp
from embcomp.cli import group
from embcomp.config import parse
from embcomp.data.labels import read_label_map
from embcomp.data.sounds import look_at
from embcomp.errors import AudioError, ManifestError
from embcomp.storage.files import read_json

RESULTS = ["scores.csv", "comparisons.csv", "per_class.csv", "history.csv", "predictions.json"]
VARIANTS = [{"name": "no teacher", "transfer": {"method": "none"}}, {"name": "compressed"}]
STUDENT = [
    f"--set={one}" for one in ("training.steps=4", "training.evaluate_every=2", "student.width=8", "audio.seconds=0.3")
]
SHORT = {"steps": 6, "evaluate_every": 3, "checkpoint_every": 3}


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def sets(tmp_path_factory, patched) -> tuple[Path, str]:
    """The sets home and abroad, here and at a URL."""
    folder = tmp_path_factory.mktemp("sets")
    fresh_cache(folder / "cache", patched)
    for number, name in enumerate(("home", "abroad")):
        write_tones(folder / "data" / name, groups=4, clips=2, name=name, seed=number)
    return folder / "data", upload(folder / "data", f"memory://{uuid.uuid4().hex}/data")


def settings(root, **sections):
    return parse(
        tiny(root, seeds=[0], variants=VARIANTS, training=SHORT, split={"by": "column", "test": ["test"]}, **sections)
    )


@pytest.fixture(scope="module")
def local(sets, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "local"
    embcomp.run(settings(sets[0]), folder)
    return folder


def test_a_run_of_remote_data_has_the_results_of_one_of_local_data(sets, local, tmp_path):
    embcomp.run(settings(sets[1]), tmp_path / "run")
    for name in RESULTS:
        assert (tmp_path / "run" / name).read_bytes() == (local / name).read_bytes(), name
    stages = [
        sorted(path.relative_to(run) for path in (run / "stages").rglob("*")) for run in (tmp_path / "run", local)
    ]
    assert stages[0] == stages[1]  # whose names are fingerprints of contents and settings
    assert f'root = "{sets[1]}"' in (tmp_path / "run/config.toml").read_text()
    datasets = [read_json(path)["manifest"] for path in (tmp_path / "run/stages/datasets").iterdir()]
    assert sorted(datasets) == [f"{sets[1]}/{name}/manifest.csv" for name in ("abroad", "home")]


def test_a_run_at_a_url_has_the_bytes_of_one_here_and_goes_on_elsewhere(sets, local, tmp_path, monkeypatch):
    out = f"memory://{uuid.uuid4().hex}/run"
    ended = []

    def stop(stage, done, total):
        if stage == "students" and done == 1:
            ended.append(stage)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embcomp.run(settings(sets[1]), out, stop)
    first = contents(out)
    fresh_cache(tmp_path / "second", monkeypatch)
    found = embcomp.run(settings(sets[1]), out)
    assert ended and found.reused >= 4 and found.made >= 1
    there = contents(out)
    assert not [name for name in there if "/." in f"/{name}"]
    stages = [name for name in first if name.startswith("stages/") and not name.startswith("stages/checkpoints")]
    assert stages and all(there[name] == first[name] for name in stages)
    mine = contents_here(local)
    assert sorted(there) == sorted(mine)
    assert not [name for name, content in there.items() if str(tmp_path).encode() in content]
    for name in RESULTS:
        assert there[name] == mine[name], name
    assert embcomp.run(settings(sets[1]), out).made == 0
    with pytest.raises(embcomp.EmbcompError, match="holds a run, which a store must not replace"):
        embcomp.embed(embcomp.Manifest.read(sets[0] / "home/manifest.csv"), out)


def test_urls_in_a_manifest_need_to_be_allowed_unless_they_lie_beside_it(sets, tmp_path):
    table = pd.read_csv(sets[0] / "home/manifest.csv")
    table["path"] = f"{sets[1]}/home/" + table["path"]
    table.to_csv(tmp_path / "manifest.csv", index=False)
    read = embcomp.Manifest.read
    clips = embcomp.Clips(read(tmp_path / "manifest.csv", allow_outside=True), 16_000, 0.4)
    here = embcomp.Clips(read(sets[0] / "home/manifest.csv"), 16_000, 0.4)
    assert clips.hashes() == here.hashes() and "unreadable" not in clips.hashes()
    assert all(map(np.array_equal, clips.batch(np.arange(16)), here.batch(np.arange(16))))
    with pytest.raises(AudioError, match="outside the manifest's folder.*--allow-outside"):
        embcomp.Clips(read(tmp_path / "manifest.csv"), 16_000, 0.4).check(skip_bad=False)
    far = tmp_path / "far"
    far.mkdir()
    table.to_csv(far / "manifest.csv", index=False)
    beside = upload(far, sets[1])
    assert embcomp.Clips(read(f"{beside}/manifest.csv"), 16_000, 0.4).bad_clips() == []


def test_paths_of_a_remote_manifest_lead_nowhere_else(sets, tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes((sets[0] / "home/audio/home_low_0_0.wav").read_bytes())
    paths = ["../abroad/audio/abroad_low_0_0.wav", str(secret), "../" * 40 + str(secret)[1:]]
    (tmp_path / "m").mkdir()
    pd.DataFrame({"path": paths, "label": "a"}).to_csv(tmp_path / "m/odd.csv", index=False)
    url = upload(tmp_path / "m", f"{sets[1]}/home")
    bad = embcomp.Clips(embcomp.Manifest.read(f"{url}/odd.csv"), 16_000, 0.4).bad_clips()
    assert len(bad) == 3 and all("outside the manifest's folder" in clip.reason for clip in bad)


def test_urls_with_a_password_are_refused_without_it(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\ns3://me:hunter22@bucket/a.wav,a\n")
    with pytest.raises(ManifestError, match="m.csv, row 2: .* holds a user or a password") as caught:
        embcomp.Manifest.read(tmp_path / "m.csv")
    assert "hunter22" not in str(caught.value)


def test_missing_remote_audio_is_a_bad_clip_and_an_outage_is_not(sets, tmp_path, monkeypatch):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/gap.csv").write_text("path,label\naudio/home_low_0_0.wav,a\naudio/none.wav,b\n")
    url = upload(tmp_path / "m", f"{sets[1]}/home")
    clips = embcomp.Clips(embcomp.Manifest.read(f"{url}/gap.csv"), 16_000, 0.4)
    assert [str(clip) for clip in clips.bad_clips()] == ["row 3: audio/none.wav: no such file"]
    forget_looks()
    monkeypatch.setattr("embcomp.storage.remote.PAUSE", 0)

    def down(url):
        raise TimeoutError("no answer")

    monkeypatch.setattr("embcomp.storage.remote._system", down)
    for work in (lambda: clips.check(skip_bad=True), clips.hashes, lambda: look_at([clips.path(0)])):
        with pytest.raises(embcomp.EmbcompError, match="cannot look at memory://.*no answer"):
            work()


def test_commands_take_urls(sets, local, tmp_path, capsys):
    """What is read may be remote: settings, manifests, stores, models, audio, runs."""
    students = sorted((local / "stages/students").iterdir())
    url = upload(students[0] / "student" if (students[0] / "student").is_dir() else students[0], f"{sets[1]}/student")
    home = f"{sets[1]}/home"

    def call(*arguments):
        group([str(one) for one in arguments], standalone_mode=False)
        return capsys.readouterr().out

    said = call("predict", url, f"{home}/audio", "--format", "csv")
    near = call("predict", url, sets[0] / "home/audio", "--format", "csv")
    assert said == near.replace(str(sets[0]), sets[1]) and len(said.splitlines()) == 17
    call("evaluate", url, f"{home}/manifest.csv", "--allow-seen", "--out", tmp_path / "scores.csv")
    small = [f"--set=teacher.{key}" for key in ("centroids=8", "whitened=16", "patches=1000")]
    call("embed", f"{home}/manifest.csv", "--teacher", "kmeans", *small, "--out", tmp_path / "store")
    store = upload(tmp_path / "store", f"{sets[1]}/store")
    call("compress", store, "--objective", "reconstruction", "--dim", 4, "--out", tmp_path / "compressor")
    call("apply", tmp_path / "compressor", store, "--out", tmp_path / "targets")
    far = f"memory://{uuid.uuid4().hex}"
    assert f"{far}/store\n" in call(
        "embed", f"{home}/manifest.csv", "--teacher", "kmeans", *small, "--out", f"{far}/store"
    )
    call("compress", f"{far}/store", "--objective", "reconstruction", "--dim", 4, "--out", f"{far}/compressor")
    call("apply", f"{far}/compressor", f"{far}/store", "--out", f"{far}/targets")
    call("distill", f"{home}/manifest.csv", "--targets", f"{far}/targets", *STUDENT, "--out", f"{far}/student")
    call("evaluate", f"{far}/student", f"{sets[1]}/abroad/manifest.csv", "--out", f"{far}/scores.csv")
    call("report", upload(local, f"{sets[1]}/run"), "--no-latency", "--out", f"{far}/report.html")
    call("predict", f"{far}/student", f"{home}/audio", "--out", f"{far}/labels.csv")
    made = contents(far)
    assert {name.partition("/")[0] for name in made} == {
        *("store", "store.teacher", "compressor", "targets", "student"),
        *("scores.csv", "report.html", "report.md", "labels.csv"),
    }
    assert not [name for name, content in made.items() if b"/cache/files/memory" in content]
    for name in ("store/data.npy", "compressor/weights.safetensors", "targets/data.npy"):
        assert made[name] == (tmp_path / name).read_bytes()
    spec = f"store:{store}"
    call("embed", f"{home}/manifest.csv", "--teacher", spec, "--out", tmp_path / "copy")
    assert np.array_equal(embcomp.EmbeddingStore.open(tmp_path / "copy").data, embcomp.EmbeddingStore.open(store).data)
    call("validate", f"{home}/manifest.csv")
    run = f"{sets[1]}/run"
    assert str(tmp_path) not in call("predict", run, f"{home}/audio/home_low_0_0.wav")


def test_label_maps_may_be_remote(sets, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/map.csv").write_text("from,to\nlow,deep\n")
    assert read_label_map(embcomp.storage.places.path_of(upload(tmp_path / "m", f"{sets[1]}/maps") + "/map.csv")) == {
        "low": "deep"
    }
