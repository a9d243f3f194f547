"""Headers are not believed: what a file does not hold is refused, what it holds is read, in memory and time of what is there."""

from __future__ import annotations

import json
import resource
import struct
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.containers import CONTAINERS, RATE, WAVE, content_of, flac_with_total, wav_lengths, with_field
from helpers.fuzzing import seeded
from hypothesis import given
from hypothesis import strategies as st

from embcomp.audio.decoding import decode
from embcomp.audio.headers import joined_at, mp3_samples, unknown_length
from embcomp.audio.windows import windows
from embcomp.errors import AudioError

MARGIN = 0.05  # of lengths: codecs add a few samples


def unknown(name):
    """A file whose header leaves its length open, as each container does."""
    content = content_of(name)
    if name in ("wav", "wavex", "float wav"):
        return {
            value: with_field(content, wav_lengths(content), value, 4, "little") for value in (0, 2**32 - 1, 2**31 - 1)
        }
    if name == "rf64":
        place = content.index(b"ds64") + 16
        return {value: with_field(content, place, value, 8, "little") for value in (0, 2**64 - 1)}
    if name == "au":
        return {value: with_field(content, 8, value, 4, "big") for value in (0, 2**32 - 1)}
    if name == "caf":
        return {value: with_field(content, content.index(b"data") + 4, value, 8, "big") for value in (0, 2**64 - 1)}
    if name == "flac":
        return {value: flac_with_total(content, value) for value in (0, 2**36 - 1)}
    if name == "aiff":
        frames, sound = content.index(b"COMM") + 10, content.index(b"SSND") + 4
        return {
            value: with_field(with_field(content, frames, value, 4, "big"), sound, value, 4, "big")
            for value in (0, 2**32 - 1)
        }
    assert name == "mp3"
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    return {2**32 - 1: with_field(content, place, 2**32 - 1, 4, "big")}


