"""The formats there are."""

from __future__ import annotations

from embcomp.export.base import Format
from embcomp.export.onnx import OnnxFormat

FORMATS: dict[str, Format] = {one.name: one for one in (OnnxFormat(),)}
