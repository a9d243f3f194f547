"""Several channels as one: what the mix loses is said, and another choice mends it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import soundfile

from embcomp.audio.clips import Clips
from embcomp.audio.decoding import decode
from embcomp.audio.features import audio_settings
from embcomp.audio.mono import about_losses, loss, to_mono
from embcomp.config import AudioConfig, parse_overrides
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError, ConfigError, EmbcompWarning

RATE = 16_000
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, (RATE, 2))
STEREO = {
    "alike": (np.stack([TONE, TONE], 1), ""),
    "apart": (NOISE, ""),
    "quieter": (np.stack([TONE, 0.1 * TONE], 1), ""),
    "against each other": (np.stack([TONE, -TONE], 1), "cancel"),
    "nearly against each other": (np.stack([TONE, -0.9 * TONE], 1), "cancel"),
    "left alone": (np.stack([TONE, 0 * TONE], 1), "silent"),
    "right alone": (np.stack([1e-4 * NOISE[:, 0], TONE], 1), "silent"),
    "silence": (0 * NOISE, ""),
}


@pytest.mark.parametrize("name", STEREO)
def test_what_a_mix_loses_is_found(name):
    channels, kind = STEREO[name]
    assert loss(channels.astype(np.float32)) == kind
    assert loss(channels[:, :1]) == loss(channels[:0]) == ""


@pytest.mark.parametrize(("choice", "expected"), [("left", 0), ("right", 1), ("loudest", 1)])
def test_a_channel_is_chosen(tmp_path, choice, expected):
    channels = np.stack([0.1 * TONE, -TONE], 1)
    soundfile.write(tmp_path / "a.wav", channels, RATE)
    np.testing.assert_allclose(decode(tmp_path / "a.wav", RATE, channel=choice), channels[:, expected], atol=1e-4)
    soundfile.write(tmp_path / "b.wav", TONE, RATE)
    np.testing.assert_allclose(decode(tmp_path / "b.wav", RATE, channel=choice), TONE, atol=1e-4)
    np.testing.assert_allclose(to_mono(channels, "mix"), channels.mean(1), atol=1e-7)


def test_one_of_many_channels_may_be_chosen_though_no_mean_is_taken(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([TONE * k for k in range(5)], 1) / 5, RATE)
    with pytest.raises(AudioError, match='or choose one channel, audio.channel = "loudest"'):
        decode(tmp_path / "a.wav", RATE)
    np.testing.assert_allclose(decode(tmp_path / "a.wav", RATE, channel="loudest"), TONE * 4 / 5, atol=1e-4)


def test_a_single_file_warns_and_the_mend_says_nothing(tmp_path):
    soundfile.write(tmp_path / "a.wav", STEREO["against each other"][0], RATE)
    with pytest.warns(EmbcompWarning, match=r"a.wav: the channels cancel each other .*audio.channel = \"left\""):
        decode(tmp_path / "a.wav", RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode(tmp_path / "a.wav", RATE, channel="left")


@pytest.fixture
def stereo(tmp_path):
    for number, (channels, _) in enumerate(STEREO.values()):
        soundfile.write(tmp_path / f"{number}.wav", channels, RATE)
    rows = "".join(f"{number}.wav,{'xy'[number % 2]},g{number}\n" for number in range(len(STEREO)))
    (tmp_path / "m.csv").write_text("path,label,group\n" + rows)
    return Manifest.read(tmp_path / "m.csv")


def test_clips_of_a_manifest_are_reported_by_row(stereo):
    expected = {"cancel": [5, 6], "silent": [7, 8]}
    assert Clips(stereo, RATE, 1.0).look().lost == expected
    with pytest.warns(EmbcompWarning) as caught:
        found = Clips(stereo, RATE, 1.0).check(skip_bad=False)
    assert [str(one.message) for one in caught] == list(found.notes)
    assert found.notes[0].startswith("m, row 5, 6: the channels cancel each other in the mono mix; audio.channel")
    for choice in ("left", "right", "loudest"):
        assert Clips(stereo, RATE, 1.0, choice).look().lost == {}


def test_the_mix_keeps_the_keys_of_before_and_a_choice_has_its_own():
    plain = audio_settings(AudioConfig())
    assert "channel" not in plain and "ffmpeg" not in plain
    assert audio_settings(AudioConfig(ffmpeg=True)) == plain
    assert audio_settings(AudioConfig(channel="left")) == plain | {"channel": "left"}
    assert parse_overrides(["audio.channel=loudest"]).audio.channel == "loudest"
    with pytest.raises(ConfigError, match="audio.channel"):
        parse_overrides(["audio.channel=middle"])


def test_notes_count_files():
    assert about_losses({"silent": 2}, "--channel left") == (
        "2 files: one channel is silent, so that the mono mix is half as loud as the other; --channel left takes one",
    )
    assert about_losses({}, "") == ()


def test_a_run_puts_it_on_the_page_and_the_choice_mends_it(tmp_path):
    from embcomp.config import parse
    from embcomp.pipeline import run

    rng, rows = np.random.default_rng(0), []
    for number in range(24):
        tone = 0.3 * np.sin(2 * np.pi * (300 + 600 * (number % 2)) * np.arange(4000) / RATE + rng.uniform(0, 6))
        soundfile.write(tmp_path / f"{number}.wav", np.stack([tone, -tone], 1), RATE)
        rows.append(f"{number}.wav,{'ab'[number % 2]},g{number}")
    (tmp_path / "m.csv").write_text("path,label,group\n" + "\n".join(rows))
    config = {
        "seeds": [0],
        "workers": 1,
        "data": {"root": str(tmp_path), "train": "m.csv"},
        "split": {"folds": 2, "validation": 0.5},
        "training": {"steps": 2, "batch_size": 8, "evaluate_every": 2, "freq_mask": 2},
        "evaluation": {"bootstrap": 20},
        "variants": [{"name": "none", "transfer": {"method": "none"}}],
    }
    audio = {"seconds": 0.25, "n_mels": 24}
    for _ in range(2):  # the second time nothing is decoded
        with pytest.warns(EmbcompWarning, match="the channels cancel each other"):
            result = run(parse({**config, "audio": audio}), tmp_path / "mix")
        assert "row 2, 3, 4, 5, 6 and 19 more: the channels cancel" in (result.folder / "report.md").read_text()
    left = run(parse({**config, "audio": {**audio, "channel": "left"}}), tmp_path / "left")
    assert "cancel" not in (left.folder / "report.md").read_text()

    def probe(found):
        table = found.scores
        chosen = table[(table["variant"] == "k-NN: log-mel") & (table["metric"] == "balanced_accuracy")]
        return chosen["value"].iloc[0]

    assert probe(left) > 0.8 > probe(result)
