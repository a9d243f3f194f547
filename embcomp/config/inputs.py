"""What students get instead of audio, a table or images: which settings go with it, and which do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from embcomp.config.choices import SECTIONS, Choice
from embcomp.config.sections import AudioConfig, RunConfig, VariantConfig
from embcomp.errors import ConfigError

STUDENT_OF = {"table": "mlp", "images": "cnn"}  # by default
WORDS = {"audio": "audio", "table": "tables", "images": "images"}
# Augmentations of log-mels; `roll` shifts images, too.
AUDIO_ONLY = ("freq_mask", "time_mask", "gain", "equaliser", "mixstyle", "views", "noise")


def off_by_default(inputs: str) -> dict[str, Any]:
    """The settings of training that have no meaning for these inputs, as they are then by default."""
    if inputs not in STUDENT_OF:
        return {}
    names = AUDIO_ONLY + ("roll",) * (inputs == "table")
    return dict.fromkeys(names, 0.0) | {"freq_mask": 0, "views": 0}


def taken_by(choice: type[Choice]) -> tuple[str, ...]:
    """What a student takes: some of ``audio``, ``table`` and ``images``."""
    return getattr(choice, "takes", ("audio",))


def check_inputs(config: RunConfig, source: str, names: Sequence[str]) -> None:
    """Refuse what does not go with ``data.inputs``.

    Parameters
    ----------
    source : str
        Where the configuration comes from, for messages.
    names : sequence of str
        The place of each variant in it.

    Raises
    ------
    ConfigError
        A student does not fit its input, and those that fit are named; or a setting has no meaning with it.
    """
    data = config.data
    kind = "audio" if data.inputs == "auto" else data.inputs
    if kind in WORDS:
        for one, where in zip(config.variants, names):
            _check_student(one, kind, where)
    if kind not in STUDENT_OF:
        for key in ("input_file", "columns"):
            if getattr(data, key):
                raise ConfigError(
                    f'{source}: data.{key} is for data.inputs = "table" or "images"; data.inputs is "{data.inputs}"'
                )
        return
    start = f'{source}: data.inputs = "{kind}"'
    if not data.input_file:
        raise ConfigError(f"{start} needs data.input_file, the file that holds them, from each manifest's folder on")
    if data.columns and kind == "images":
        raise ConfigError(f"{start} has no columns; leave data.columns out")
    if config.evaluation.shifts:
        raise ConfigError(f"{start}, and evaluation.shifts changes audio; leave it out")
    if config.audio != AudioConfig():
        raise ConfigError(f"{start} reads no audio; leave the settings of [audio] out")
    for one, where in zip(config.variants, names):
        _check_variant(one, kind, where)


def _check_student(variant: VariantConfig, kind: str, where: str) -> None:
    choice = variant.student.choice
    if kind in taken_by(choice):
        return
    fits = [name for name, one in SECTIONS["student"].classes.items() if kind in taken_by(one)]
    takes = " and ".join(WORDS[one] for one in taken_by(choice))
    raise ConfigError(
        f"{where}: the student {choice.name!r} takes {takes}, and data.inputs is {kind!r}; for {WORDS[kind]} there is: "
        f"{', '.join(fits)}"
    )


def _check_variant(variant: VariantConfig, kind: str, where: str) -> None:
    for key in off_by_default(kind):
        for name in (key, f"unlabelled_{key}"):
            if getattr(variant.training, name, 0) > 0:
                raise ConfigError(
                    f"{where}: training.{name} changes log-mels, not {WORDS[kind]}; set it to 0 or leave it out"
                )
    transfer, teacher = variant.transfer, variant.teacher
    if transfer.source != "none" and teacher.choice.runs:
        raise ConfigError(
            f"{where}: data.inputs = {kind!r} reads no audio, and the teacher {teacher.spec!r} needs it; take store:PATH"
        )
    if transfer.over_time:
        raise ConfigError(f"{where}: {WORDS[kind]} have no time, and transfer.frames compares over time; leave it out")
