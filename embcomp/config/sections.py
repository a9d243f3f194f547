"""Every setting and its default, once; read from TOML, checked, and written back resolved."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from embcomp.config.ranges import check
from embcomp.config.schema import build, to_dict, toml_value
from embcomp.errors import ConfigError


@dataclass(frozen=True)
class DataConfig:
    """Which manifests. Paths start from `root`, and `root` from the folder of the config file."""

    root: str = ""
    train: str = "manifest.csv"
    cross: tuple[str, ...] = ()  # manifests of further data sets: never trained on
    label_map: str = ""  # CSV from,to: labels of the further sets to those of `train`; or irmas-openmic, openmic-irmas
    skip_bad: bool = False  # leave unreadable clips out, and count them, instead of stopping
    duplicates: str = (
        "refuse"  # the same audio in two groups of train: refuse, by name; join keeps such groups together
    )
    allow_outside: bool = False  # read audio outside a manifest's folder, too


@dataclass(frozen=True)
class AudioConfig:
    """Decoding and log-mel; the student's input."""

    sample_rate: int = 16_000  # Hz
    seconds: float = 2.0  # longer clips are cut, shorter ones masked
    n_fft: int = 512  # samples
    win_length: int = 512  # samples
    hop_length: int = 320  # samples
    n_mels: int = 64
    fmin: float = 0.0  # Hz
    fmax: float = 0.0  # Hz; 0 is half the sample rate


@dataclass(frozen=True)
class SplitConfig:
    """How clips are parted into folds, and training rows into fit and validation rows."""

    by: str = "group"  # group: folds that keep groups whole; column: as published; none: train on all
    folds: int = 3  # for group: how many; 0 leaves one group out at a time
    test: tuple[str, ...] = ()  # for column: the values to test; empty is each in turn
    allow_shared_groups: bool = False
    validation: float = 0.2  # share of the training clips, by group
    labels_per_class: int = 0  # keep this many labels per class for training, hide the others; 0 keeps all
    seed: int = 0
    rotate: bool = False  # train and test one fold per seed, in turn, instead of every fold for every seed


@dataclass(frozen=True)
class TeacherConfig:
    """The frozen model, and what the embedded k-means teacher is made of."""

    spec: str = "kmeans"  # kind or kind:argument
    patch_frames: int = 12
    whitened: int = 128
    centroids: int = 512
    patches: int = 60_000  # log-mel patches to learn from
    frames: int = 1  # vectors per clip, each of an equal share of its time
    seed: int = 0


@dataclass(frozen=True)
class CompressorConfig:
    """What turns an embedding into a target."""

    method: str = "linear"
    objective: str = "task"
    dim: int = 64


@dataclass(frozen=True)
class TransferConfig:
    """How targets enter the student's loss."""

    method: str = "compressed"
    distance: str = "distance_correlation"  # or cosine_distance_difference; cosine, for equal widths
    weight: float = 0.5  # lambda of (1 - lambda) L_pred + lambda L_reg; of L_pred + lambda L_clip for clip_*
    schedule: str = "two-stage"  # or joint
    stop_gradient: bool = True  # joint only: no gradient from the student's distance into the compressor
    student_projector: bool = False  # embedding, compressed: a linear map of the student to the target's width
    frames: bool = False  # embedding, embedding_kd: compare over time, with teacher.frames vectors per clip
    student_repeat: int = (
        1  # frames: repeat each of the student's so often, to meet the teacher's; -1 averages over time
    )
    teacher_repeat: int = 1  # the same for the teacher's
    stage_weights: tuple[float, ...] = ()  # embedding, embedding_kd: of the student's stages; empty takes its embedding
    temperature: float = 2.0  # logit_kd, embedding_kd: softens the class scores
    kd_weight: float = 0.3  # embedding_kd: share of L_KD in its term, L_dist has the rest
    head: str = "linear"  # regression: from student embedding to teacher space; or mlp
    regression_distance: str = "cosine"  # regression: or mse, l1, kl
    clusters: int = 0  # regression: draw k-means clusters of the teacher's space equally often; 0 does not
    prototypes: int = 100  # clip_prototypes: at most this many clips in a class mean
    contrast_temperature: float = 0.07  # clip_prototypes, clip_samples, clip_teacher: divides the cosines
    concepts: int = 32  # concepts: k-means clusters of the teacher's embeddings
    concept_labels: str = "soft"  # concepts: shares of the clusters, or hard: the nearest
    faithful: bool = False  # logit_kd, embedding_kd, clip_*: as the authors' code, see there


