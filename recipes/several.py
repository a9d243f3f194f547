"""Several runs after one another, and their scores in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import pandas as pd

from embcomp.config import RunConfig
from embcomp.storage.files import write_text
from recipes.common import report_progress


def run_several(configs: Mapping[str, RunConfig], out: Path, column: str) -> pd.DataFrame:
    """Run every config in a folder of its own; what stands there is not made again.

    Parameters
    ----------
    configs : mapping of str to RunConfig
        By the name of its folder in `out`.
    column : str
        Column that is to hold that name.

    Returns
    -------
    DataFrame
        The balanced accuracy (mAP where clips have several labels) of all runs, in the columns of ``scores.csv`` after `column`; also written
        to ``OUT/results.csv``. Left out are the neighbours on students' embeddings, which each run's own table has.
    """
    import embcomp
    from embcomp.evaluation.scores import headline

    tables = []
    for name, config in configs.items():
        click.echo(f"{name} ...", err=True)
        scores = embcomp.run(config, out / name, report_progress).scores
        neighbours_of_students = (scores["probe"] == "k-NN") & (scores["vectors"] == "student")
        scores = scores[(scores["metric"] == headline(scores)) & ~neighbours_of_students]
        tables.append(scores.assign(**{column: name})[[column, *scores.columns]])
    table = pd.concat(tables, ignore_index=True)
    write_text(out / "results.csv", table.to_csv(index=False, float_format="%.5g", lineterminator="\n"))
    return table
