"""The formats there are: one file each, and the tuple of them."""

from __future__ import annotations

from embcomp.errors import choose
from embcomp.export.base import Format
from embcomp.export.c import CFormat
from embcomp.export.executorch import ExecutorchFormat
from embcomp.export.onnx import OnnxFormat
from embcomp.export.tflite import TfliteFormat

FORMATS: tuple[type[Format], ...] = (OnnxFormat, TfliteFormat, ExecutorchFormat, CFormat)


def format_named(name: str) -> Format:
    """The format that ``--to`` calls `name`.

    Raises
    ------
    ConfigError
        There is none of that name; the nearest is given.
    """
    return choose("format", name, {one.name: one for one in FORMATS})()
