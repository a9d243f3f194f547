"""Teachers among torchaudio's pretrained bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, MissingDependencyError, TeacherError, nearest
from embcomp.extras import install, missing
from embcomp.teachers.layers import LayerSettings, batches, check_layers, mixed, placed, weights_key
from embcomp.teachers.pooled import PooledTeacher
from embcomp.teachers.torchaudio_import import import_torchaudio

SHORTEST = 400  # samples: what the seven convolutions of these models reach over


class TorchaudioTeacher(PooledTeacher):
    """Models of torchaudio (wav2vec 2.0, HuBERT, WavLM); weights come from its server on first use.

    Parameters
    ----------
    settings : LayerSettings
        Its argument is the bundle's name, ``WAV2VEC2_BASE``.
    model : Module
        With ``extract_features(waveforms, lengths)``, which gives what leaves each block.
    sample_rate : int
        Hz.

    Notes
    -----
    Hidden states are numbered as in other teachers, from 1 on: what enters the first block is not given.
    """

    name = "torchaudio"
    summary = "torchaudio's wav2vec 2.0, HuBERT and WavLM: torchaudio:WAV2VEC2_BASE"

    @dataclass(frozen=True)
    class Settings(LayerSettings):
        def conflict(self) -> str:
            if not self.argument:
                return "the teacher 'torchaudio' needs a bundle: torchaudio:WAV2VEC2_BASE"
            return super().conflict()

    def __init__(self, settings: LayerSettings, model: nn.Module, sample_rate: int):
        if settings.layer == 0:
            raise ConfigError(
                "teacher.layer 0, what enters the first block, is not given by torchaudio; take 1 or more"
            )
        self.settings, self.sample_rate, self.shortest = settings, sample_rate, SHORTEST
        self._model = placed(model, settings.device)
        states = self._states([np.zeros(SHORTEST, np.float32)])
        self.width, self.states = states[0].shape[-1], len(states)
        if settings.layer > self.states:
            raise ConfigError(
                f"teacher.layer is {settings.layer}; {settings.spec} has hidden states 1 to {self.states}"
            )
        if settings.layer < 0:
            check_layers(settings, self.states)

    @classmethod
    def missing(cls) -> str:
        if absent := missing("torchaudio", extra="torchaudio"):
            return absent
        try:
            import_torchaudio()
        except (ImportError, OSError) as error:
            return f"torchaudio does not import ({str(error).splitlines()[0]}): {install('torchaudio', 'torchaudio')}"
        return ""

    @classmethod
    def open(cls, settings: LayerSettings, manifest: Manifest | None = None) -> TorchaudioTeacher:
        about = bundle(settings.argument)
        try:
            model = about.get_model()
        except (OSError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise TeacherError(
                f"the weights of {settings.spec} cannot be had ({reason}); check the network, or lay the file "
                "into the cache of torch.hub (TORCH_HOME)"
            ) from None
        return cls(settings, model, int(about.sample_rate))

    def content(self) -> object:
        layers = list(self.settings.layer_weights) or [self._layer()]
        return [weights_key(self._model), layers]

    def _layer(self) -> int:
        layer = self.settings.layer
        return layer if layer > 0 else self.states + 1 + layer

    def _states(self, waveforms: Sequence[np.ndarray]) -> list[torch.Tensor]:
        together = torch.from_numpy(np.stack(waveforms)).to(self.settings.device)
        return self._model.extract_features(together)[0]

    def vectors(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: list[np.ndarray] = [np.empty(0)] * len(waveforms)
        with torch.inference_mode():
            # Only of one length together: zeros behind a clip change what a group norm makes of it.
            for some in batches(waveforms, self.settings.at_once, mixed_lengths=False):
                states = self._states([waveforms[row] for row in some])
                if self.settings.layer_weights:
                    read = mixed(states, self.settings)
                else:
                    read = states[self._layer() - 1]
                for row, vectors in zip(some, read.float().cpu().numpy()):
                    found[row] = vectors
        return found


def bundle(name: str) -> Any:
    """The bundle of this name, its weights not loaded.

    Raises
    ------
    MissingDependencyError
        torchaudio is not installed, or its Python code does not import.
    ConfigError
        It has no such bundle; the nearest is named.
    """
    try:
        pipelines = import_torchaudio().pipelines
    except (ImportError, OSError):
        raise MissingDependencyError(f"torchaudio:{name}: {TorchaudioTeacher.missing()}") from None
    known = [
        one for one in dir(pipelines) if one.isupper() and hasattr(getattr(pipelines, one), "get_model")
    ]  # fmt: skip
    if name not in known:
        raise ConfigError(f"torchaudio has no bundle {name!r}; {nearest(name, known)}")
    return getattr(pipelines, name)
