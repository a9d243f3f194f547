"""How strongly each centroid responds to each patch of log-mels, for a block of clips at once.

Standardising, whitening and centring are linear up to one factor a patch, so that no patch is ever written out: whitening
is a convolution of the log-mels over time, and what standardising subtracts is subtracted from its result.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Added to a patch's deviation: silence has no shape, and stays near zero instead of becoming rounding alone.
FLOOR = 0.1
IMAGES = 16  # from so many on torch gives a convolution of width one to oneDNN, which is twice as fast


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
        self._level = whiten.double().sum(0).float()  # what a patch of ones becomes
        self._mean = (mean.double() @ whiten.double()).float()
        # The mean response is subtracted from every response: that of the mean centroid.
        centred = centroids - centroids.double().mean(0).float()
        self._centroids = centred[:, :, None, None].contiguous(memory_format=torch.channels_last)

    def __call__(self, logmels: Tensor) -> Tensor:
        """Responses to every run of frames.

        Parameters
        ----------
        logmels : Tensor of shape (n, time, bands), contiguous

        Returns
        -------
        Tensor of shape (n, time - frames + 1, centroids)
            Cosine minus the mean over the centroids, rectified.
        """
        n = len(logmels)
        # One clip alone would be rounded otherwise than among others, as a product of another library.
        logmels = torch.cat([logmels, logmels]) if n == 1 else logmels
        # A clip's level is no part of its shape; without it sums of squares and products lose fewer digits. The first frame's
        # will do, and does not depend on how far a clip is padded.
        shape = logmels - logmels[:, :1].mean((1, 2), keepdim=True)
        level, deviation = self._moments(shape)
        white = convolved(shape, self._kernel).reshape(-1, len(self._level))
        white = torch.addcmul(white, level.reshape(-1, 1), self._level, value=-1)
        white = torch.addcdiv(-self._mean, white, deviation.reshape(-1, 1) + FLOOR)
        white /= white.norm(dim=1, keepdim=True).clamp(min=1e-12)
        rows = -(-len(white) // IMAGES) * IMAGES
        images = F.pad(white, (0, 0, 0, rows - len(white))).reshape(IMAGES, -1, white.shape[1])
        response = convolved(images, self._centroids).reshape(rows, -1)
        return response[: len(white)].relu_().reshape(len(logmels), -1, response.shape[1])[:n]

    def _moments(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each patch (n, patches), from sums over its frames."""
        values = torch.stack([shape.sum(2, dtype=torch.float64), shape.double().square().sum(2)])
        mean, square = values.unfold(2, self.frames, 1).sum(3) / (self.frames * self.bands)
        return mean.float(), (square - mean.square()).clamp(min=0).sqrt().float()


def convolved(rows: Tensor, kernel: Tensor) -> Tensor:
    """Images whose rows (n, height, channels) are all they have, as rows again; channels last, so that nothing is moved."""
    return F.conv2d(rows.unsqueeze(2).permute(0, 3, 1, 2), kernel).permute(0, 2, 3, 1).squeeze(2)
