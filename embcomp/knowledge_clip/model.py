"""The trained pair of encoders: clips and texts as points of one space."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from embcomp.config import AudioConfig, parse, read_choice, to_dict
from embcomp.errors import ArtifactError, DataError, EmbcompError
from embcomp.knowledge_clip.text_encoder import TextEncoder
from embcomp.losses import prototype_logits
from embcomp.storage.artifact import check_tensors, load_artifact, save_artifact
from embcomp.students import StudentOutput, StudentSettings, build_student
from embcomp.students.classifier import Classifier

BATCH = 256
PARTS = ("audio_encoder", "text_encoder")


@dataclass
class KnowledgeClip:
    """An audio encoder and a text encoder of the same width.

    Attributes
    ----------
    audio_encoder : nn.Module
        A student without its classifier.
    text_encoder : TextEncoder
    audio : AudioConfig
        How its input is made.
    student : StudentSettings
    temperature : float
        Divides cosines, as learned.
    seen : frozenset of str
        Content hashes of the clips it was trained on.
    about : dict
        Free provenance.

    Examples
    --------
    >>> from embcomp.students import DSCNN
    >>> model = KnowledgeClip.new(AudioConfig(), DSCNN.Settings(width=16), seed=0)
    >>> model.embed_text(["a dog barks"]).shape
    torch.Size([1, 64])
    """

    audio_encoder: nn.Module
    text_encoder: TextEncoder
    audio: AudioConfig
    student: StudentSettings
    temperature: float = 0.07
    seen: frozenset[str] = frozenset()
    about: dict = field(default_factory=dict)

    @classmethod
    def new(cls, audio: AudioConfig, student: StudentSettings, seed: int, text: Mapping[str, int] | None = None):
        """Random weights drawn from `seed`; `text` holds sizes of the `TextEncoder` other than its width."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_student(student, 1, audio.n_mels)
            network.classify = nn.Identity()
            encoder = TextEncoder(**{**(text or {}), "width": network.embedding_width})
        return cls(network, encoder, audio, student)

    @torch.inference_mode()
    def embed_audio(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Log-mels (n, n_mels, frames) and valid frames (n,) to embeddings (n, width), of any length."""
        self.audio_encoder.eval()
        device = next(self.audio_encoder.parameters()).device
        pieces = [
            self.audio_encoder(part.to(device), valid.to(device)).embedding.float().cpu()
            for part, valid in zip(features.split(BATCH), lengths.split(BATCH))
        ]
        return torch.cat(pieces)

    @torch.inference_mode()
    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """Texts to embeddings (n, width), of any length."""
        self.text_encoder.eval()
        return self.text_encoder(texts).cpu()

    def class_vectors(self, prompts: Mapping[str, Sequence[str]]) -> Tensor:
        """Mean of the unit embeddings of each class's prompts, (classes, width).

        CLIP's ensemble of prompts (Radford et al. 2021, arXiv 2103.00020, section 3.1.4).
        """
        for name, texts in prompts.items():
            if isinstance(texts, str) or not texts:
                raise DataError(f"class {name!r} needs a list of one prompt or more, not {texts!r}")
        return torch.stack([F.normalize(self.embed_text(texts), dim=1).mean(0) for texts in prompts.values()])

    def predict(self, features: Tensor, lengths: Tensor, prompts: Mapping[str, Sequence[str]]) -> Tensor:
        """Probability of each class of `prompts`, for clips as in `embed_audio`: zero-shot, (n, classes)."""
        vectors = self.class_vectors(prompts)
        return prototype_logits(self.embed_audio(features, lengths), vectors, self.temperature).softmax(1)

    def classifier(self, prompts: Mapping[str, Sequence[str]]) -> Classifier:
        """The same as a `Classifier`, for `embcomp.predict` on files and `embcomp.evaluate` on a manifest."""
        network = _Prompted(self.audio_encoder, self.class_vectors(prompts), self.temperature).eval()
        about = {"method": "knowledge_clip", **self.about}
        return _ByPrompts(network, tuple(prompts), self.audio, self.student, seen=self.seen, about=about)

    def save(self, path: str | os.PathLike, notes: dict | None = None) -> None:
        """Write an artifact folder; `notes` are further JSON files, by name."""
        config = {
            "audio": asdict(self.audio),
            "student": to_dict(self.student),
            "text": self.text_encoder.sizes,
            "temperature": self.temperature,
            "about": self.about,
            "seen": sorted(self.seen),
        }
        save_artifact(path, "knowledge clip", config, self._weights(), notes)

    @classmethod
    def load(cls, path: str | os.PathLike) -> KnowledgeClip:
        """Read an artifact folder; in evaluation mode, on the CPU.

        Raises
        ------
        ArtifactError
            Missing, damaged, or of another kind.
        """
        config, weights = load_artifact(path, "knowledge clip")
        try:
            audio = parse({"audio": config["audio"]}).audio
            # Earlier versions saved the settings of all students with each.
            student = read_choice("student", config["student"], strict=False)
            text, temperature = dict(config["text"]), float(config["temperature"])
            # On the meta device a wrong size costs nothing; the weights then decide.
            with torch.device("meta"):
                expected = cls.new(audio, student, 0, text)._weights()
            seen, about = frozenset(config.get("seen", ())), dict(config.get("about", {}))
        except (KeyError, TypeError, ValueError, RuntimeError, EmbcompError) as error:
            raise ArtifactError(f"{path}/config.json is damaged ({error}); train the model again") from None
        check_tensors(path, weights, expected)
        found = replace(cls.new(audio, student, 0, text), temperature=temperature)
        for part in PARTS:
            own = {name: value for name, value in weights.items() if name.startswith(part)}
            getattr(found, part).load_state_dict({name.removeprefix(f"{part}."): own[name] for name in own})
            getattr(found, part).eval()
        found.seen, found.about = seen, about
        return found

    def _weights(self) -> dict[str, Tensor]:
        return {f"{part}.{name}": value for part in PARTS for name, value in getattr(self, part).state_dict().items()}


class _Prompted(nn.Module):
    """An audio encoder whose logits are cosines with class vectors, divided by the temperature."""

    def __init__(self, encoder: nn.Module, vectors: Tensor, temperature: float):
        super().__init__()
        self.encoder, self.temperature = encoder, temperature
        self.embedding_width = vectors.shape[1]
        self.register_buffer("vectors", vectors)

    def forward(self, features: Tensor, lengths: Tensor) -> StudentOutput:
        output = self.encoder(features, lengths)
        return output._replace(logits=prototype_logits(output.embedding.float(), self.vectors, self.temperature))


class _ByPrompts(Classifier):
    """Classifies by prompts; its weights are those of the `KnowledgeClip`."""

    def save(self, path: str | os.PathLike, notes: dict | None = None) -> None:
        raise ArtifactError("a classifier by prompts is not saved by itself; save the KnowledgeClip and its prompts")