@dataclass(frozen=True)
class StudentConfig:
    """The small network."""

    kind: str = "ds_cnn"  # or as published: cp_resnet, mobile_fcn
    width: int = 64  # ds_cnn
    embedding: int = 64  # ds_cnn; cp_resnet has 512, mobile_fcn 256
    norm: str = "clip"  # input: none, global, clip or band
    dropout: float = 0.1  # ds_cnn, mobile_fcn (published with 0.5)


@dataclass(frozen=True)
class TrainingConfig:
    """The loop."""

    steps: int = 400
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    warmup: float = 0.1  # share of the steps
    evaluate_every: int = 25  # steps
    patience: int = 8  # evaluations without a better validation score before stopping; 0 never stops
    monitor: str = "balanced_accuracy"
    balanced: bool = True  # draw every class equally often
    labelled: float = 0.5  # where clips without a label are learned from too: least share of a batch that has one
    freq_mask: int = 12  # SpecAugment: at most this many bands, twice
    time_mask: float = 0.15  # SpecAugment: at most this share of the frames, twice
    roll: float = 0.1  # shift in time by at most this share of the clip
    gain: float = 6.0  # dB, either way
    mixup: float = 0.0  # a of Beta(a, a): mix inputs, labels and targets of pairs of clips; 0 does not
    amp: bool = False  # bfloat16 autocast
    checkpoint_every: int = 100  # steps


@dataclass(frozen=True)
class EvaluationConfig:
    """Scores and their intervals."""

    bootstrap: int = 1000
    confidence: float = 0.95
    seed: int = 0
    threshold: float = 0.5  # several labels: a class is predicted from this probability on
    probe: bool = True  # also score regressions and neighbours on embeddings, targets, students and log-mels
    shifts: tuple[
        str, ...
    ] = ()  # students also on changed test clips: noise:20 and gain:-12 (dB), band:4000 (Hz), delay:0.1 (s)
    reestimate: bool = True  # further sets: also with normalisation statistics of their clips, without their labels


@dataclass(frozen=True)
class VariantConfig:
    """One row of the comparison: a name, and what differs from the sections above."""

    name: str = "compressed"
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    compressor: CompressorConfig = field(default_factory=CompressorConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)


