"""The sections of a run's configuration: every setting with its default and its limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from embcomp.config.choices import ChoiceSettings, read_choice
from embcomp.config.limits import seed_setting, setting

AUGMENTATIONS = ("freq_mask", "time_mask", "roll", "gain", "equaliser", "mixstyle")
OF_VIEWS = ("views", "noise", "view_seed")


@dataclass(frozen=True)
class DataConfig:
    """Which manifests. Paths start from `root`, and `root` from the folder of the config file."""

    root: str = setting("", "where the paths of manifests start; empty: the folder of the config file")
    train: str = setting("manifest.csv", "the manifest to train on, and to test on unseen groups")
    cross: tuple[str, ...] = setting((), "manifests of further data sets: never trained on")
    unlabelled: tuple[str, ...] = setting(
        (),
        "manifests of further clips for the transfer loss and for teachers and compressors that need no label; "
        "their labels are not read, none may be a test clip",
    )
    unlabelled_dtype: str = setting(
        "float32",
        "numbers in which the log-mels of `unlabelled` are kept; float16 takes half the room on disk",
        choices=("float32", "float16"),
    )
    transductive: str = setting(
        "cross",
        "where training.transductive asks for it, whose clips: of the further sets, of the test part of the set trained "
        "on, or both",
        choices=("cross", "in-domain", "both"),
    )
    label_map: str = setting(
        "",
        "CSV from,to: labels of the further sets to those of `train`; or one by name: irmas-openmic, esc50-urbansound8k, ravdess-emodb, words-digits, or one of these turned round",
    )
    skip_bad: bool = setting(False, "leave unreadable clips out, and count them, instead of stopping")
    duplicates: str = setting(
        "refuse", "the same audio in two groups of train: refuse it, or join such groups", choices=("refuse", "join")
    )
    allow_outside: bool = setting(False, "read audio outside a manifest's folder, too")
    inputs: str = setting(
        "auto",
        "what students get: audio; a table of numbers or images, from input_file; none: no student, probes compare "
        "compressors on stored vectors; auto: audio, or none where no row names any",
        choices=("auto", "audio", "table", "images", "none"),
    )
    input_file: str = setting(
        "",
        "table (.csv, .parquet, .npy, .npz) or images (.npy, .npz), from a manifest's folder on; {dataset} is its name",
    )
    columns: tuple[str, ...] = setting((), "of the table, what students see; empty: all that hold numbers")
    group_column: str = setting("", "the column that holds the group, where several may; empty finds it by its name")


@dataclass(frozen=True)
class AudioConfig:
    """Decoding and log-mel; the student's input."""

    sample_rate: int = setting(16_000, "Hz", at_least=1000)
    seconds: float = setting(2.0, "longer clips are cut, shorter ones masked", at_least=0.01, at_most=3600)
    n_fft: int = setting(512, "samples of the Fourier transform", at_least=16)
    win_length: int = setting(512, "samples of the window", at_least=1)
    hop_length: int = setting(320, "samples from one frame to the next", at_least=1)
    n_mels: int = setting(64, "mel bands", at_least=1)
    fmin: float = setting(0.0, "lower edge of the bands, Hz", at_least=0)
    fmax: float = setting(0.0, "upper edge of the bands, Hz; 0 is half the sample rate", at_least=0)
    channel: str = setting(
        "mix",
        "of files with several channels: their mean, one of them, or the loudest",
        choices=("mix", "left", "right", "loudest"),
    )
    ffmpeg: bool = setting(False, "read what libsndfile cannot (m4a, webm, ...) through the program ffmpeg")


@dataclass(frozen=True)
class SplitConfig:
    """How clips are divided into folds, and training rows into fit and validation rows."""

    by: str = setting(
        "group",
        "group: folds that keep groups whole; column: as published; none: train on all",
        choices=("group", "column", "none"),
    )
    folds: int = setting(3, "for group: how many; 0 leaves one group out at a time", at_least=0)
    test: tuple[str, ...] = setting((), "for column: the values to test; empty is each in turn")
    validate: tuple[str, ...] = setting(
        (), "for column: the values to choose students' weights on; empty takes the share `validation` of the rest"
    )
    allow_shared_groups: bool = setting(False, "for column: accept groups that are in training and test splits")
    validation: float = setting(0.2, "share of the training clips, by group", at_least=0.01, at_most=0.5)
    labels_per_class: int = setting(
        0, "keep this many labels per class for training, hide the others; 0 keeps all", at_least=0
    )
    seed: int = seed_setting()
    rotate: bool = setting(False, "train and test one fold per seed, in turn, instead of every fold for every seed")


