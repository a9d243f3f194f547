"""The papers' claim on the comparison: python recipes/comparison/claims.py RESULTS.csv."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

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
)
SETTINGS = ("in-domain", "cross-dataset", "adapted")


def differences(results: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error of paired differences, over the data sets and seeds of each setting.

    The students of a pair share data set, seed, fold and split. The set of cries has a single class, so that adapting to it
    is meaningless, and is left out of that setting.

    Returns
    -------
    DataFrame
        Columns ``variant``, ``over``, and for each setting ``mean``, ``sem`` and ``pairs``.
    """
    single = results[(results["seed"] != "all") & results["setting"].isin(SETTINGS)]
    single = single[~((single["setting"] == "adapted") & (single["set"] == "esc10"))]
    scores = single.pivot_table(index=["setting", "set", "seed"], columns="variant", values="value")
    rows = []
    for variant, baseline in PAIRS:
        if variant in scores and baseline in scores:
            paired = (scores[variant] - scores[baseline]).dropna().groupby("setting")
            rows.append({"variant": variant, "over": baseline} | {s: part for s, part in paired})
    return pd.DataFrame(
        [
            {"variant": row["variant"], "over": row["over"]}
            | {(s, name): getattr(row[s], name)() for s in SETTINGS if s in row for name in ("mean", "sem", "count")}
            for row in rows
        ]
    )


@click.command("claims")
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(results: Path) -> None:
    """Print the effect of each step of the claim as Markdown: mean paired difference ± standard error (number of pairs)."""
    from embcomp import read_scores

    table = differences(read_scores(results))
    click.echo("| step | " + " | ".join(SETTINGS) + " |\n" + "|---" * (len(SETTINGS) + 1) + "|")
    for _, row in table.iterrows():
        cells = [
            f"{row[s, 'mean']:+.3f} ± {row[s, 'sem']:.3f} ({row[s, 'count']:.0f})" if (s, "mean") in row else ""
            for s in SETTINGS
        ]
        click.echo(f"| {row['variant']} over {row['over']} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
