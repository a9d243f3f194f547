"""A run: how its students learned."""

from __future__ import annotations

import math
import os
from pathlib import Path

from embcomp.errors import ArtifactError
from embcomp.report import to_html
from embcomp.report.blocks import Document
from embcomp.report.learning import learning
from embcomp.report.reading import read_source
from embcomp.show.page import PAGE, check_folder, mark_folder
from embcomp.show.pictures import check_picture, new_figure, plain, save_picture
from embcomp.storage.files import write_text

PICTURE = "curves.png"
WIDE = 3  # panels in a row


def show_run(run: str | os.PathLike, out: str | os.PathLike) -> list[Path]:
    """Draw the validation score of every student of a run while it was trained, a panel for each variant.

    Parameters
    ----------
    run : path
        Folder of a finished run.
    out : path
        PNG file, or a folder, which gets the picture and the part of the report that is about learning.

    Returns
    -------
    list of Path

    Raises
    ------
    ArtifactError
        It is no finished run, or has no curves.
    """
    out = Path(out)
    picture = out if out.suffix else out / PICTURE
    check_picture(picture)
    if not out.suffix:
        check_folder(out, (PICTURE, PAGE))
    source = read_source(run)
    section = learning([source])
    if section is None:
        raise ArtifactError(f"{run} has no curves: no student of it was scored while it was trained")
    written = [save_picture(_figure(source.history), picture)]
    if not out.suffix:
        mark_folder(out)
        write_text(out / PAGE, to_html(Document(f"{source.name}: learning", (section,))))
        written.append(out / PAGE)
    return written


def _figure(history):
    history = history.dropna(subset="validation_score")
    variants = list(history.groupby("variant", sort=False))
    wide = min(WIDE, len(variants))
    high = math.ceil(len(variants) / wide)
    figure = new_figure(4 * wide, 3 * high)
    panels = figure.subplots(high, wide, sharex=True, sharey=True, squeeze=False)
    for axes, (name, part) in zip(panels.flat, variants):
        for _, one in part.groupby(["seed", "fold"], sort=False):
            best = one.loc[one["validation_score"].idxmax()]
            axes.plot(one["step"], one["validation_score"], color="C0", linewidth=1, alpha=0.7)
            axes.plot(best["step"], best["validation_score"], "o", color="C0", markersize=4)
        axes.set_title(plain(str(name), 40), fontsize="medium")
        axes.grid(alpha=0.3)
    for axes in list(panels.flat)[len(variants) :]:
        axes.set_visible(False)
    for axes in list(panels.flat)[: len(variants)][-wide:]:  # the lowest of each column
        axes.set_xlabel("step")
        axes.tick_params(labelbottom=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("validation score")
    return figure
