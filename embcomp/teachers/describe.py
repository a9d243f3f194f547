"""Descriptions of model files: a small TOML that says what goes into a chain of models and what comes out."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from embcomp.config import setting
from embcomp.config.schema import check_table, read_keys
from embcomp.errors import ConfigError, TeacherError
from embcomp.teachers.pooling import NAMES

FORMAT = 1
BESIDE = "teacher.toml"
MOST = 1 << 24  # rows or samples: three minutes at 96 kHz
SHIPPED = files("embcomp.teachers") / "descriptions"


@dataclass(frozen=True)
class ModelStep:
    """One model of the chain. Rows are samples before the first model, and vectors over time behind it."""

    file: str = setting("", "beside the description")
    sha256: str = setting("", "of the file; none is not checked")
    input: str = setting("", "tensor that takes the windows; none is the first input")
    output: str = setting("", "tensor that is read; none is the first output")
    window: int = setting(0, "rows; 0 is all there are", at_least=0, at_most=MOST)
    hop: int = setting(
        0, "rows from the start of a window to that of the next; 0 is a whole window", at_least=0, at_most=MOST
    )
    tail: str = setting("drop", "rows behind the last whole window", choices=("drop", "pad"))
    shape: tuple[int, ...] = setting(
        (), "of one window, as the model takes it; none is as it is", at_least=1, at_most=MOST
    )
    transpose: bool = setting(False, "windows go in as (width, time)")
    batch: int = setting(0, "windows in one call; 0 is as many as the graph takes", at_least=0, at_most=4096)
    time: int = setting(-1, "axis of the output that is time; -1: one vector per window", at_least=-1)
    divide: float = setting(1.0, "the output is divided by this,")
    add: float = setting(0.0, "and this is added")
    reset: str = setting("none", "when the model's state is reset", choices=("none", "clip"))
    delegates: bool = setting(True, "TFLite: use the optimised kernels (XNNPACK)")
    constants: dict[str, Any] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What a chain of models takes and gives.

    Attributes
    ----------
    folder : Path
        Where the models lie.
    models : tuple of ModelStep
        In the order they run.
    """

    sample_rate: int = setting(16_000, "Hz", at_least=1000, at_most=384_000)
    format: int = setting(FORMAT, at_least=1)
    name: str = setting("")
    summary: str = setting("")
    licence: str = setting("")
    source: str = setting("")
    shortest: int = setting(0, "samples; shorter clips are padded with zeros to this", at_least=0, at_most=MOST)
    pad: str = setting("end", "where those zeros go", choices=("end", "both"))
    multiply: float = setting(1.0, "samples in [-1, 1] are multiplied by this")
    pooling: tuple[str, ...] = setting(("mean",), "over time", choices=NAMES)
    models: tuple[ModelStep, ...] = ()
    folder: Path = field(default=Path(), metadata={"hidden": True})

    def content(self) -> dict[str, Any]:
        """What decides on the vectors, the files by their content."""
        descriptive = ("name", "summary", "licence", "source", "folder", "pooling", "format")
        plain = {key: value for key, value in asdict(self).items() if key not in descriptive}
        for step, model in zip(plain["models"], self.models):
            step["sha256"] = sha256(self.folder / model.file)
            del step["file"]
        return plain


