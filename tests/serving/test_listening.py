"""A file played through the loop of the microphone has the labels that it has as a file."""

from __future__ import annotations

import sys
import threading
import types

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers.settings import student_settings

import embcomp
from embcomp.audio.decoding import open_audio
from embcomp.cli.listen import listen as command
from embcomp.config import AudioConfig
from embcomp.errors import ConfigError, MissingDependencyError
from embcomp.serving.listening import Microphone, listen
from embcomp.students.classifier import Classifier
from embcomp.students.waveforms import WaveformClassifier


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    found = Classifier.new(["a", "b", "c"], AudioConfig(seconds=0.4, n_mels=24), student_settings(width=16), False, 0)
    found.network.classify.weight.data.mul_(30)
    found.network.eval()
    return found


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("sounds") / "long.wav"
    times = np.arange(round(1.7 * 22_050)) / 22_050
    soundfile.write(path, np.sin(4000 * times**3) * times / 3, 22_050, subtype="FLOAT")
    return path


def played(path, size):
    with open_audio(path) as source:
        whole = np.concatenate(list(source.blocks()))
    return [whole[first : first + size] for first in range(0, len(whole), size)]


@pytest.mark.parametrize("size", [7, 1102, 1 << 20])
@pytest.mark.parametrize("hop", [0.1, 0.4, None])
def test_a_file_played_through_it_has_its_labels(classifier, recording, size, hop):
    model = WaveformClassifier(classifier)
    found = list(listen(model, iter(played(recording, size)), 22_050, window=0.4, hop=hop))
    expected = list(embcomp.predict_windows(classifier, recording, window=0.4, hop=hop or 0.2))
    expected = [one for one in expected if one.end <= 1.7 + 1e-6 and one.end - one.start > 0.4 - 1e-3]
    assert [one.start for one in found] == [one.start for one in expected]
    assert [one.label for one in found] == [one.label for one in expected]
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)


def test_a_window_comes_as_soon_as_it_is_full(classifier):
    taken = []

    def blocks():
        for number in range(100):
            taken.append(number)
            yield np.zeros((1600, 1), dtype=np.float32)

    stream = listen(WaveformClassifier(classifier), blocks(), 16_000, window=0.4, hop=0.2)
    assert (next(stream).end, len(taken)) == (0.4, 4)
    assert (next(stream).end, len(taken)) == (pytest.approx(0.6), 6)


class Device(types.ModuleType):
    """sounddevice, with a microphone that records `sound` (samples, 1) over and over at `own` Hz alone."""

    class PortAudioError(Exception):
        pass

    def __init__(self, sound, own=22_050, blocks=10_000):
        super().__init__("sounddevice")
        self.sound, self.own, self.blocks = sound, own, blocks
        self.threads = []

    def query_devices(self, device, kind):
        return {"default_samplerate": float(self.own)}

    def InputStream(self, samplerate, blocksize, device, channels, dtype, callback):
        if device == "none":
            raise ValueError("No input device matching 'none'")
        if samplerate != self.own:
            raise self.PortAudioError("Invalid sample rate [PaErrorCode -9997]")
        over = threading.Event()

        def play():
            for number in range(self.blocks):
                if over.wait(0.001):
                    return
                rows = np.arange(number * blocksize, (number + 1) * blocksize) % len(self.sound)
                callback(self.sound[rows], blocksize, None, "")

        thread = threading.Thread(target=play, daemon=True)
        self.threads.append(thread)
        return types.SimpleNamespace(start=thread.start, close=lambda: (over.set(), thread.join(5)))


@pytest.fixture
def device(recording, monkeypatch):
    sound, _ = soundfile.read(recording, dtype="float32", always_2d=True)
    found = Device(sound)
    monkeypatch.setitem(sys.modules, "sounddevice", found)
    return found


def test_the_command(classifier, device, recording, tmp_path):
    classifier.save(tmp_path / "student")
    done = CliRunner().invoke(
        command, [str(tmp_path / "student"), "--window", "0.4", "--hop", "0.4", "--seconds", "1.7"]
    )
    assert done.exit_code == 0, done.output
    expected = [one.label for one in embcomp.predict_windows(classifier, recording, window=0.4)][:4]
    lines = [line.split() for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert [line[1] for line in lines] == expected
    assert [line[0] for line in lines] == ["0.00-0.40", "0.40-0.80", "0.80-1.20", "1.20-1.60"]
    assert "listening at 22050 Hz" in done.stderr and not device.threads[0].is_alive()


def test_what_is_too_slow_is_counted_and_memory_is_bounded(device):
    with Microphone(22_050) as microphone:
        device.threads[0].join(0.6)
        stream = microphone.blocks(0.1)
        assert sum(map(len, stream)) == 2205
    assert microphone.lost > 0


def test_a_device_that_is_gone_or_not_there(device, monkeypatch):
    monkeypatch.setattr("embcomp.serving.listening.PATIENCE", 0.05)
    device.blocks = 2
    with Microphone(22_050) as microphone, pytest.raises(ConfigError, match="gave nothing for 0.05 s"):
        list(microphone.blocks())
    with pytest.raises(ConfigError, match="no microphone .No input device matching 'none'.; `python -m sounddevice`"):
        Microphone(22_050, "none").__enter__()


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingDependencyError, match=r"listening needs sounddevice.*'\.\[listen\]'"):
        Microphone(16_000).__enter__()
