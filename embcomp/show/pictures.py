"""Pictures by matplotlib, which is imported late and draws on no screen."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from embcomp.errors import ConfigError
from embcomp.extras import imported
from embcomp.storage.files import write_bytes
from embcomp.storage.ownership import check_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARK = "embcomp show"  # in the file, so that it may be drawn anew
DOTS = 150  # an inch


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches.

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    """
    return imported("matplotlib.figure", "pictures need", extra="viz").Figure((width, height), layout="constrained")


def check_picture(path: str | os.PathLike) -> None:
    """Refuse to draw into what is no picture of ours.

    Raises
    ------
    ConfigError
        The name does not end in .png.
    ArtifactError
        The file is something else.
    """
    if Path(path).suffix.lower() != ".png":
        raise ConfigError(f"pictures are PNG files: --out {Path(path).with_suffix('.png')}")
    check_file(path, "picture", lambda head: MARK in head)


def save_picture(figure: Figure, path: str | os.PathLike) -> Path:
    """Write a figure as PNG, whole or not at all."""
    check_picture(path)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # of alphabets that its font lacks
        figure.savefig(file, format="png", dpi=DOTS, metadata={"Software": MARK})
    write_bytes(path, file.getvalue(), "the picture ")
    return Path(path)


def plain(text: str, most: int = 60) -> str:
    """Text of others as it is written: a $ starts no formula, and a long name is cut."""
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    text = text if len(text) <= most else text[: most - 1] + "…"
    return text.replace("$", r"\$")