@dataclass(frozen=True)
class RunConfig:
    """A whole run: the TOML file, resolved.

    Examples
    --------
    >>> config = parse({"student": {"width": 32}, "variants": [{"name": "small"}]})
    >>> config.variants[0].student.width
    32
    """

    name: str = "run"
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str = "cpu"
    threads: int = 1  # per worker
    workers: int = 0  # processes; 0 is one per free core
    data: DataConfig = field(default_factory=DataConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    compressor: CompressorConfig = field(default_factory=CompressorConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    variants: tuple[VariantConfig, ...] = (VariantConfig(),)


@dataclass(frozen=True)
class KnowledgeClipConfig:
    """The objective of `embcomp.knowledge_clip`; no section of a run."""

    alpha: float = 1.0  # of the text encoder's distance from the text teacher
    beta: float = 0.01  # of the concepts
    gamma: float = 1.0  # of the contrast
    temperature: float = 0.07  # of the contrast, at the start; it is learned
    concepts: int = 16  # k-means clusters of the captions
    concept_labels: str = "soft"  # or hard
    reduction: str = "mean"  # over the captions of a batch, of the squared distance; or sum, as written in the paper


OVERRIDABLE = tuple(item.name for item in fields(VariantConfig) if item.name != "name")


def load(path: str | os.PathLike, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a run's TOML file.

    Parameters
    ----------
    overrides : iterable of str
        ``section.key=value`` each; the value is TOML, or a bare string. A
        section's override also reaches variants that set the same key.

    Raises
    ------
    ConfigError
        The file is missing or not TOML, a key is unknown (the nearest is named),
        or a value has the wrong type or range.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    given_root = False
    for override in overrides:
        key, value = _override(override)
        given_root |= key == ["data", "root"] or (key == ["data"] and isinstance(value, dict) and "root" in value)
        _assign(content, key, value, override)
    if not given_root and isinstance(content.get("data", {}), dict):
        # A root on the command line starts where the user stands; one in the file starts at the file.
        data = content.setdefault("data", {})
        if isinstance(data.get("root", ""), str):
            data["root"] = str(path.parent / data.get("root", ""))
    return parse(content, str(path))


def parse_overrides(overrides: Iterable[str]) -> RunConfig:
    """The defaults, with ``section.key=value`` changes; see `load`."""
    content: dict[str, Any] = {}
    for override in overrides:
        key, value = _override(override)
        _assign(content, key, value, override)
    return parse(content, "--set")


def parse(content: Mapping[str, Any], source: str = "the configuration") -> RunConfig:
    """Build a RunConfig from nested dicts; see `load`."""
    content = dict(content)
    variants = content.pop("variants", None)
    config = build(RunConfig, content, source, "")
    shared = {name: getattr(config, name) for name in OVERRIDABLE}
    if variants is None:
        variants = [{"name": config.transfer.method}]
    if not isinstance(variants, list) or not variants or not all(isinstance(item, dict) for item in variants):
        raise ConfigError(f"{source}: variants must be a list of tables ([[variants]])")
    resolved = tuple(
        build(VariantConfig, item, source, f"variants[{number}].", shared) for number, item in enumerate(variants)
    )
    names = [variant.name for variant in resolved]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{source}: two variants are called {name!r}; give each its own name")
    config = dataclasses.replace(config, variants=resolved)
    check(config, source, OVERRIDABLE)
    return config


def to_toml(config: RunConfig) -> str:
    """The resolved config as TOML; reading it back gives an equal config."""
    plain = to_dict(config)
    variants = plain.pop("variants")
    lines = [f"{key} = {toml_value(value)}" for key, value in plain.items() if not isinstance(value, dict)]
    for section, values in plain.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{key} = {toml_value(value)}" for key, value in values.items())]
    for variant in variants:
        lines += ["", "[[variants]]", f"name = {toml_value(variant['name'])}"]
        for section in OVERRIDABLE:
            changed = {key: value for key, value in variant[section].items() if value != plain[section][key]}
            lines += [f"{section}.{key} = {toml_value(value)}" for key, value in changed.items()]
    return "\n".join(lines) + "\n"


def _override(text: str) -> tuple[list[str], Any]:
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set takes section.key=value, not {text!r}")
    try:
        return parts, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return parts, value


def _assign(content: dict, key: list[str], value: Any, text: str) -> None:
    if key[0] == "variants":
        raise ConfigError(f"--set {text!r}: variants are set in the file; --set a section to change them all")
    if isinstance(value, dict):
        for name, part in value.items():
            _assign(content, [*key, name], part, text)
        return
    table = content
    for part in key[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {text!r}: {part!r} is not a section")
    table[key[-1]] = value
    for variant in content.get("variants", []) if isinstance(content.get("variants"), list) else []:
        section = variant.get(key[0]) if isinstance(variant, dict) else None
        if isinstance(section, dict) and len(key) == 2 and key[1] in section:
            section[key[1]] = value