@dataclass(frozen=True)
class CompressorConfig:
    """What turns an embedding into a target."""

    method: str = setting("linear", "identity, random, pca, lda, linear or mlp")
    objective: str = setting("task", "what linear and mlp are fitted for: reconstruction, task or both")
    dim: int = setting(64, "dimensions of the target", at_least=1)


def _of_unlabelled(name: str, same: float, at_most: float | None = None) -> Any:
    """A field for what an augmentation is for clips without a label."""
    return setting(same, f"`{name}` for clips without a label; -1 is the same", at_least=-1, at_most=at_most)


@dataclass(frozen=True)
class TrainingConfig:
    """The loop."""

    steps: int = setting(1500, "batches to train for", at_least=1)
    epochs: float = setting(0.0, "instead of steps: passes over the labelled clips; 0 uses steps", at_least=0)
    minutes: float = setting(
        0.0, "instead of steps: time to train for; its results depend on the machine's speed; 0 uses steps", at_least=0
    )
    batch_size: int = setting(32, "clips, of all processes together", at_least=2)
    accumulate: int = setting(
        1,
        "batches whose gradients make one step, where a larger batch does not fit in memory; losses that compare the clips "
        "of a batch, and batch norm, see each batch by itself",
        at_least=1,
    )
    processes: int = setting(
        1,
        "that train one student together, each with a share of every batch; results are the same to rounding",
        at_least=1,
    )
    learning_rate: float = setting(2e-3, "the highest, after the warm-up", at_least=0)
    weight_decay: float = setting(1e-2, "of AdamW", at_least=0)
    warmup: float = setting(0.1, "share of the steps", at_least=0, at_most=1)
    evaluate_every: int = setting(25, "steps between two validation scores", at_least=1)
    patience: int = setting(
        0, "evaluations without a better validation score before stopping; 0 never stops", at_least=0
    )
    monitor: str = setting("balanced_accuracy", "the metric on validation clips that the best weights are kept by")
    balanced: bool = setting(True, "draw every class equally often")
    labelled: float = setting(
        0.5,
        "where clips without a label are learned from too: least share of a batch that has one",
        at_least=0,
        at_most=1,
    )
    unlabelled: bool = setting(True, "learn from the clips of data.unlabelled too")
    transductive: str = setting(
        "none",
        "learn also from sets that are tested, without their labels; such scores are in rows of their own. groups: from "
        "half of the groups of each set, the others are scored; clips: from the clips that are scored",
        choices=("none", "groups", "clips"),
    )
    freq_mask: int = setting(12, "SpecAugment: at most this many bands, twice", at_least=0)
    time_mask: float = setting(0.15, "SpecAugment: at most this share of the frames, twice", at_least=0, at_most=0.5)
    roll: float = setting(
        0.1,
        "shift in time by at most this share of the clip; of images in both directions, by this share of their sides",
        at_least=0,
        at_most=0.5,
    )
    gain: float = setting(6.0, "dB, either way", at_least=0)
    equaliser: float = setting(10.0, "dB, either way: a smooth random equaliser over the bands; 0 does not", at_least=0)
    mixstyle: float = setting(
        0.0, "share of the clips whose band statistics are mixed with another clip's", at_least=0, at_most=1
    )
    unlabelled_freq_mask: int = _of_unlabelled("freq_mask", -1)
    unlabelled_time_mask: float = _of_unlabelled("time_mask", -1.0, 0.5)
    unlabelled_roll: float = _of_unlabelled("roll", -1.0, 0.5)
    unlabelled_gain: float = _of_unlabelled("gain", -1.0)
    unlabelled_equaliser: float = _of_unlabelled("equaliser", -1.0)
    unlabelled_mixstyle: float = _of_unlabelled("mixstyle", -1.0, 1)
    mixup: float = setting(
        0.0, "a of Beta(a, a): mix inputs, labels and targets of pairs of clips; 0 does not", at_least=0
    )
    views: int = setting(
        0,
        "changed versions of each training clip that the teacher embeds, too; gain, equaliser, roll and noise then change "
        "the sound of these, not log-mels; 0: the target is always that of the clip itself",
        at_least=0,
        at_most=100,
    )
    noise: float = setting(
        0.0,
        "dB, of views: white noise so far below the clip, up to 20 dB farther; 0 adds none",
        at_least=0,
        at_most=120,
    )
    view_seed: int = seed_setting("of views")
    averaging: float = setting(
        0.0,
        "decay of a moving average of the weights, which then is the student; 0 keeps the last weights",
        at_least=0,
        at_most=0.99999,
    )
    amp: bool = setting(False, "bfloat16 autocast")
    checkpoint_every: int = setting(100, "steps after which an interrupted training goes on", at_least=1)
    log: str = setting(
        "none", "where curves go while it trains, beside history.json", choices="embcomp.training.tracking:TRACKERS"
    )

    def key(self) -> dict[str, Any]:
        """What a student depends on; without views as before there were any, so that earlier students are found."""
        settings = asdict(self)
        unused = () if self.views else OF_VIEWS
        unused += ("processes", "log", *("accumulate",) * (self.accumulate == 1))
        unused += ("transductive",) * (self.transductive == "none")
        own = [f"unlabelled_{name}" for name in AUGMENTATIONS]
        unused += tuple(name for name in own if settings[name] < 0)
        return {name: value for name, value in settings.items() if name not in unused}

    def of_unlabelled(self) -> TrainingConfig:
        """The settings as they hold for clips without a label, whose augmentation may be another."""
        own = {name: getattr(self, f"unlabelled_{name}") for name in AUGMENTATIONS}
        return replace(self, **{name: value for name, value in own.items() if value >= 0})


