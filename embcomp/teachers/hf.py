"""Teachers of the Hugging Face hub, or of a folder in its form, by way of transformers."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, EmbcompError, TeacherError, nearest
from embcomp.extras import imported, missing
from embcomp.teachers.hf_families import FAMILIES, Family
from embcomp.teachers.layers import LayerSettings, batches, check_layers, placed, weights_key
from embcomp.teachers.pooled import PooledTeacher
from embcomp.teachers.torchaudio_import import shield


class HuggingFaceTeacher(PooledTeacher):
    """An audio model of transformers behind its own feature extractor.

    Parameters
    ----------
    settings : LayerSettings
        Its argument is an id of the hub or a folder, with ``@revision`` where the hub's newest is not meant.
    family : Family
    revision : str
        The commit that the hub gave; empty for a folder.

    Notes
    -----
    No code of a checkpoint is run, and a checkpoint that lacks weights of the model is refused. With
    ``HF_HUB_OFFLINE=1`` only what is in the hub's cache is used.
    """

    name = "hf"
    summary = "wav2vec 2.0, HuBERT, WavLM, MERT, AST, CLAP, Whisper: hf:ID[@REVISION], hf:FOLDER"

    @dataclass(frozen=True)
    class Settings(LayerSettings):
        def conflict(self) -> str:
            if not self.argument:
                return "the teacher 'hf' needs a checkpoint: hf:ID, hf:ID@REVISION or hf:FOLDER"
            return super().conflict()

    def __init__(self, settings: LayerSettings, family: Family, revision: str = ""):
        self.settings, self.family, self.revision = settings, family, revision
        self.sample_rate = int(family.extractor.sampling_rate)
        self.width, self.longest, self.shortest = family.width, family.longest, family.shortest
        if self.longest and settings.window * self.sample_rate > self.longest:
            raise ConfigError(
                f"teacher.window is {settings.window:g} s; {settings.spec} takes {self.longest / self.sample_rate:g} s "
                "at most"
            )
        if family.states == 1 and (settings.layer != -1 or settings.layer_weights):
            raise ConfigError(f"{settings.spec} gives one vector and has no layers to choose; leave teacher.layer out")
        check_layers(settings, family.states)

    @classmethod
    def missing(cls) -> str:
        return missing("transformers", extra="hf")

    @classmethod
    def open(cls, settings: LayerSettings, manifest: Manifest | None = None) -> HuggingFaceTeacher:
        # transformers imports torchaudio where it is installed, whether it works or not.
        shield()
        transformers = imported("transformers", f"{settings.spec} needs", extra="hf")
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry
        source, revision = _source(settings.argument)
        try:
            commit = _commit(transformers, source, revision)
            where = {"revision": commit or revision} if commit or revision else {}
            about, _ = transformers.PretrainedConfig.get_config_dict(source, **where)
            family = _family(settings.spec, about)
            model, report = _model(transformers, family, source, about, where)
            extractor = _extractor(transformers, family, source, where)
        except EmbcompError:
            raise
        except Exception as error:  # transformers lets through whatever the formats and the hub raise
            raise TeacherError(_why(settings.spec, source, error)) from None
        lacking = [key for key in report["missing_keys"] if "masked_spec_embed" not in key]
        if lacking:
            raise TeacherError(
                f"{settings.spec} lacks {len(lacking)} weights of {family.classname}, {sorted(lacking)[0]} first: "
                "they would be random; is it the checkpoint of another model?"
            )
        return cls(settings, family(placed(model.float(), settings.device), extractor, settings), commit)

    def content(self) -> object:
        about = self.family.extractor.to_dict()
        settings = self.settings
        layers = list(settings.layer_weights) or [settings.layer % self.family.states]
        return [
            *(weights_key(self.family.model), json.loads(json.dumps(about, default=str)), layers, self.revision),
            type(self.family).__name__,
        ]

    def vectors(self, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: list[np.ndarray] = [np.empty(0)] * len(waveforms)
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")  # WavLM's own
            for some in batches(waveforms, self.settings.at_once, self.family.mixed_lengths):
                for row, vectors in zip(some, self.family.rows([waveforms[row] for row in some])):
                    found[row] = vectors.float().cpu().numpy()
        return found


def _source(argument: str) -> tuple[str, str]:
    """Folder or id, and revision."""
    if Path(argument).is_dir():
        return str(Path(argument)), ""
    source, _, revision = argument.partition("@")
    if Path(source).is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise TeacherError(f"no folder at {source}: check the path; an id of the hub is OWNER/NAME")
    return source, revision


def _commit(transformers: Any, source: str, revision: str) -> str:
    """The commit that the hub means by `revision`, by where its cache lays the file; empty for a folder."""
    file = Path(transformers.utils.cached_file(source, "config.json", revision=revision or None))
    return file.parent.name if file.parent.parent.name == "snapshots" else ""


def _family(spec: str, about: dict[str, Any]) -> type[Family]:
    kind = str(about.get("model_type", ""))
    if kind not in FAMILIES:
        raise TeacherError(f"{spec} is a model of type {kind!r}, which is not known here; {nearest(kind, FAMILIES)}")
    if about.get("feature_extractor_cqt"):
        raise TeacherError(f"{spec} adds constant-Q features, which only its own code computes; take another MERT")
    return FAMILIES[kind]


def _model(transformers: Any, family: type[Family], source: str, about: dict[str, Any], where: dict[str, str]):
    kind = getattr(transformers, family.classname)
    config = kind.config_class.from_dict(about) if about["model_type"] == "mert_model" else None
    options = {"config": config} if config is not None else {}
    return kind.from_pretrained(source, output_loading_info=True, **options, **where)


def _extractor(transformers: Any, family: type[Family], source: str, where: dict[str, str]) -> Any:
    kinds = {"Whisper": "WhisperFeatureExtractor", "Patches": "ASTFeatureExtractor", "Clap": "ClapFeatureExtractor"}
    kind = getattr(transformers, kinds.get(family.__name__, "Wav2Vec2FeatureExtractor"))
    return kind.from_pretrained(source, **where)


def _why(spec: str, source: str, error: BaseException) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if Path(source).is_dir():
        return (
            f"{spec} does not open ({reason}); a folder needs config.json, preprocessor_config.json and "
            "model.safetensors, as save_pretrained writes them"
        )
    return (
        f"{spec} does not open ({reason}); check the id and the network, or name a folder that holds it, hf:FOLDER; "
        "offline, what was fetched before is used with HF_HUB_OFFLINE=1"
    )
