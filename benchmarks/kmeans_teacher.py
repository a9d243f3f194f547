"""The k-means teacher: clips of one core a second from waveforms and from log-mels, beside the same recipe patch by patch.

The limits are what the numbers cannot be had without: one transform in double precision a frame, and the two products of all
patches, as matrices that are there already and as convolutions of the log-mels.
"""

import numpy as np
import torch
import torch.nn.functional as F
from measure import arguments, header, interleaved, row, scaled

from embcomp.audio.features import front_end
from embcomp.teachers.kmeans import AUDIO, N_MELS, SAMPLE_RATE, KMeansTeacher
from embcomp.teachers.responses import convolved

PATCH, WHITENED, CENTROIDS = 12 * N_MELS, 128, 512


def patch_by_patch(teacher: KMeansTeacher, spectrogram: torch.Tensor) -> torch.Tensor:
    """The recipe as it is written down, every patch a row."""
    patches = spectrogram.unfold(1, teacher.patch_frames, 1).transpose(0, 1).flatten(1)
    patches = patches - patches.mean(1, keepdim=True)
    patches = patches / (patches.square().mean(1, keepdim=True).sqrt() + 0.1)
    response = F.normalize((patches - teacher.mean) @ teacher.whiten, dim=1) @ teacher.centroids.T
    response = torch.relu(response - response.mean(1, keepdim=True))
    return torch.cat([response.mean(0), response.amax(0), response.std(0, correction=0)])


def measured(teacher: KMeansTeacher, seconds: float, count: int, repeats: int) -> None:
    waveforms = 0.1 * np.random.default_rng(0).standard_normal((count, round(seconds * SAMPLE_RATE)))
    waveforms, lengths = waveforms.astype(np.float32), np.full(count, waveforms.shape[1])
    module = front_end(AUDIO)
    logmels = module(torch.from_numpy(waveforms))
    frames = torch.as_tensor(module.frames(lengths))
    time, patches = logmels.shape[2], logmels.shape[2] - teacher.patch_frames + 1
    double = torch.zeros(time, AUDIO.n_fft, dtype=torch.float64)
    rows = torch.randn(patches, PATCH)
    together = max(2, 4096 // time)
    kernel = torch.randn(WHITENED, N_MELS, teacher.patch_frames, 1).contiguous(memory_format=torch.channels_last)
    wide = torch.randn(CENTROIDS, WHITENED, 1, 1).contiguous(memory_format=torch.channels_last)
    images, narrow = torch.randn(together, time, N_MELS), torch.randn(16, -(-together * patches // 16), WHITENED)

    def convolutions() -> None:
        for _ in range(-(-count // together)):
            convolved(images, kernel)
            convolved(narrow, wide)

    sides = {
        "waveforms, patch by patch": lambda: [
            patch_by_patch(teacher, one) for one in module(torch.from_numpy(waveforms))
        ],  # fmt: skip
        "waveforms, ours": lambda: teacher.embed(waveforms, lengths),
        "log-mels, patch by patch": lambda: [patch_by_patch(teacher, one) for one in logmels],
        "log-mels, ours": lambda: teacher.embed_logmels(logmels, frames),
        "limit: transforms alone": lambda: [torch.fft.rfft(double) for _ in range(count)],
        "limit: products alone, of matrices": lambda: [
            rows @ teacher.whiten @ teacher.centroids.T for _ in range(count)
        ],  # fmt: skip
        "limit: products alone, as convolutions": convolutions,
    }
    speed = {name: count / value for name, value in interleaved(sides, repeats).items()}
    for name, clips in speed.items():
        peer = speed.get(f"{name.split(',')[0]}, patch by patch", "")
        row(f"{seconds:g} s, {name}", round(clips), round(1e6 / clips), clips / peer if peer else "")


def main() -> None:
    options = arguments(__doc__).parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    mean, whiten = (torch.randn(shape, generator=generator) for shape in ((PATCH,), (PATCH, WHITENED)))
    centroids = F.normalize(torch.randn(CENTROIDS, WHITENED, generator=generator), dim=1)
    teacher = KMeansTeacher(0.01 * mean, whiten, centroids)
    header("clips of", "clips/s", "microseconds a clip", "times patch by patch")
    with torch.inference_mode():
        for seconds, count in ((1.0, 256), (5.0, 64)):
            measured(teacher, seconds, max(2, scaled(count, options)), options.repeats)


if __name__ == "__main__":
    main()