def sha256(path: Path) -> str:
    """SHA-256 of a file, taken again only if the file changes."""
    try:
        about = path.stat()
        return _sha256(str(path), about.st_ino, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise TeacherError(f"cannot read {path}: {error.strerror or error}") from None


@cache
def _sha256(path: str, *changes: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse_description(text: str, source: str, folder: Path) -> Description:
    """A description from TOML.

    Raises
    ------
    ConfigError
        Not TOML, an unknown key, a wrong value, or no model.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{source}: not TOML: {error}") from None
    steps = content.pop("models", None)
    if not isinstance(steps, list) or not steps:
        raise ConfigError(f"{source}: names no model; give each a table [[models]] with its file")
    read = read_keys(Description, {key: value for key, value in content.items() if key != "folder"}, source, "")
    if read.get("format", FORMAT) != FORMAT:
        raise ConfigError(
            f"{source}: format {read['format']} is of another version of embcomp; this one reads {FORMAT}"
        )
    if not read.get("pooling", True):
        raise ConfigError(f"{source}: pooling must name at least one; mean, for example")
    if "sample_rate" not in content:
        raise ConfigError(f"{source}: sample_rate (Hz) is missing")
    models = tuple(_step(step, source, f"models.{number}") for number, step in enumerate(steps))
    return Description(**read, models=models, folder=folder)


def _step(content: Any, source: str, key: str) -> ModelStep:
    check_table(content, source, key)
    content = dict(content)
    more = {name: content.pop(name, {}) for name in ("constants", "state")}
    for name, table in more.items():
        check_table(table, source, f"{key}.{name}")
    for name, value in more["constants"].items():
        if not all(type(part) in (int, float, bool) for part in (value if isinstance(value, list) else [value])):
            raise ConfigError(f"{source}: {key}.constants.{name} must be a number or a list of numbers, not {value!r}")
    if any(not isinstance(value, str) for value in more["state"].values()):
        raise ConfigError(f"{source}: {key}.state names an output for each input, for example state = 'new_state'")
    step = ModelStep(**read_keys(ModelStep, content, source, f"{key}."), **more)
    if not step.file or Path(step.file).name != step.file:
        raise ConfigError(f"{source}: {key}.file must name a file beside the description, not {step.file!r}")
    if not step.divide:
        raise ConfigError(f"{source}: {key}.divide must not be 0")
    if step.hop and not step.window:
        raise ConfigError(f"{source}: {key}.hop needs a window")
    return step


def shipped() -> Iterator[Description]:
    """Descriptions that come with embcomp, of well-known files."""
    for entry in sorted(SHIPPED.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            yield parse_description(entry.read_text(encoding="utf-8"), f"descriptions/{entry.name}", Path())


def find_description(path: Path, suffix: str) -> Description:
    """The description of a model file, of a folder of models, or the one at `path` itself.

    Beside ``FILE.onnx`` it is ``FILE.toml`` or ``teacher.toml``, in a folder ``teacher.toml``. Where there is
    none, the files may be known by their content.

    Parameters
    ----------
    suffix : str
        Of the models: ".onnx".

    Raises
    ------
    ConfigError
        The description is wrong.
    TeacherError
        Nothing is there, nothing describes it, or a file is not the one that was described.
    """
    if not path.exists():
        raise TeacherError(f"no model at {path}: check the path, or get one with `embcomp teachers fetch`")
    if path.suffix == ".toml":
        beside = [path]
    elif path.is_dir():
        beside = [path / BESIDE]
    else:
        beside = [path.with_suffix(".toml"), path.parent / BESIDE]
    own = next((file for file in beside if file.is_file()), None)
    if own is not None:
        try:
            found = parse_description(own.read_text(encoding="utf-8"), str(own), own.parent)
        except (OSError, UnicodeDecodeError) as error:
            raise TeacherError(f"cannot read {own}: {error}") from None
    else:
        found = _known(path, suffix)
        if found is None:
            raise TeacherError(
                f"nothing says what {path} takes: write {beside[0]} beside it; "
                f"`embcomp teachers describe {path}` prints one to start from"
            )
    for model in found.models:
        if not model.file.endswith(suffix):
            raise TeacherError(f"{model.file} of {own or path} does not end in {suffix}; name the teacher that runs it")
        if model.sha256 and sha256(found.folder / model.file) != model.sha256:
            raise TeacherError(
                f"{found.folder / model.file} is not the file that {own or 'its description'} describes "
                "(its SHA-256 differs): get it again, or correct models.sha256"
            )
    return found


def _known(path: Path, suffix: str) -> Description | None:
    """The shipped description whose models lie at `path`, by content."""
    folder = path if path.is_dir() else path.parent
    for one in shipped():
        there = [folder / model.file for model in one.models]
        if not path.is_dir() and len(there) == 1:
            there = [path]  # a single model may have any name
        if not all(file.is_file() and file.suffix == suffix for file in there) or (
            path.is_file() and path not in there
        ):
            continue
        if all(sha256(file) == model.sha256 for file, model in zip(there, one.models)):
            models = tuple(replace(model, file=file.name) for file, model in zip(there, one.models))
            return replace(one, models=models, folder=folder)
    return None
