"""Teachers that speak the HEAR interface: a module with load_model, get_scene_embeddings and the like."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from embcomp.config import setting
from embcomp.data.manifest import Manifest
from embcomp.errors import TeacherError
from embcomp.extras import imported
from embcomp.teachers.catalogue import catalogue
from embcomp.teachers.describe import sha256
from embcomp.teachers.layers import batches, weights_key
from embcomp.teachers.own_modules import own_module
from embcomp.teachers.pooled import PooledSettings, PooledTeacher

MEMBERS = ("load_model", "get_scene_embeddings", "get_timestamp_embeddings")


class HearTeacher(PooledTeacher):
    """A module of the HEAR benchmark (Turian et al. 2022, arXiv 2203.03022), with PyTorch inside.

    A clip gets its scene embedding; with frames or a pooling, its timestamp embeddings are pooled.

    Parameters
    ----------
    settings : PooledSettings
        Its argument is the module, ``hear21passt.base``, or ``MODULE:WEIGHTS``.
    module : module
    model : any
        What its ``load_model`` gave.
    """

    name = "hear"
    summary = "modules with the interface of the HEAR benchmark: hear:MODULE, hear:MODULE:WEIGHTS"
    runs_code = True

    @dataclass(frozen=True)
    class Settings(PooledSettings):
        batch: int = setting(8, "clips in one call", at_least=1)

        def conflict(self) -> str:
            return "" if self.argument else "the teacher 'hear' needs a module: hear:MODULE"

    def __init__(self, settings: PooledSettings, module: ModuleType, model: Any):
        self.settings, self._module, self._model = settings, module, model
        self._scenes = not settings.pooling and settings.frames == 1
        try:
            self.sample_rate = int(model.sample_rate)
            self.width = int(model.scene_embedding_size if self._scenes else model.timestamp_embedding_size)
        except AttributeError as error:
            raise TeacherError(
                f"{settings.spec}: what load_model gives lacks {error.name}, which HEAR asks for"
            ) from None

    @classmethod
    def open(cls, settings: PooledSettings, manifest: Manifest | None = None) -> HearTeacher:
        name, _, weights = settings.argument.partition(":")
        of_catalogue = (one for one in catalogue().values() if (one.kind, one.argument) == (cls.name, name))
        package = next((one.package for one in of_catalogue), "")
        module = imported(name, f"{settings.spec} needs", package) if package else own_module(name, settings.spec)
        if lacking := [member for member in MEMBERS if not hasattr(module, member)]:
            raise TeacherError(f"{settings.spec}: {name} lacks {', '.join(lacking)}, which HEAR asks for")
        if weights and not Path(weights).is_file():
            raise TeacherError(f"{settings.spec}: no weights at {weights}; check the path")
        try:
            model = module.load_model(weights) if weights else module.load_model()
        except Exception as error:  # somebody else's code
            reason = (str(error).strip().splitlines() or [""])[0]
            raise TeacherError(f"{settings.spec}: load_model failed ({type(error).__name__}: {reason})") from error
        return cls(settings, module, model)

    def content(self) -> object:
        name, _, weights = self.settings.argument.partition(":")
        if isinstance(self._model, nn.Module):
            key = weights_key(self._model)
        else:
            key = sha256(Path(weights)) if weights else ""
        return [name, _version(self._module), key, self._scenes]

    def vectors(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: list[np.ndarray] = [np.empty(0)] * len(waveforms)
        # The interface knows no lengths, so only clips of one length go together.
        for some in batches(waveforms, self.settings.batch, mixed_lengths=False):
            audio = torch.from_numpy(np.stack([waveforms[row] for row in some]))
            if isinstance(self._model, nn.Module) and (first := next(self._model.parameters(), None)) is not None:
                audio = audio.to(first.device)
            with torch.inference_mode():
                if self._scenes:
                    read = self._module.get_scene_embeddings(audio, self._model)[:, None]
                else:
                    read, _ = self._module.get_timestamp_embeddings(audio, self._model)
            for row, vectors in zip(some, read.float().cpu().numpy()):
                found[row] = vectors
        return found


def _version(module: ModuleType) -> str:
    """Of the package that a module is from, or its source's checksum."""
    try:
        return importlib.metadata.version(module.__name__.partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return sha256(Path(module.__file__)) if getattr(module, "__file__", None) else ""
