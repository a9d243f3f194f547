"""Several runs, one after the other, and their scores in one table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import pandas as pd

from embcomp.config import RunConfig
from embcomp.storage.files import write_text
from recipes.common import report_progress


def run_several(configs: Mapping[str, RunConfig], out: Path, column: str) -> pd.DataFrame:
    """Run every config in its own folder; finished stages are reused.

    Parameters
    ----------
    configs : mapping of str to RunConfig
        By the name of its folder in `out`.
    column : str
        Column for that name.

    Returns
    -------
    DataFrame
        The balanced accuracy (mAP if clips have several labels) of all runs: `column`, then the columns of
        ``scores.csv``. Also written to ``OUT/results.csv``. The nearest-neighbour probes on students are left
        out; each run's own table has them.
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
