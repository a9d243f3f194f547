"""Decoding: the samples that were written come back, and every bad file says what is wrong with it."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import soundfile

from embcomp.audio.decoding import decode, fit_length, resample
from embcomp.errors import AudioError

RATE = 16_000
LOSSLESS = {"wav": 1e-4, "flac": 1e-4, "aiff": 1e-4}
needs = {
    name: pytest.mark.skipif(name not in soundfile.available_formats(), reason=f"libsndfile without {name}")
    for name in ("MP3", "OGG")
}
FORMATS = ["wav", "flac", pytest.param("ogg", marks=needs["OGG"]), pytest.param("mp3", marks=needs["MP3"])]


def tone(frequency=440.0, seconds=1.0, rate=RATE, level=0.5):
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def noise(samples=RATE, seed=0):
    return 0.2 * np.random.default_rng(seed).uniform(-1, 1, samples)


def peak(waveform, rate=RATE):
    """Frequency and amplitude of the strongest partial, away from the ends."""
    middle = waveform[len(waveform) // 8 : -len(waveform) // 8]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 16 * len(middle)))
    return np.argmax(spectrum) * rate / (16 * len(middle)), 4 * spectrum.max() / len(middle)


@pytest.fixture
def write(tmp_path):
    def write(waveform, name="a.wav", rate=RATE, **options):
        soundfile.write(tmp_path / name, waveform, rate, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize("ending", LOSSLESS)
def test_a_lossless_file_comes_back_sample_by_sample(write, ending):
    found = decode(write(noise(), f"a.{ending}"), RATE)
    assert found.dtype == np.float32 and found.shape == (RATE,)
    np.testing.assert_allclose(found, noise(), atol=LOSSLESS[ending])


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_every_format_keeps_length_pitch_and_level(write, ending, rate):
    found = decode(write(tone(440, 1.0, rate), f"a.{ending}", rate), RATE)
    assert len(found) == pytest.approx(RATE, abs=2)
    assert peak(found) == pytest.approx((440, 0.5), rel=0.02)


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [("PCM_U8", 0.01), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-6), ("FLOAT", 1e-7), ("DOUBLE", 1e-7),
     ("ULAW", 0.02), ("ALAW", 0.02), ("IMA_ADPCM", 0.05), ("MS_ADPCM", 0.05), ("GSM610", 0.05)],
)  # fmt: skip
def test_every_kind_of_sample_comes_back_to_its_precision(write, subtype, tolerance):
    found = decode(write(tone(), subtype=subtype), RATE)
    assert len(found) == pytest.approx(RATE, abs=300)  # ADPCM fills its last block
    # The predictive kinds need some samples to find their step.
    assert np.abs(found[500:RATE] - tone()[500:]).max() < tolerance


def test_stereo_is_averaged(write):
    left, right = noise(seed=1), noise(seed=2)
    found = decode(write(np.stack([left, right], axis=1)), RATE)
    np.testing.assert_allclose(found, (left + right) / 2, atol=1e-4)


def test_opposite_channels_cancel(write):
    assert np.abs(decode(write(np.stack([noise(), -noise()], axis=1)), RATE)).max() < 1e-4


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 48_000, 96_000, 192_000])
@pytest.mark.parametrize("frequency", [110.0, 1000.0, 3000.0])
def test_resampling_keeps_pitch_level_and_length(write, rate, frequency):
    found = decode(write(tone(frequency, 0.5, rate), rate=rate), RATE)
    assert len(found) == pytest.approx(RATE // 2, abs=1)
    assert peak(found) == pytest.approx((frequency, 0.5), rel=0.01)


def test_resampling_leaves_out_what_the_lower_rate_cannot_hold(write):
    found = decode(write(tone(7000, 0.5, 48_000), rate=48_000), 8_000)
    assert np.abs(found[100:-100]).max() < 1e-3


def test_resampling_keeps_at_least_one_sample():
    assert len(resample(np.ones(1, np.float32), 48_000, 8_000)) == 1


@pytest.mark.parametrize(("rate", "sample_rate"), [(RATE, RATE), (RATE, 44_100), (44_100, 8_000)])
def test_one_sample_is_audio(write, rate, sample_rate):
    assert 1 <= len(decode(write(np.array([0.5]), rate=rate), sample_rate)) <= 3


def test_silence_is_audio(write):
    found = decode(write(np.zeros(RATE)), RATE)
    assert found.shape == (RATE,) and not found.any()


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(("start", "end"), [(0.25, 0.5), (0.5, None), (None, 0.25), (0.0, 1.0), (0.1234, 0.5678)])
def test_a_part_is_that_part_of_the_whole(write, ending, start, end):
    path = write(noise(), f"a.{ending}")
    whole, part = decode(path, RATE), decode(path, RATE, start=start, end=end)
    first, last = round((start or 0) * RATE), round((1.0 if end is None else end) * RATE)
    # Compressed formats start a part in the middle of what they keep from the frames before.
    tolerance = {"wav": 0, "flac": 0, "ogg": 1e-3, "mp3": 0.05}[ending]
    np.testing.assert_allclose(part, whole[first:last], atol=tolerance, rtol=0)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 5.0])
def test_at_most_so_many_seconds_are_kept(write, seconds):
    found = decode(write(noise()), RATE, seconds=seconds)
    np.testing.assert_allclose(found, noise()[: round(seconds * RATE)], atol=1e-4)


def test_seconds_count_from_the_start_and_the_end_still_holds(write):
    path = write(noise())
    assert len(decode(path, RATE, start=0.5, seconds=0.2)) == 3200
    assert len(decode(path, RATE, start=0.5, end=0.6, seconds=0.2)) == 1600


def test_an_end_rounded_up_to_the_next_millisecond_is_accepted(write):
    assert len(decode(write(noise(15_999)), RATE, end=1.0)) == 15_999


def test_more_channels_can_be_allowed(write):
    path = write(np.stack([noise(seed=seed) for seed in range(8)], axis=1))
    np.testing.assert_allclose(
        decode(path, RATE, max_channels=8), np.mean([noise(seed=s) for s in range(8)], 0), atol=1e-4
    )


INTERVALS = [
    ({"start": 1.0}, r"start is at 1\.0 s, the file ends at 1\.00 s"),
    ({"start": 7}, r"start is at 7 s, the file ends at 1\.00 s"),
    ({"end": 1.5}, r"end is at 1\.5 s, the file ends at 1\.00 s"),
    ({"start": 0.5, "end": 0.5}, "has no samples"),
    ({"start": 0.5, "end": 0.25}, "has no samples"),
    ({"seconds": 0.0}, "has no samples"),
]


@pytest.mark.parametrize(("interval", "message"), INTERVALS, ids=str)
def test_an_interval_outside_the_file_is_refused(write, interval, message):
    with pytest.raises(AudioError, match=message):
        decode(write(noise()), RATE, **interval)


def test_a_very_long_file_is_refused_unless_cut(write, monkeypatch):
    monkeypatch.setattr("embcomp.audio.decoding.MAX_SECONDS", 0.5)
    path = write(noise())
    with pytest.raises(AudioError, match="1 s long; give a start and end, or a maximum length"):
        decode(path, RATE)
    assert len(decode(path, RATE, start=0.5)) == len(decode(path, RATE, seconds=0.5)) == RATE // 2


def with_data_size(path, size):
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 2 * RATE + 8])
def test_a_header_written_to_a_pipe_or_a_few_bytes_off_is_forgiven(write, size):
    np.testing.assert_allclose(decode(with_data_size(write(noise()), size), RATE)[:RATE], noise(), atol=1e-4)


@pytest.mark.parametrize("ending", ["wav", "flac", pytest.param("mp3", marks=needs["MP3"])])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_file_cut_short_is_refused(write, ending, share):
    path = write(noise(5 * RATE), f"a.{ending}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(AudioError, match="is cut off: its header promises|not readable as audio"):
        decode(path, RATE)


def test_a_wav_cut_short_is_good_for_what_it_still_holds(write):
    path = write(noise(), subtype="PCM_16")
    path.write_bytes(path.read_bytes()[: 44 + RATE])
    np.testing.assert_allclose(decode(path, RATE, seconds=0.25), noise()[: RATE // 4], atol=1e-4)
    with pytest.raises(AudioError, match="is cut off: its header promises 16000 samples, 8000 are there"):
        decode(path, RATE)


def make_bad(kind, folder):
    path = folder / "bad.wav"
    waveform, options = noise(1000), {}
    if kind == "0 bytes":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no sound\n" * 50)
    elif kind == "zeros":
        path.write_bytes(bytes(1000))
    elif kind == "header only":
        soundfile.write(path, waveform, RATE)
        path.write_bytes(path.read_bytes()[:20])
    elif kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling link":
        path.symlink_to(folder / "nowhere.wav")
    elif kind == "long name":
        path = folder / ("a" * 300)
    elif kind == "null byte":
        path = folder / "a\0b.wav"
    elif kind == "below a file":
        (folder / "file").write_text("")
        path = folder / "file" / "a.wav"
    elif kind == "raw":
        path = folder / "bad.raw"
        path.write_bytes(bytes(1000))
    elif kind != "missing":
        waveform = waveform.copy()
        if kind == "0 samples":
            waveform = waveform[:0]
        elif kind == "8 channels":
            waveform = np.zeros((100, 8))
        elif kind == "64 channels":
            waveform = np.zeros((10, 64))
        elif kind in ("nan", "inf"):
            waveform[[5, 7]] = float(kind)
            options = {"subtype": "FLOAT"}
        elif kind == "beyond single precision":
            waveform *= 1e300
            options = {"subtype": "DOUBLE"}
        soundfile.write(path, waveform, {"100 Hz": 100, "400 kHz": 400_000}.get(kind, RATE), **options)
    return path


BAD = {
    "missing": "^no such file$",
    "dangling link": "^no such file$",
    "0 bytes": r"^the file is empty \(0 bytes\)$",
    "0 samples": "^has no samples",
    "text": r"^not readable as audio \(Format not recognised\)$",
    "zeros": r"^not readable as audio \(",
    "header only": r"^not readable as audio \(",
    "raw": r"^not readable as audio \(",
    "folder": "^is a folder, not a file$",
    "fifo": "^is not a regular file$",
    "loop": r"^cannot be read \(Too many levels of symbolic links\)$",
    "long name": r"^cannot be read \(File name too long\)$",
    "null byte": r"^cannot be read \(embedded null byte\)$",
    "below a file": r"^(no such file|cannot be read \(Not a directory\))$",
    "8 channels": '^8 channels; at most 2 are mixed to mono: export a mono or stereo file, or choose one channel, audio.channel = "loudest"$',
    "64 channels": "^64 channels; at most 2",
    "nan": "^2 samples are NaN or infinite; export the file again$",
    "inf": "^2 samples are NaN or infinite",
    "beyond single precision": "^1000 samples are NaN or infinite",
    "100 Hz": "^a sample rate of 100 Hz is outside 1000-384000 Hz$",
    "400 kHz": "^a sample rate of 400000 Hz is outside",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_says_what_is_wrong_and_nothing_of_its_path(tmp_path, kind):
    with pytest.raises(AudioError, match=BAD[kind]) as caught:
        decode(make_bad(kind, tmp_path), RATE)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_is_decoded_finitely_or_is_an_audio_error(write, seed):
    rng = np.random.default_rng(seed)
    path = write(noise(4000), f"a.{['wav', 'flac'][seed % 2]}")
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, min(len(content), [60, 2000][seed % 3 == 0]), 5):
        content[place] = rng.integers(256)
    path.write_bytes(content)
    try:
        assert np.isfinite(decode(path, RATE, seconds=10.0)).all()
    except AudioError as error:
        assert str(error)


def test_waveforms_of_different_length_are_stacked_with_zeros():
    waveforms = [np.ones(3, np.float32), 2 * np.ones(5, np.float32)]
    batch, lengths = fit_length(waveforms)
    assert batch.tolist() == [[1, 1, 1, 0, 0], [2] * 5]
    assert (lengths.tolist(), lengths.dtype, batch.dtype) == ([3, 5], np.int64, np.float32)


@pytest.mark.parametrize(("samples", "lengths"), [(4, [3, 4]), (2, [2, 2]), (9, [3, 5])])
def test_waveforms_are_cut_or_filled_to_a_given_length(samples, lengths):
    batch, found = fit_length([np.ones(3, np.float32), np.ones(5, np.float32)], samples)
    assert batch.shape == (2, samples)
    assert found.tolist() == lengths == batch.sum(1).astype(int).tolist()


@pytest.mark.skipif(os.name != "posix", reason="names of files are text there")
@pytest.mark.parametrize("name", [b"\xff\xe4.wav", "звук 鳥.flac".encode()])
def test_names_that_are_no_text_are_read_as_any(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    soundfile.write(tmp_path / "plain.wav", tone(), RATE)
    data, _ = soundfile.read(tmp_path / "plain.wav")
    soundfile.write(os.fsencode(path), data, RATE, format="FLAC" if name.endswith(b"flac") else "WAV")
    assert len(decode(path, RATE)) == RATE
