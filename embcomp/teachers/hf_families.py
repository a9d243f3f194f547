"""How the audio models of transformers take clips, and which of their vectors belong to the sound of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from embcomp.teachers.layers import LayerSettings, mixed


class Family(ABC):
    """Models of one kind, behind their own feature extractor.

    Parameters
    ----------
    model : PreTrainedModel
    extractor : FeatureExtractionMixin
    settings : LayerSettings

    Attributes
    ----------
    classname : str
        The class of transformers that is loaded.
    states : int
        Hidden states; 1 where there is one output and no choice.
    width : int
    longest, shortest : int
        Samples that the model takes at once; 0 is no limit.
    mixed_lengths : bool
        Whether clips of different length may share a batch.
    """

    classname: ClassVar[str]
    longest = 0
    shortest = 0
    mixed_lengths = True

    def __init__(self, model: Any, extractor: Any, settings: LayerSettings):
        self.model, self.extractor, self.settings = model, extractor, settings
        self.config = model.config
        self.width = self.config.hidden_size
        self.states = self.config.num_hidden_layers + 1

    @abstractmethod
    def rows(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        """Vectors over time (time, width) of each clip, none of them of padding."""

    def _features(self, waveforms: Sequence[np.ndarray], **options: Any) -> Any:
        given = self.extractor(
            list(waveforms), sampling_rate=self.extractor.sampling_rate, return_tensors="pt", **options
        )
        return given.to(self.model.device)

    def _read(self, output: Any) -> Tensor:
        # The last hidden state is the one behind the final normalisation.
        return mixed([*output.hidden_states[:-1], output.last_hidden_state], self.settings)


class Waveforms(Family):
    """wav2vec 2.0, HuBERT, WavLM, data2vec, MERT: convolutions over the waveform, then a transformer."""

    def __init__(self, model: Any, extractor: Any, settings: LayerSettings):
        super().__init__(model, extractor, settings)
        reach, stride = 1, 1
        for kernel, step in zip(self.config.conv_kernel, self.config.conv_stride):
            reach, stride = reach + (kernel - 1) * stride, stride * step
        self.shortest = reach
        # Models with a group norm over time were trained without masks: padding would change what they hear.
        self.mixed_lengths = bool(extractor.return_attention_mask)

    def rows(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        given = self._features(waveforms, padding=True, return_attention_mask=self.mixed_lengths)
        output = self.model(given.input_values, attention_mask=given.get("attention_mask"), output_hidden_states=True)
        lengths = torch.tensor([len(wave) for wave in waveforms])
        counts = self.model._get_feat_extract_output_lengths(lengths).tolist()
        return [row[: max(int(count), 1)] for row, count in zip(self._read(output), counts)]


class Wav2Vec2(Waveforms):
    classname = "Wav2Vec2Model"


class Hubert(Waveforms):
    classname = "HubertModel"


class WavLM(Waveforms):
    classname = "WavLMModel"


class Data2Vec(Waveforms):
    """data2vec: several convolutions tell positions, and the second of them carries padding into the clip."""

    classname = "Data2VecAudioModel"

    def __init__(self, model: Any, extractor: Any, settings: LayerSettings):
        super().__init__(model, extractor, settings)
        self.mixed_lengths = False


class Whisper(Family):
    """Whisper's encoder: log-mels, padded to the length that it was trained with."""

    classname = "WhisperModel"

    def __init__(self, model: Any, extractor: Any, settings: LayerSettings):
        super().__init__(model.get_encoder(), extractor, settings)
        self.width, self.states = self.config.d_model, self.config.encoder_layers + 1
        self.longest = extractor.n_samples

    def rows(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        given = self._features(waveforms)
        output = self.model(given.input_features, output_hidden_states=True)
        step = 2 * self.extractor.hop_length  # the second convolution halves the frames
        return [row[: -(-len(wave) // step)] for row, wave in zip(self._read(output), waveforms)]


class Patches(Family):
    """The audio spectrogram transformer: patches of log-mels, averaged over the bands.

    With no pooling and no layer asked for, it gives what it was trained to give: the mean of its two class tokens.
    """

    classname = "ASTModel"
    SHIFT, LENGTH = 0.01, 0.025  # s: of the frames that its extractor always makes

    def __init__(self, model: Any, extractor: Any, settings: LayerSettings):
        super().__init__(model, extractor, settings)
        self.longest = round(extractor.max_length * self.SHIFT * extractor.sampling_rate)
        self.shortest = round(self.LENGTH * extractor.sampling_rate)
        about = self.config
        self._bands = (about.num_mel_bins - about.patch_size) // about.frequency_stride + 1
        self._token = not settings.pooling and settings.frames == 1 and settings.layer == -1
        self._token &= not settings.layer_weights

    def rows(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        output = self.model(self._features(waveforms).input_values, output_hidden_states=True)
        if self._token:
            return list(output.pooler_output[:, None])
        patches = self._read(output)[:, 2:]
        over_time = patches.reshape(len(patches), self._bands, -1, self.width).mean(1)
        rate = self.extractor.sampling_rate
        frames = [1 + (len(wave) - round(self.LENGTH * rate)) // round(self.SHIFT * rate) for wave in waveforms]
        return [row[: -(-count // self.config.time_stride)] for row, count in zip(over_time, frames)]


class Clap(Family):
    """CLAP's audio side: one vector per clip in the space that it shares with captions."""

    classname = "ClapAudioModelWithProjection"

    def __init__(self, model: Any, extractor: Any, settings: LayerSettings):
        super().__init__(model, extractor, settings)
        self.width, self.states = self.config.projection_dim, 1
        self.longest = extractor.nb_max_samples

    def rows(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        features = self._features(waveforms).input_features
        # The extractor calls a clip drawn at random longer than it is; none is.
        longer = torch.zeros(len(features), 1, dtype=torch.bool, device=features.device)
        return list(self.model(features, is_longer=longer).audio_embeds[:, None])


# By the checkpoint's model_type. MERT is HuBERT at 24 kHz; its own code adds an option that no checkpoint uses.
FAMILIES: dict[str, type[Family]] = {
    "wav2vec2": Wav2Vec2,
    "hubert": Hubert,
    "mert_model": Hubert,
    "wavlm": WavLM,
    "data2vec-audio": Data2Vec,
    "whisper": Whisper,
    "audio-spectrogram-transformer": Patches,
    "clap": Clap,
    "clap_audio_model": Clap,
}
