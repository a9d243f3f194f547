"""How strongly each centroid responds to each patch of log-mels, for a block of clips at once.

Standardising, whitening and centring are linear up to one factor a patch: whitening is one product of the log-mels over time,
and what standardising subtracts is subtracted from its result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

# Added to a patch's deviation: silence has no shape, and stays near zero instead of becoming rounding alone.
FLOOR = 0.1
IMAGES = 16  # from so many on torch gives a convolution of width one to oneDNN, which is twice as fast


def convolves() -> bool:
    """Whether this processor takes half as long for convolutions as for products of matrices: with AVX-512 it does.

    With AVX2 it takes nearly twice as long. The two differ by rounding.
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


class Responses:
    """What a dictionary of patches says of log-mels.

    Parameters
    ----------
    mean : Tensor of shape (bands * frames,)
        Of the standardised patches, whose values lie band by band.
    whiten : Tensor of shape (bands * frames, whitened)
    centroids : Tensor of shape (centroids, whitened)
    bands : int
    """

    def __init__(self, mean: Tensor, whiten: Tensor, centroids: Tensor, bands: int):
        self.frames, self.bands = len(mean) // bands, bands
        kernel = whiten.T.reshape(-1, bands, self.frames, 1)
        self._kernel = kernel.contiguous(memory_format=torch.channels_last)
        # The same numbers as a matrix, frame by frame as log-mels lie in memory.
        self._whiten = kernel.permute(2, 1, 0, 3).reshape(len(mean), -1).contiguous()
        self._level = whiten.double().sum(0).float()  # what a patch of ones becomes
        self._mean = (mean.double() @ whiten.double()).float()
        # The mean response is subtracted from every response: that of the mean centroid.
        self._centroids = centroids - centroids.double().mean(0).float()
        self._wide = self._centroids[:, :, None, None].contiguous(memory_format=torch.channels_last)

    def __call__(self, logmels: Tensor, frames: Sequence[int]) -> Iterator[Tensor]:
        """Responses to every run of frames of each clip.

        Parameters
        ----------
        logmels : Tensor of shape (n, time, bands), contiguous
        frames : sequence of n int
            Valid frames of each; of fewer than a patch has, one patch is taken.

        Yields
        ------
        Tensor of shape (max(1, frames - patch + 1), centroids)
            Cosine minus the mean over the centroids, rectified.
        """
        # A clip's level is no part of its shape; without it sums of squares and products lose fewer digits. The first frame's
        # will do, and does not depend on how far a clip is padded.
        shape = logmels - logmels[:, :1].mean((1, 2), keepdim=True)
        level, deviation = self._moments(shape)
        counts = [max(1, count - self.frames + 1) for count in frames]
        if convolves():
            for response, count in zip(self._of_all(shape, level, deviation), counts):
                yield response[:count]
            return
        for clip, *moments, count in zip(shape, level, deviation, counts):
            yield self._of_one(clip, *(moment[:count] for moment in moments))

    def _of_one(self, shape: Tensor, level: Tensor, deviation: Tensor) -> Tensor:
        """Of one clip (time, bands), as products of matrices with its own patches alone.

        In a matrix with other clips' patches, a row may be rounded otherwise.
        """
        patches = shape.as_strided((len(level), self.frames * self.bands), (self.bands, 1))
        white = self._standardised(patches @ self._whiten, level, deviation)
        return (white @ self._centroids.T).relu_()

    def _of_all(self, shape: Tensor, level: Tensor, deviation: Tensor) -> Tensor:
        """Of all clips (n, time, bands), padding included, as convolutions: no patch is written out."""
        n = len(shape)
        if n == 1:
            # One clip alone would be rounded otherwise than among others, as a product of another library.
            shape, level, deviation = (torch.cat([one, one]) for one in (shape, level, deviation))
        white = convolved(shape, self._kernel)
        white = self._standardised(white.reshape(-1, len(self._level)), level.reshape(-1), deviation.reshape(-1))
        rows = -(-len(white) // IMAGES) * IMAGES
        images = F.pad(white, (0, 0, 0, rows - len(white))).reshape(IMAGES, -1, white.shape[1])
        response = convolved(images, self._wide).reshape(rows, -1)
        return response[: len(white)].relu_().reshape(len(shape), -1, response.shape[1])[:n]

    def _standardised(self, white: Tensor, level: Tensor, deviation: Tensor) -> Tensor:
        """Whitened patches (patches, whitened) as if each had been standardised before, of length one."""
        white = torch.addcmul(white, level.unsqueeze(1), self._level, value=-1)
        white = torch.addcdiv(-self._mean, white, deviation.unsqueeze(1) + FLOOR)
        white /= white.norm(dim=1, keepdim=True).clamp(min=1e-12)
        return white

    def _moments(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each patch (n, patches), from sums over its frames."""
        values = torch.stack([shape.sum(2, dtype=torch.float64), shape.double().square().sum(2)])
        mean, square = values.unfold(2, self.frames, 1).sum(3) / (self.frames * self.bands)
        return mean.float(), (square - mean.square()).clamp(min=0).sqrt().float()


def convolved(rows: Tensor, kernel: Tensor) -> Tensor:
    """Images whose rows (n, height, channels) are all they have, as rows again; channels last, so that nothing is moved."""
    return F.conv2d(rows.unsqueeze(2).permute(0, 3, 1, 2), kernel).permute(0, 2, 3, 1).squeeze(2)