@dataclass(frozen=True)
class EvaluationConfig:
    """Scores and their intervals."""

    bootstrap: int = setting(1000, "resamplings of the groups", at_least=1)
    confidence: float = setting(0.95, "of the intervals", at_least=0.01, at_most=0.9999)
    seed: int = seed_setting()
    threshold: float = setting(
        0.5, "several labels: a class is predicted from this probability on", at_least=0.001, at_most=0.999
    )
    all_pairs: bool = setting(
        False,
        "compare all variants with each other, not only with the first without a teacher; p is corrected for all of them",
    )
    probe: bool = setting(True, "also score regressions and neighbours on embeddings, targets, students and log-mels")
    shifts: tuple[str, ...] = setting(
        (), "students also on changed test clips: noise:20 and gain:-12 (dB), band:4000 (Hz), delay:0.1 (s)"
    )
    reestimate: bool = setting(
        True, "further sets: also with normalisation statistics of their clips, without their labels"
    )


def _default(section: str):
    return field(default_factory=lambda: read_choice(section, {}))


@dataclass(frozen=True)
class VariantConfig:
    """One row of the comparison. What `teacher`, `transfer` and `student` may hold is said by what they choose."""

    name: str = setting("compressed", "in tables")
    teacher: ChoiceSettings = _default("teacher")
    compressor: CompressorConfig = field(default_factory=CompressorConfig)
    transfer: ChoiceSettings = _default("transfer")
    student: ChoiceSettings = _default("student")
    training: TrainingConfig = field(default_factory=TrainingConfig)


OVERRIDABLE = tuple(item.name for item in fields(VariantConfig) if item.name != "name")


@dataclass(frozen=True)
class RunConfig:
    """A whole run: the TOML file, resolved.

    Examples
    --------
    >>> from embcomp.config import parse
    >>> config = parse({"student": {"width": 32}, "variants": [{"name": "small"}]})
    >>> config.variants[0].student.width
    32
    """

    name: str = setting("run", "in reports")
    seeds: tuple[int, ...] = setting((0, 1, 2), "one student of each variant and fold for each")
    device: str = setting("cpu", "cpu, cuda, cuda:1; mps, the GPU of a Mac")
    threads: int = setting(1, "per worker", at_least=1)
    workers: int = setting(0, "processes; 0 is one per free core, of a Ray cluster one per core", at_least=0)
    engine: str = setting(
        "local",
        "where stages run: local, processes of this machine; ray, the cluster that RAY_ADDRESS names, or one on this machine",
        choices="embcomp.engines:ENGINES",
    )
    data: DataConfig = field(default_factory=DataConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    variants: tuple[VariantConfig, ...] = field(default_factory=lambda: (VariantConfig(),))
