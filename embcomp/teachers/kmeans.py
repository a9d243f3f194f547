"""The embedded teacher: spherical k-means on whitened log-mel patches, learned without labels."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg.blas
import torch
import torch.nn.functional as F
from torch import Tensor

from embcomp.audio.features import audio_settings, front_end
from embcomp.audio.logmel import LogMel
from embcomp.config import AudioConfig, seed_setting, setting
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, DataError
from embcomp.storage.artifact import check_tensors, load_artifact, save_artifact
from embcomp.storage.files import fingerprint
from embcomp.storage.seen import Seen, counts_of, tensors_expected, tensors_of
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.responses import FLOOR, Responses

N_MELS = 64
SAMPLE_RATE = 16_000
AUDIO = AudioConfig(sample_rate=SAMPLE_RATE, n_mels=N_MELS, n_fft=512, win_length=400, hop_length=160)
ITERATIONS = 15
BLOCK = 4096  # frames of all clips described at once
ROOM = 4096  # patches that memory is taken for at first
FEW = 4  # patches a clip: of fewer, rounding every clip's share up would add up to far more than were asked for


class KMeansTeacher(Teacher):
    """Dictionary of log-mel patches, learned from unlabelled clips, then frozen.

    Patches of a few frames are standardised one by one, whitened by PCA and
    clustered on the sphere (Coates & Ng 2012; for audio Salamon & Bello, ICASSP
    2015). A clip is described by how strongly each centroid responds: cosine
    minus the mean response, rectified, and pooled over time as mean, maximum and
    standard deviation.

    Parameters
    ----------
    mean : Tensor of shape (patch,)
    whiten : Tensor of shape (patch, whitened)
    centroids : Tensor of shape (centroids, whitened)
        Unit vectors.
    frames : int, default=1
        Pool over so many equal shares of the clip's time, one after the other; a patch that reaches
        into two belongs to both. Not kept with the weights, which do not depend on it.

    Attributes
    ----------
    name : str
    sample_rate : int
        Hz.
    dim : int
        Three times the centroids, for each of the frames.
    learned_on : str
        Key of the clips it was learned from.
    seen : Seen or None
        Their content hashes; None of one that was saved before these were kept.
    """

    name = "kmeans"
    summary = "a dictionary of log-mel patches learned from the training clips, or kmeans:FOLDER"
    sample_rate = SAMPLE_RATE

    @dataclass(frozen=True)
    class Settings(TeacherSettings):
        patch_frames: int = setting(12, "frames of a log-mel patch", at_least=1)
        whitened: int = setting(128, "dimensions kept of a patch", at_least=1)
        centroids: int = setting(512, at_least=2)
        patches: int = setting(60_000, "log-mel patches to learn from", at_least=100)
        frames: int = setting(1, "vectors per clip, each of an equal share of its time", at_least=1)
        seed: int = seed_setting()

        @property
        def learns(self) -> bool:
            return not self.argument

        def learned_as(self, clips: int) -> list[str]:
            return ["no more patches than asked for"] if clips > self.patches // FEW else []

    def __init__(self, mean: Tensor, whiten: Tensor, centroids: Tensor, frames: int = 1):
        # In one memory layout, whether learned just now or read back: products then round the same.
        self.mean, self.whiten, self.centroids = (part.contiguous().clone() for part in (mean, whiten, centroids))
        self.patch_frames = len(mean) // N_MELS
        self.frames = frames
        self.dim = 3 * len(centroids) * frames
        self.learned_on = ""
        self._logmel = front_end(AUDIO)
        self._responses = Responses(self.mean, self.whiten, self.centroids, N_MELS)

    @classmethod
    def open(cls, settings: Settings, manifest: Manifest | None = None) -> KMeansTeacher:
        return cls.load(settings.argument, settings.frames)

    @classmethod
    def learned_from(cls, settings: Settings, manifests: Sequence[Manifest] = ()) -> dict[str, Seen | None]:
        return {} if settings.learns else {settings.spec: cls.load(settings.argument).seen}

    @classmethod
    def learn(cls, batches: Iterable[tuple[np.ndarray, np.ndarray]], clips: int, settings: Settings) -> KMeansTeacher:
        """Learn the dictionary.

        Parameters
        ----------
        batches : iterable of (waveforms (k, samples), lengths (k,))
        clips : int
            How many clips `batches` holds in all; each gives its share of the patches. Of many clips, where a share is
            under `FEW`, some give one more than others, and of more clips than patches, only so many give one.
        settings : KMeansTeacher.Settings

        Raises
        ------
        DataError
            Fewer patches than centroids.
        """
        generator = torch.Generator().manual_seed(settings.seed)
        patches = _drawn(batches, _shares(settings.patches, clips, settings.seed), settings.patch_frames, generator)
        if len(patches) < settings.centroids:
            raise DataError(
                f"{len(patches)} log-mel patches cannot be parted into {settings.centroids} centroids; lower teacher.centroids"
            )
        # All patches are in memory, so that two passes do what `embcomp.compression.moments` does in one.
        mean = patches.mean(0)
        centred = patches.sub_(mean)  # no other copy is made but the one in double precision
        # One triangle, which is all that is read: half the work of a product of matrices.
        scatter = scipy.linalg.blas.dsyrk(1 / len(centred), centred.double().numpy().T, lower=True)
        values, vectors = torch.linalg.eigh(torch.from_numpy(scatter))
        keep = min(settings.whitened, centred.shape[1])
        # The small constant keeps directions that hold nothing but rounding from being blown up.
        # Of silence alone nothing varies, and the least value allowed keeps its weights finite.
        scale = (values[-keep:] + 1e-2 * values[-keep:].mean()).clamp(min=1e-12).rsqrt()
        whiten = (vectors[:, -keep:] * scale).float()
        centroids = _spherical_kmeans(centred @ whiten, settings.centroids, generator)
        return cls(mean, whiten, centroids, settings.frames)

    @classmethod
    def most_clips(cls, settings: Settings) -> int:
        return settings.patches

    def embed(self, waveforms: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Embed clips.

        Parameters
        ----------
        waveforms : ndarray of shape (n, samples), float32
            At `sample_rate`, in [-1, 1].
        lengths : ndarray of shape (n,)
            Valid samples of each row.

        Returns
        -------
        ndarray of shape (n, dim), float32
        """
        with torch.inference_mode():
            logmels = self._logmel(torch.from_numpy(np.asarray(waveforms, dtype=np.float32)))
        return self.embed_logmels(logmels, torch.as_tensor(self._logmel.frames(np.asarray(lengths))))

    def takes_logmels(self, audio: AudioConfig) -> bool:
        return audio_settings(audio) == audio_settings(replace(AUDIO, seconds=audio.seconds, channel=audio.channel))

    def embed_logmels(self, logmels: Tensor, frames: Tensor) -> np.ndarray:
        """Embed clips whose log-mels are there already.

        Parameters
        ----------
        logmels : Tensor of shape (n, n_mels, time)
        frames : Tensor of shape (n,)
            Valid frames of each.

        Returns
        -------
        ndarray of shape (n, dim), float32
        """
        found = np.empty((len(logmels), self.dim), dtype=np.float32)
        together = max(2, BLOCK // max(1, logmels.shape[2]))
        with torch.inference_mode():
            for start in range(0, len(logmels), together):
                part = slice(start, start + together)
                responses = self._responses(self._padded(logmels[part], frames[part]), frames[part].tolist())
                for row, response in zip(found[part], responses):
                    row[:] = self._pooled(response).numpy()
        return found

    def _padded(self, logmels: Tensor, frames: Tensor) -> Tensor:
        """Log-mels frame by frame; of clips that are shorter than a patch, one patch with their least value behind them."""
        longest = max(int(frames.max()), self.patch_frames)
        kept = logmels[..., :longest].transpose(1, 2).contiguous()
        if kept.shape[1] < longest:
            kept = F.pad(kept, (0, 0, 0, longest - kept.shape[1]))
        for clip, count in zip(kept, frames.tolist()):
            if count < self.patch_frames:
                clip[count:] = clip[:count].min()
        return kept

    def _pooled(self, response: Tensor) -> Tensor:
        """Mean, maximum and deviation (dim,) over each share of the patches (patches, centroids)."""
        count, parts = len(response), []
        for frame in range(self.frames):
            share = response[frame * count // self.frames : -(-(frame + 1) * count // self.frames)]
            mean = share.mean(0)
            # Not by `std`, which takes ten times as long along the first axis.
            parts += [mean, share.amax(0), (share - mean).square_().mean(0).sqrt_()]
        return torch.cat(parts)

    def _tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "whiten": self.whiten, "centroids": self.centroids}

    def fingerprint(self) -> str:
        """Key of the weights, and of the frames if there are several."""
        content = {name: tensor.numpy().tobytes().hex() for name, tensor in self._tensors().items()}
        return fingerprint(content | ({"frames": self.frames} if self.frames > 1 else {}))

    def save(self, path: str | os.PathLike) -> None:
        """Write an artifact folder."""
        shapes = {name: list(tensor.shape) for name, tensor in self._tensors().items()}
        config = {"sample_rate": SAMPLE_RATE, "n_mels": N_MELS, "shapes": shapes, "learned_on": self.learned_on}
        save_artifact(path, "kmeans teacher", config | counts_of(self.seen), self._tensors() | tensors_of(self.seen))

    @classmethod
    def load(cls, path: str | os.PathLike, frames: int = 1) -> KMeansTeacher:
        """Read an artifact folder, to give so many vectors per clip.

        Raises
        ------
        ArtifactError
            Missing, damaged, or not a k-means teacher.
        """
        config, tensors = load_artifact(path, "kmeans teacher")
        try:
            expected = {
                name: torch.empty(config["shapes"][name], device="meta") for name in ("mean", "whiten", "centroids")
            }
            expected |= (kept := tensors_expected(config))
            fits = config["sample_rate"] == SAMPLE_RATE and config["n_mels"] == N_MELS
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ArtifactError(f"{path}/config.json is damaged ({error}); learn the teacher again") from None
        check_tensors(path, tensors, expected)
        seen = Seen.of_tensors({name: tensors.pop(name) for name in kept})
        mean, whiten, centroids = (tuple(tensors[name].shape) for name in ("mean", "whiten", "centroids"))
        flat = (len(mean), len(whiten), len(centroids)) == (1, 2, 2) and min(*mean, *whiten, *centroids) > 0
        fits &= all(tensor.dtype == torch.float32 for tensor in tensors.values())
        if not (fits and flat) or mean[0] % N_MELS or whiten[0] != mean[0] or whiten[1] != centroids[1]:
            raise ArtifactError(f"{path}: the weights do not fit together; learn the teacher again")
        teacher = cls(**tensors, frames=frames)
        teacher.learned_on, teacher.seen = str(config.get("learned_on", "")), seen
        return teacher


def _patches(logmel: LogMel, waveforms: np.ndarray, lengths: np.ndarray, frames: int) -> Iterable[Tensor]:
    """Every run of `frames` frames of each clip, (patches, n_mels * frames); a shorter clip gives one, zero-padded."""
    spectrograms = logmel(torch.from_numpy(np.asarray(waveforms, dtype=np.float32)))
    for spectrogram, length in zip(spectrograms, lengths):
        spectrogram = spectrogram[:, : logmel.frames(int(length))]
        if spectrogram.shape[1] < frames:
            spectrogram = F.pad(spectrogram, (0, frames - spectrogram.shape[1]), value=float(spectrogram.min()))
        yield spectrogram.unfold(1, frames, 1).transpose(0, 1).flatten(1)


def _shares(patches: int, clips: int, seed: int) -> np.ndarray:
    """How many patches each clip gives (clips,)."""
    if clips <= patches // FEW:
        return np.full(clips, -(-patches // max(clips, 1)))
    shares = np.full(clips, patches // clips)
    # A generator of its own: that of the patches draws the same, however many clips there are.
    shares[np.random.default_rng(seed).permutation(clips)[: patches % clips]] += 1
    return shares


def _drawn(
    batches: Iterable[tuple[np.ndarray, np.ndarray]], shares: np.ndarray, frames: int, generator: torch.Generator
) -> Tensor:
    """Patches of all clips in order, as many of each as its share or as it has, standardised one by one; float32 (n, patch)."""
    logmel, left, room = front_end(AUDIO), iter(shares.tolist()), int(shares.sum())
    # One tensor that grows: thousands of small ones would leave holes in memory that nothing else fits into.
    found, count = torch.zeros(0, 1), 0
    for waveforms, lengths in batches:
        several = [
            patches[torch.randperm(len(patches), generator=generator)[:share]]
            for patches, share in zip(
                _patches(logmel, waveforms, lengths, frames), itertools.islice(left, len(lengths)), strict=True
            )
            if share
        ]
        if not several:
            continue
        block = _standardised(torch.cat(several))
        if count + len(block) > len(found):
            size = min(room, max(2 * len(found), count + len(block), ROOM))
            larger = torch.empty(size, block.shape[1])
            larger[:count], found = found[:count], larger
        found[count : count + len(block)] = block
        count += len(block)
    return found[:count]


def _standardised(patches: Tensor) -> Tensor:
    centred = patches - patches.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True).sqrt() + FLOOR)


def _spherical_kmeans(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Centroids on the unit sphere: damped updates, empty ones restarted at random points (Coates & Ng 2012)."""
    points = F.normalize(points, dim=1)
    centroids = points[torch.randperm(len(points), generator=generator)[:count]].clone()
    for _ in range(ITERATIONS):
        sums = torch.zeros_like(centroids)
        members = torch.zeros(count)
        for block in points.split(16_384):
            cosine, nearest = (block @ centroids.T).max(1)
            sums.index_add_(0, nearest, block * cosine.unsqueeze(1))
            members.index_add_(0, nearest, torch.ones(len(block)))
        empty = members == 0
        sums[empty] = points[torch.randint(len(points), (int(empty.sum()),), generator=generator)]
        centroids = F.normalize(torch.where(empty.unsqueeze(1), sums, sums + centroids), dim=1)
    return centroids
