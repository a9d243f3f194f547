"""Checkpoints of transformers: against transformers used directly, on models of two small layers made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.checkpoints import checkpoint
from helpers.settings import teacher_settings

from embcomp.errors import ConfigError, TeacherError
from embcomp.teachers import open_teacher

hf = pytest.importorskip("transformers")

KINDS = ("wav2vec2", "hubert", "wavlm", "data2vec", "whisper", "ast", "clap")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folder of a checkpoint of each kind, made once."""
    made = {}

    def folder(kind, **options):
        key = (kind, *options.items())
        if key not in made:
            made[key] = checkpoint(tmp_path_factory.mktemp(kind), kind, **options)
        return made[key]

    return folder


def opened(folder, **options):
    return open_teacher(teacher_settings(spec=f"hf:{folder}", **options))


def sounds(*lengths):
    rng = np.random.default_rng(0)
    waves = np.zeros((len(lengths), max(lengths)), np.float32)
    for row, length in enumerate(lengths):
        waves[row, :length] = rng.normal(0, 0.1, length)
    return waves, np.array(lengths)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_does_not_depend_on_its_batch(saved, kind, mask):
    if not mask and kind not in ("wav2vec2", "hubert", "wavlm"):
        pytest.skip("one form only")
    teacher = opened(saved(kind, mask=mask), batch=4)
    waves, lengths = sounds(9000, 5000, 9000, 700, 3000)
    together = teacher.embed(waves, lengths)
    assert together.shape == (5, teacher.dim) and np.isfinite(together).all()
    for row, length in enumerate(lengths):
        alone = teacher.embed(waves[row : row + 1, :length], lengths[row : row + 1])[0]
        np.testing.assert_allclose(together[row], alone, atol=2e-5)


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert", "wavlm", "data2vec"])
def test_waveform_models_are_as_transformers_gives_them(saved, kind):
    folder = saved(kind)
    wave = sounds(6000)[0][0]
    extractor = hf.Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = hf.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(
            extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values, output_hidden_states=True
        )
    states = torch.stack(output.hidden_states)[:, 0]

    def embedded(**options):
        return opened(folder, **options).embed(wave[None], np.array([6000]))[0]

    np.testing.assert_allclose(embedded(), output.last_hidden_state[0].mean(0), atol=2e-5)
    np.testing.assert_allclose(embedded(layer=1), states[1].mean(0), atol=2e-5)
    np.testing.assert_allclose(embedded(layer=-3), states[0].mean(0), atol=2e-5)
    mean = (states[0] + 3 * output.last_hidden_state[0]) / 4
    np.testing.assert_allclose(embedded(layer_weights=[1, 0, 3]), mean.mean(0), atol=2e-5)
    both = np.concatenate([output.last_hidden_state[0].mean(0), output.last_hidden_state[0].std(0, correction=0)])
    np.testing.assert_allclose(embedded(pooling=["statistics"]), both, atol=2e-5)


def test_whisper_is_its_encoder_over_the_sound_alone(saved):
    folder = saved("whisper")
    wave = sounds(8000)[0][0]
    extractor = hf.WhisperFeatureExtractor.from_pretrained(folder)
    model = hf.WhisperModel.from_pretrained(folder).eval().get_encoder()
    with torch.no_grad():
        found = model(extractor(wave, sampling_rate=16_000, return_tensors="pt").input_features).last_hidden_state[0]
    teacher = opened(folder)
    assert teacher.longest == 16_000  # this one was made for 1 s
    np.testing.assert_allclose(teacher.embed(wave[None], np.array([8000]))[0], found[:25].mean(0), atol=2e-5)


def test_ast_gives_its_class_tokens_or_patches_over_time(saved):
    folder = saved("ast")
    wave = sounds(10_240)[0][0]
    extractor = hf.ASTFeatureExtractor.from_pretrained(folder)
    model = hf.ASTModel.from_pretrained(folder).eval()
    with torch.no_grad():
        output = model(extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values)
    lengths = np.array([10_240])
    np.testing.assert_allclose(opened(folder).embed(wave[None], lengths)[0], output.pooler_output[0], atol=2e-5)
    patches = output.last_hidden_state[0, 2:].reshape(2, 5, 16).mean(0)  # 2 bands, 5 times
    found = opened(folder, pooling=["mean"]).embed(wave[None], lengths)[0]
    np.testing.assert_allclose(found, patches.mean(0), atol=2e-5)
    assert opened(folder, frames=2).embed(wave[None], lengths).shape == (1, 32)


