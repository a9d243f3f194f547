"""The log-mel front end against librosa, an implementation that shares no code with it."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from embcomp.audio.decoding import decode
from embcomp.audio.features import front_end
from embcomp.audio.logmel import LogMel, hz_to_mel, mel_filterbank, mel_to_hz
from embcomp.config import AudioConfig
from embcomp.errors import ConfigError
from embcomp.teachers.librosa import import_librosa

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large:UserWarning")

SETTINGS = {
    "module defaults": {},
    "config defaults": {"win_length": 512, "hop_length": 320},
    "44.1 kHz, band limited": {"sample_rate": 44_100, "n_fft": 2048, "win_length": 1024, "hop_length": 441, "n_mels": 96, "fmin": 50.0, "fmax": 14_000.0},
    "8 kHz, odd sizes": {"sample_rate": 8000, "n_fft": 500, "win_length": 333, "hop_length": 77, "n_mels": 20, "fmin": 20.0},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def imported_alone():
    """What librosa compiles while it is imported is compiled by one process of the tests at a time."""
    import_librosa()


def by_librosa(waveform, module, sample_rate, fmin=0.0, fmax=None, **sizes):
    mel = librosa.feature.melspectrogram(
        y=waveform.astype(np.float64), sr=sample_rate, n_fft=module.n_fft, hop_length=module.hop_length,
        win_length=sizes.get("win_length", 400), n_mels=module.n_mels, fmin=fmin, fmax=fmax, power=2.0,
        center=True, pad_mode="constant", htk=False, norm="slaney",
    )  # fmt: skip
    return np.log(mel + 1e-5)


def compare(waveform, settings):
    module = LogMel(**settings)
    rate = settings.get("sample_rate", 16_000)
    rest = {key: value for key, value in settings.items() if key in ("fmin", "fmax", "win_length")}
    found = module(torch.from_numpy(waveform)).numpy()
    np.testing.assert_allclose(found, by_librosa(waveform, module, rate, **rest), atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", ["fsdd", "esc10", "drums_acoustic", "donateacry"])
def test_real_clips_agree_with_librosa(shared, name, settings):
    paths = sorted((shared / "data" / name / "audio").iterdir())
    for path in paths[:: len(paths) // 4]:
        compare(decode(path, settings.get("sample_rate", 16_000), seconds=2.0), settings)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("kind", ["noise", "quiet noise", "tone", "click", "silence", "one sample", "full scale"])
def test_made_sounds_agree_with_librosa(rng, kind, settings):
    waveform = {
        "noise": rng.uniform(-0.5, 0.5, 9000),
        "quiet noise": rng.normal(0, 1e-4, 9000),
        "tone": 0.5 * np.sin(0.3 * np.arange(9000)),
        "click": np.eye(1, 9000, 4321)[0],
        "silence": np.zeros(9000),
        "one sample": np.ones(1),
        "full scale": np.sign(np.sin(0.05 * np.arange(9000))),
    }[kind]
    compare(waveform.astype(np.float32), settings)


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels", "fmin", "fmax"),
    [(16_000, 512, 64, 0.0, 8000.0), (44_100, 2048, 128, 50.0, 14_000.0), (8000, 500, 20, 20.0, 4000.0), (16_000, 512, 1, 0, 8000)],
)  # fmt: skip
def test_the_filters_are_librosas(rate, n_fft, n_mels, fmin, fmax):
    expected = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=False, norm="slaney", dtype=np.float64
    )
    np.testing.assert_allclose(mel_filterbank(rate, n_fft, n_mels, fmin, fmax), expected, atol=1e-12, rtol=0)


def test_the_mel_scale_is_librosas_and_its_inverse_undoes_it():
    hz = np.concatenate([np.linspace(0, 24_000, 500), [999.999, 1000.0, 1000.001]])
    np.testing.assert_allclose(hz_to_mel(hz), librosa.hz_to_mel(hz, htk=False), atol=1e-9)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, atol=1e-8)


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 400, 16_000])
def test_the_number_of_frames_is_as_announced(samples):
    module = LogMel()
    assert module(torch.zeros(samples)).shape == (64, 1 + samples // 160)
    assert module.frames(samples) == 1 + samples // 160
    assert module.frames(torch.tensor([samples])).tolist() == module.frames(np.array([samples])).tolist()


def test_leading_axes_are_a_batch(rng):
    waveforms = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 4000)).astype(np.float32))
    found = LogMel()(waveforms)
    assert found.shape == (2, 3, 64, 26)
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(found[row, column], LogMel()(waveforms[row, column]), atol=1e-5, rtol=0)


def test_zeros_behind_a_clip_do_not_change_its_frames(rng):
    module, waveform = LogMel(), torch.from_numpy(rng.uniform(-1, 1, 5000).astype(np.float32))
    padded = module(torch.nn.functional.pad(waveform, (0, 3000)))
    frames = module.frames(5000)
    torch.testing.assert_close(padded[:, :frames], module(waveform), atol=1e-5, rtol=0)


def test_silence_is_the_logarithm_of_the_floor():
    torch.testing.assert_close(LogMel(floor=1e-3)(torch.zeros(1000)), torch.full((64, 7), float(np.log(1e-3))))


def test_a_tone_is_loudest_in_its_band():
    for frequency in (300, 1000, 4000):
        waveform = torch.sin(2 * torch.pi * frequency * torch.arange(16_000) / 16_000)
        centres = mel_to_hz(np.linspace(0, hz_to_mel(8000), 66))[1:-1]
        loudest = LogMel()(waveform)[:, 50].argmax().item()
        assert abs(loudest - np.abs(centres - frequency).argmin()) <= 1


def test_the_front_end_of_a_config_is_the_module_it_describes(rng):
    waveform = torch.from_numpy(rng.uniform(-1, 1, 4000).astype(np.float32))
    torch.testing.assert_close(front_end(AudioConfig())(waveform), LogMel(win_length=512, hop_length=320)(waveform))
    audio = AudioConfig(sample_rate=8000, n_fft=256, win_length=200, hop_length=100, n_mels=20, fmin=50.0, fmax=3000.0)
    expected = LogMel(8000, 256, 200, 100, 20, 50.0, 3000.0)(waveform)
    torch.testing.assert_close(front_end(audio)(waveform), expected)


def test_the_module_has_nothing_to_learn_or_save_and_passes_gradients():
    module = LogMel()
    assert not list(module.parameters()) and not module.state_dict()
    waveform = torch.full((2000,), 0.1, requires_grad=True)
    module(waveform).sum().backward()
    assert torch.isfinite(waveform.grad).all() and waveform.grad.any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fmin": 4000.0, "fmax": 4000.0}, "0 <= fmin < fmax <= 8000 Hz, not 4000 and 4000"),
        ({"fmin": -1.0}, "0 <= fmin < fmax"),
        ({"fmax": 8001.0}, "0 <= fmin < fmax <= 8000 Hz, not 0 and 8001"),
        ({"win_length": 513}, r"window \(513 samples\) must fit into n_fft \(512\)"),
        ({"win_length": 0}, "must fit into"),
        ({"n_mels": 200}, r"\d+ of 200 mel bands hold no frequency bin; use fewer bands or a longer n_fft than 512"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        LogMel(**settings)
