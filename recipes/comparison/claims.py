"""The papers' claim on the comparison: python recipes/comparison/claims.py RESULTS.csv..."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import pandas as pd

from embcomp.errors import nearest

PAIRS = (
    ("raw", "no teacher"),
    ("compressed, linear", "no teacher"),
    ("compressed, linear", "raw"),
    ("compressed, joint", "compressed, linear"),
    ("compressed, MLP", "compressed, linear"),
    ("compressed, PCA", "compressed, linear"),
    ("compressed, random", "compressed, linear"),
    ("regression", "no teacher"),
    ("regression", "compressed, linear"),
    ("Lyra: compressed, linear", "Lyra: raw"),
    ("Lyra: compressed, linear", "no teacher"),
    ("YAMNet: compressed, linear", "YAMNet: raw"),
    ("YAMNet: compressed, linear", "no teacher"),
    ("raw, labelled clips only", "no teacher"),
    ("compressed, labelled clips only", "no teacher"),
    ("raw + pool", "no teacher"),
    ("compressed + pool", "no teacher"),
    ("compressed + pool", "raw + pool"),
    ("compressed + pool + soft labels", "no teacher"),
    ("compressed, PCA + pool", "no teacher"),
    ("compressed, random + pool", "no teacher"),
    ("logit KD + pool", "no teacher"),
    ("regression + pool", "no teacher"),
    ("classifier reuse + pool", "no teacher"),
    ("concepts + pool", "no teacher"),
    ("CLIP samples + pool", "no teacher"),
)
SETTINGS = ("in-domain", "cross-dataset", "adapted")


def differences(*repetitions: pd.DataFrame, pairs: Sequence[tuple[str, str]] = PAIRS) -> pd.DataFrame:
    """Mean and standard error of paired differences, over the data sets and seeds of each setting.

    The students of a pair share data set, seed, fold and split. The set of cries has a single class, so that adapting to it
    is meaningless, and is left out of that setting.

    Parameters
    ----------
    *repetitions : DataFrame
        Scores; of several, those of the same trainings done again, or of other seeds. The differences of a pair that is
        in several are averaged first.
    pairs : sequence of (str, str)
        A variant, and the one that it is compared with; pairs that are in none of the scores are left out.

    Returns
    -------
    DataFrame
        Columns ``variant``, ``over``, and for each setting ``mean``, ``sem`` and ``count``.
    """
    scores = [_scores(one) for one in repetitions]
    rows = []
    for variant, baseline in pairs:
        found = [one[variant] - one[baseline] for one in scores if {variant, baseline} <= set(one.columns)]
        if found:
            paired = pd.concat(found, axis=1).mean(axis=1).dropna().groupby("setting")
            rows.append({"variant": variant, "over": baseline} | {s: part for s, part in paired})
    return pd.DataFrame(
        [
            {"variant": row["variant"], "over": row["over"]}
            | {(s, name): getattr(row[s], name)() for s in SETTINGS if s in row for name in ("mean", "sem", "count")}
            for row in rows
        ]
    )


def _scores(results: pd.DataFrame) -> pd.DataFrame:
    """Of single students: a column for each variant, a row for each setting, set that was trained on, and seed."""
    single = results[(results["seed"] != "all") & results["setting"].isin(SETTINGS)]
    single = single[~((single["setting"] == "adapted") & (single["train_dataset"] == "esc10"))]
    return single.pivot_table(index=["setting", "train_dataset", "seed"], columns="variant", values="value")


@click.command("claims")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--train", multiple=True, help="Of the students trained on these data sets only; repeatable.")
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    nargs=2,
    metavar="VARIANT OVER",
    help="Instead of the steps of the claim; repeatable.",
)
def main(results: tuple[Path, ...], train: tuple[str, ...], pairs: tuple[tuple[str, str], ...]) -> None:
    """Print the effect of each step of the claim as Markdown: mean paired difference ± standard error (number of pairs).

    --pair names other variants than those of the comparison, of any table of scores.

    Several RESULTS are of other seeds, or repetitions: the differences of the same data set and seed are averaged first.
    """
    from embcomp import read_scores

    tables = [read_scores(path) for path in results]
    known = sorted({name for one in tables for name in one["variant"]})
    if unknown := [name for pair in pairs for name in pair if name not in known]:
        raise click.BadParameter(f"{unknown[0]!r} is in none of the results: {nearest(unknown[0], known)}")
    chosen = (one[one["train_dataset"].isin(train or one["train_dataset"])] for one in tables)
    table = differences(*chosen, pairs=pairs or PAIRS)
    click.echo("| step | " + " | ".join(SETTINGS) + " |\n" + "|---" * (len(SETTINGS) + 1) + "|")
    for _, row in table.iterrows():
        cells = [
            f"{row[s, 'mean']:+.3f} ± {row[s, 'sem']:.3f} ({row[s, 'count']:.0f})" if (s, "mean") in row else ""
            for s in SETTINGS
        ]
        click.echo(f"| {row['variant']} over {row['over']} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