def test_clap_is_its_audio_side(saved):
    folder = saved("clap")
    wave = sounds(9000)[0][0]
    extractor = hf.ClapFeatureExtractor.from_pretrained(folder)
    model = hf.ClapModel.from_pretrained(folder).eval()
    with torch.no_grad():
        features = extractor(wave, sampling_rate=16_000, return_tensors="pt").input_features
        given = model.audio_model(features, is_longer=torch.tensor([[False]]))
        expected = model.audio_projection(given.pooler_output)[0]
    np.testing.assert_allclose(opened(folder).embed(wave[None], np.array([9000]))[0], expected, atol=2e-5)


@pytest.mark.parametrize("kind", ["whisper", "ast", "clap"])
def test_a_clip_longer_than_the_model_takes_is_cut_into_windows(saved, kind):
    teacher = opened(saved(kind))
    limit = teacher.longest
    waves, lengths = sounds(2 * limit)
    halves = teacher.embed(waves.reshape(2, limit), np.array([limit, limit]))
    np.testing.assert_allclose(teacher.embed(waves, lengths)[0], halves.mean(0), atol=2e-5)


@pytest.mark.parametrize("kind", ["wav2vec2", "ast"])
def test_a_clip_shorter_than_a_frame_is_padded(saved, kind):
    found = opened(saved(kind)).embed(np.zeros((2, 3), np.float32), np.array([1, 3]))
    assert np.isfinite(found).all()


def test_mert_is_hubert_at_its_own_rate(saved, tmp_path):
    folder = checkpoint(tmp_path / "mert", "hubert", rate=24_000)
    plain = opened(folder)
    about = json.loads((folder / "config.json").read_text())
    own = {"model_type": "mert_model", "architectures": ["MERTModel"], "feature_extractor_cqt": False}
    own["auto_map"] = {"AutoModel": "modeling_MERT.MERTModel"}
    (folder / "config.json").write_text(json.dumps(about | own))
    teacher = opened(folder)
    waves, lengths = sounds(5000, 4000)
    assert teacher.sample_rate == 24_000
    np.testing.assert_allclose(teacher.embed(waves, lengths), plain.embed(waves, lengths), atol=1e-6)
    (folder / "config.json").write_text(json.dumps(about | own | {"feature_extractor_cqt": True}))
    with pytest.raises(TeacherError, match="constant-Q features"):
        opened(folder)


def test_the_fingerprint_follows_weights_layers_and_the_feature_extractor(saved, tmp_path):
    folder = saved("wav2vec2")
    first = opened(folder).fingerprint()
    assert opened(folder, batch=3, layer=2).fingerprint() == first  # the last hidden state by its number
    keys = {first, opened(folder, layer=1).fingerprint(), opened(folder, layer_weights=[1, 1, 1]).fingerprint()}
    keys.add(opened(checkpoint(tmp_path / "other", "wav2vec2", seed=1)).fingerprint())
    same = checkpoint(tmp_path / "same", "wav2vec2")
    assert opened(same).fingerprint() == first
    about = json.loads((same / "preprocessor_config.json").read_text())
    (same / "preprocessor_config.json").write_text(json.dumps(about | {"do_normalize": not about["do_normalize"]}))
    keys.add(opened(same).fingerprint())
    assert len(keys) == 5


@pytest.mark.parametrize(
    "kind, options, message",
    [
        ("wav2vec2", {"layer": 3}, "teacher.layer is 3; .* has hidden states 0 to 2"),
        ("wav2vec2", {"layer": -4}, "teacher.layer is -4"),
        ("wav2vec2", {"layer_weights": [1.0, 2.0]}, "layer_weights are 2; .* has 3 hidden states"),
        ("wav2vec2", {"layer_weights": [0.0, 0.0, 0.0]}, "layer_weights are all 0"),
        ("wav2vec2", {"layer_weights": [1.0, -1.0, 1.0]}, "layer_weights must not be negative"),
        ("wav2vec2", {"layer_weights": [1.0, 0.0, 0.0], "layer": 1}, "layer and teacher.layer_weights are both set"),
        ("whisper", {"window": 2.0}, "teacher.window is 2 s; .* takes 1 s at most"),
        ("clap", {"layer": 1}, "gives one vector and has no layers"),
    ],
)
def test_layers_and_windows_that_a_model_does_not_have(saved, kind, options, message):
    with pytest.raises(ConfigError, match=message):
        opened(saved(kind), **options)


