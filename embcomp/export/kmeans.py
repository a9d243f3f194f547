"""The k-means teacher as a module that a graph can hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embcomp.teachers.kmeans import N_MELS, KMeansTeacher


class KMeansBody(nn.Module):
    """Log-mels of whole clips to the embeddings of a `KMeansTeacher` that gives one vector per clip.

    The number of patches depends on the clip, and a clip shorter than one patch is padded, so that a graph for any
    length has to take both ways. Here one column more than needed of patches is made, of the padded clip,
    and those that reach past the clip's end do not count, unless there is no other.

    Shape
    -----
    ``(n, n_mels, frames)`` to a tuple of ``(n, dim)``.
    """

    def __init__(self, teacher: KMeansTeacher):
        super().__init__()
        self.size = teacher.patch_frames
        for name in ("mean", "whiten", "centroids"):
            self.register_buffer(name, getattr(teacher, name))

    def forward(self, features: Tensor) -> tuple[Tensor]:
        frames = features.shape[-1]
        lowest = features.amin((1, 2), keepdim=True)
        padded = torch.cat([features, lowest.expand(-1, N_MELS, self.size - 1)], dim=2)
        patches = torch.stack([padded[..., shift : shift + frames] for shift in range(self.size)], dim=-1)
        patches = patches.permute(0, 2, 1, 3).flatten(2)
        centred = patches - patches.mean(2, keepdim=True)
        standard = centred / (centred.square().mean(2, keepdim=True).sqrt() + 0.1)
        response = F.normalize((standard - self.mean) @ self.whiten, dim=2) @ self.centroids.T
        response = torch.relu(response - response.mean(2, keepdim=True))
        # A clip shorter than a patch has one patch, the first.
        valid = torch.ones_like(response[:1, :, 0]).cumsum(1)
        valid = ((valid <= frames - self.size + 1) | (valid == 1)).to(response.dtype).unsqueeze(2)
        count = valid.sum(1, keepdim=True)
        mean = (response * valid).sum(1, keepdim=True) / count
        spread = ((response - mean).square() * valid).sum(1, keepdim=True) / count
        pooled = [mean, (response * valid).amax(1, keepdim=True), spread.sqrt()]
        return (torch.cat([part.squeeze(1) for part in pooled], dim=1),)