UNKNOWN = ["wav", "wavex", "float wav", "rf64", "au", "caf", "flac", "aiff", "mp3"]


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_length_that_is_left_open_is_that_of_what_is_there(tmp_path, name):
    good, path = tmp_path / "good", tmp_path / "open"
    good.write_bytes(content_of(name))
    expected = decode(good, RATE)
    for content in unknown(name).values():
        path.write_bytes(content)
        found = decode(path, RATE)
        assert len(found) == pytest.approx(RATE, abs=1200 if name == "mp3" else 4)
        if name != "mp3":  # whose decoder then keeps the padding of the first frame
            np.testing.assert_array_equal(found[: len(expected)], expected)
        part, whole = decode(path, RATE, start=0.25, end=0.5), decode(path, RATE)
        np.testing.assert_allclose(part, whole[RATE // 4 : RATE // 2], atol=1e-6)
        assert len(list(windows(path, RATE, 0.25, 0.25))) in (4, 5)
        with pytest.raises(AudioError, match="start is at 3.0 s"):
            decode(path, RATE, start=3.0)
        with pytest.raises(AudioError, match="end is at 3.0 s, the file ends at"):
            decode(path, RATE, end=3.0)


@pytest.mark.parametrize("name", ["wav", "flac", "au", "aiff", "caf"])
def test_a_stream_that_was_cut_as_well_is_read_or_refused_but_never_longer(tmp_path, name):
    for content in unknown(name).values():
        (tmp_path / "a").write_bytes(content[: len(content) // 2])
        try:
            assert len(decode(tmp_path / "a", RATE)) <= RATE // 2 + 400
        except AudioError as error:
            assert "cut off" in str(error) or "not readable" in str(error)


def test_an_empty_wav_is_empty_and_its_further_chunks_are_no_sound(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, WAVE[:0], RATE)
    for tail in (b"", b"LIST" + struct.pack("<I", 4) + b"INFO", b"id3 " + struct.pack("<I", 4) + bytes(4)):
        path.write_bytes(path.read_bytes() + tail)
        assert unknown_length(path) == []
        with pytest.raises(AudioError, match="has no samples"):
            decode(path, RATE)


@pytest.mark.parametrize("name", ["wav", "aiff", "au", "flac", "mp3"])
def test_more_than_the_file_can_hold_is_refused_at_once(tmp_path, name):
    content = content_of(name)
    big = {
        "wav": lambda: with_field(content, wav_lengths(content), 0x7FFE0000, 4, "little"),
        "aiff": lambda: with_field(content, content.index(b"COMM") + 10, 0x7FFE0000, 4, "big"),
        "au": lambda: with_field(content, 8, 0x7FFE0000, 4, "big"),
        "flac": lambda: flac_with_total(content, 1 << 35),
        "mp3": lambda: with_field(content, max(content.find(b"Xing"), content.find(b"Info")) + 8, 10**6, 4, "big"),
    }[name]()
    (tmp_path / "a").write_bytes(big)
    started = time.perf_counter()
    with pytest.raises(AudioError, match="is cut off: its header promises [0-9]+ samples"):
        decode(tmp_path / "a", RATE)
    with pytest.raises(AudioError, match="is cut off"):
        list(windows(tmp_path / "a", RATE, 0.5, 0.5))
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize("name", ["flac", "ogg", "opus", "mp3", "wav", "aiff"])
def test_files_put_end_to_end_are_not_taken_for_the_first(tmp_path, name):
    one, other = content_of(name), content_of(name, WAVE[::-1].copy())
    path = tmp_path / "a"
    path.write_bytes(one + other)
    if name != "mp3":
        assert joined_at(path) == len(one)
    with pytest.raises(AudioError, match="holds a second file from byte|its frames hold"):
        decode(path, RATE)
    with pytest.raises(AudioError, match="holds a second file from byte|its frames hold"):
        list(windows(path, RATE, 0.5, 0.5))
    path.write_bytes(one)
    assert joined_at(path) == 0 and len(decode(path, RATE)) == pytest.approx(RATE, abs=4)


def test_tags_behind_the_sound_are_no_second_file(tmp_path):
    for name, tail in {
        "mp3": b"TAG" + bytes(125),
        "ogg": b"TAG" + bytes(125),
        "flac": bytes(64),
        "wav": b"id3 " + struct.pack("<I", 10) + bytes(10),
    }.items():
        (tmp_path / "a").write_bytes(content_of(name) + tail)
        assert len(decode(tmp_path / "a", RATE)) == pytest.approx(RATE, abs=4)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_frames_of_an_mp3_are_counted(tmp_path, seconds, rate):
    wave = np.random.default_rng(0).uniform(-0.3, 0.3, round(seconds * rate))
    soundfile.write(tmp_path / "a.mp3", wave, rate)
    assert 0 <= mp3_samples(tmp_path / "a.mp3") - len(wave) <= 4 * 1152
    content = (tmp_path / "a.mp3").read_bytes()
    # Behind a tag, before another, and after something that is no frame.
    (tmp_path / "a.mp3").write_bytes(b"ID3\4\0\0" + bytes([0, 0, 1, 0]) + bytes(128) + content + b"TAG" + bytes(125))
    assert 0 <= mp3_samples(tmp_path / "a.mp3") - len(wave) <= 4 * 1152
    for other in (b"", b"\xff", bytes(999), b"\xff\xfb" * 99):
        (tmp_path / "b").write_bytes(other)
        assert mp3_samples(tmp_path / "b") == 0


def test_an_mp3_that_says_less_than_it_holds_is_refused(tmp_path):
    content = content_of("mp3", np.tile(WAVE, 4))
    place = max(content.find(b"Xing"), content.find(b"Info")) + 8
    (tmp_path / "a").write_bytes(with_field(content, place, 20, 4, "big"))
    with pytest.raises(
        AudioError, match=r"its header says \d+ samples, its frames hold \d+: write it anew, ffmpeg -i a -c copy"
    ):
        decode(tmp_path / "a", RATE)


# Bytes that lengths, counts and rates are made of where nobody knows them, or somebody lies.
VALUES = st.sampled_from([b"\0", b"\xff", b"\x7f", b"\x80", b"\1", b"\xfe"]) | st.binary(min_size=1, max_size=1)


@st.composite
def corrupted(draw):
    """A container, and fields of its first bytes written over; perhaps cut, perhaps with something behind it."""
    name = draw(st.sampled_from(sorted(CONTAINERS)))
    changes = [
        (draw(st.integers(0, 159)), draw(VALUES) * draw(st.sampled_from([1, 2, 4, 8])))
        for _ in range(draw(st.integers(1, 3)))
    ]
    end = draw(st.sampled_from(["whole", "whole", "cut", "doubled", "zeros"]))
    return name, changes, end, draw(st.floats(0.0, 1.0))


def damaged(whole: bytes, changes, end, share) -> bytes:
    content = bytearray(whole)
    for place, value in changes:
        content[place : place + len(value)] = value
    if end == "cut":
        del content[int(share * len(content)) :]
    return bytes(content) + {"doubled": whole, "zeros": bytes(4096)}.get(end, b"")


CHILD = """
import json, resource, sys, time, tracemalloc
import numpy, soundfile, soxr
from embcomp.audio.decoding import decode
from embcomp.audio.windows import windows
from embcomp.errors import AudioError
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
tracemalloc.start()
for line in sys.stdin:
    path = line.strip()
    tracemalloc.reset_peak()
    before, started = tracemalloc.get_traced_memory()[0], time.perf_counter()
    said, lengths = "", []
    for way in (lambda: lengths.append(len(decode(path, 16000))), lambda: lengths.append(len(decode(path, 16000, seconds=0.5))),
                lambda: lengths.append(sum(len(one) for _, one in windows(path, 16000, 0.5, 0.5)))):
        try:
            way()
        except AudioError as error:
            said = str(error)
    peak = tracemalloc.get_traced_memory()[1] - before
    print(json.dumps({"peak": peak, "seconds": time.perf_counter() - started, "said": said, "lengths": lengths}), flush=True)
"""


@pytest.fixture(scope="module")
def child():
    """A process that decodes what it is given by name; libsndfile may break on a damaged file, we must not."""
    environment = {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "OMP_NUM_THREADS": "1"}
    run = lambda: subprocess.Popen(  # noqa: E731
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )  # fmt: skip
    held = [run()]

    def ask(path):
        held[0].stdin.write(f"{path}\n")
        held[0].stdin.flush()
        line = held[0].stdout.readline()
        if not line:
            held[0] = run()
            return None
        return json.loads(line)

    yield ask
    held[0].stdin.close()
    held[0].wait(timeout=30)


@pytest.mark.parametrize("examples", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_corrupted_headers_of_every_container_cost_what_the_file_holds(tmp_path, child, examples):
    whole = {name: content_of(name) for name in CONTAINERS}
    outcomes = {"read": 0, "refused": 0, "broken": 0}

    @seeded(examples)
    @given(corrupted())
    def every(case):
        name, changes, end, share = case
        content = damaged(whole[name], changes, end, share)
        path = tmp_path / "case"
        path.write_bytes(content)
        found = child(path)
        if found is None:  # the library itself ended the process
            outcomes["broken"] += 1
            return
        outcomes["read" if found["lengths"] else "refused"] += 1
        # The rate may say that each sample lasts 16 of ours, and a byte of silence is many samples.
        most = max([0, *found["lengths"]])
        assert found["peak"] < 64 * (most + len(content)) + (32 << 20), (case, found)
        assert found["seconds"] < 5.0 + most / 1e6, (case, found)
        assert most <= 16 * 512 * len(content)
        assert "Traceback" not in found["said"]

    every()
    assert outcomes["read"] > examples / 20 and outcomes["refused"] > examples / 4
    assert outcomes["broken"] <= examples / 50, outcomes


def test_a_recording_of_hours_is_read_in_memory_of_a_minute(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, WAVE[:0], 8000, subtype="PCM_16")
    head = path.read_bytes()
    samples = 10 * 3600 * 8000
    with open(path, "wb") as file:  # a hole: ten hours that take no room on the disk
        file.write(with_field(head, wav_lengths(head), 2 * samples, 4, "little"))
        file.truncate(len(head) + 2 * samples)
    tracemalloc.start()
    try:
        count = sum(1 for _ in windows(path, 8000, 60.0, 60.0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 600
    assert peak < 40 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20  # kB


@pytest.mark.parametrize("total", [0.05, 0.3, 1.0, 1.0005, 1.2, 3.7, 4.0])
@pytest.mark.parametrize(("window", "hop"), [(1.0, 1.0), (1.0, 0.5), (0.5, 0.3), (0.25, 0.1)])
def test_windows_are_what_the_decoder_gives_for_their_place(tmp_path, total, window, hop):
    path = tmp_path / "a.wav"
    count = round(total * 44_100)
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, count), 44_100)
    number = max(0, int(np.ceil((count / 44_100 - window - 1e-3) / hop))) + 1
    found = list(windows(path, RATE, window, hop))
    assert [start for start, _ in found] == [round(k * hop, 6) for k in range(number)]
    for start, waveform in found:
        np.testing.assert_allclose(
            waveform, decode(path, RATE, start=start or None, seconds=window)[: len(waveform)], atol=1e-6
        )