def test_checkpoints_that_cannot_be_used(saved, tmp_path, monkeypatch):
    from safetensors.torch import load_file, save_file

    def copy(name):
        folder = checkpoint(tmp_path / name, "wav2vec2")
        return folder, json.loads((folder / "config.json").read_text())

    lacking, _ = copy("lacking")
    weights = load_file(lacking / "model.safetensors")
    del weights["encoder.layer_norm.weight"]
    save_file(weights, lacking / "model.safetensors", {"format": "pt"})
    other, about = copy("other")
    (other / "config.json").write_text(json.dumps(about | {"model_type": "bert"}))
    damaged, _ = copy("damaged")
    (damaged / "model.safetensors").write_bytes(b"nothing")
    bare, _ = copy("bare")
    (bare / "preprocessor_config.json").unlink()
    for folder, message in (
        (lacking, "lacks 1 weights of Wav2Vec2Model, encoder.layer_norm.weight first: they would be random"),
        (other, "is a model of type 'bert', which is not known here"),
        (damaged, "does not open .*; a folder needs config.json"),
        (bare, "does not open .*; a folder needs config.json"),
        (tmp_path / "none", "no folder at .*: check the path; an id of the hub is OWNER/NAME"),
    ):
        with pytest.raises(TeacherError, match=message) as caught:
            opened(folder)
        assert "\n" not in str(caught.value)
    with pytest.raises(TeacherError, match=r"teacher.device = 'cuda:77' cannot be used \(.*\); cpu always can"):
        opened(saved("wav2vec2"), device="cuda:77")
    with pytest.raises(ConfigError, match="needs a checkpoint: hf:ID"):
        teacher_settings(spec="hf")


def in_a_process(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def test_offline_the_cache_of_the_hub_is_enough_and_the_revision_counts(saved, tmp_path):
    folder = saved("wav2vec2")
    place = tmp_path / "hub/models--someone--small"
    for commit in ("a" * 40, "b" * 40):
        (place / "snapshots" / commit).mkdir(parents=True)
        for file in folder.iterdir():
            (place / "snapshots" / commit / file.name).symlink_to(file)
    (place / "refs").mkdir()
    (place / "refs/main").write_text("a" * 40)
    code = f"""
from embcomp.config import read_choice
from embcomp.errors import TeacherError
from embcomp.teachers import open_teacher
for name in ("someone/small", "someone/small@{"b" * 40}", "someone/other"):
    try:
        print(open_teacher(read_choice("teacher", {{"spec": "hf:" + name}})).fingerprint())
    except TeacherError as error:
        print(error)
"""
    done = in_a_process(code, HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path / "hub"), HF_HOME=str(tmp_path))
    first, second, other = done.stdout.splitlines()
    keys = {first, second, opened(folder).fingerprint()}
    assert len(keys) == 3 and all(len(key) == 16 for key in keys), done.stderr
    assert "hf:someone/other does not open" in other and "HF_HUB_OFFLINE=1" in other


def test_a_torchaudio_that_does_not_load_harms_nothing(saved, tmp_path):
    from helpers.torchaudios import broken_torchaudio

    broken_torchaudio(tmp_path / "site")
    code = f"""
from embcomp.config import read_choice
from embcomp.teachers import open_teacher
for folder in ({str(saved("ast"))!r}, {str(saved("wav2vec2"))!r}):
    print(open_teacher(read_choice("teacher", {{"spec": "hf:" + folder}})).dim)
"""
    done = in_a_process(code, PYTHONPATH=os.pathsep.join([str(tmp_path / "site"), str(ROOT)]))
    assert done.stdout.split() == ["16", "16"], done.stderr
