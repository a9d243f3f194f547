"""The comparison as Markdown: python recipes/comparison/table.py RESULTS.csv."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd

TITLES = {
    "in-domain": {
        "fsdd": "FSDD, unseen speakers",
        "esc10": "ESC-10 folds",
        "acoustic_to_machine": "acoustic drums",
        "machine_to_acoustic": "drum machines",
    },
    "cross-dataset": {
        "fsdd": "FSDD → synthetic digits",
        "esc10": "ESC-10 → cry recall",
        "acoustic_to_machine": "acoustic → machine",
        "machine_to_acoustic": "machine → acoustic",
    },
    "adapted": {
        "fsdd": "FSDD → synthetic digits, adapted",
        "acoustic_to_machine": "acoustic → machine, adapted",
        "machine_to_acoustic": "machine → acoustic, adapted",
    },
}
BASELINE = "no teacher"


def markdown(results: pd.DataFrame, setting: str) -> str:
    """One row per variant, one column per data set.

    Parameters
    ----------
    results : DataFrame
        Rows of results.csv, from `embcomp.read_scores`.
    setting : {"in-domain", "cross-dataset", "adapted"}

    Returns
    -------
    str
        Mean over seeds, 95 % interval over groups, and the mean difference from "no teacher" of the same seeds with its
        standard error.
    """
    shown = (results["vectors"] != "student") & (results["probe"] != "k-NN")
    rows = results[shown & (results["setting"] == setting) & results["set"].isin(TITLES[setting])]
    single = rows[rows["seed"] != "all"]
    scores = single.pivot_table(index=["set", "seed"], columns="variant", values="value", sort=False)
    pooled = rows[rows["seed"] == "all"].set_index(["set", "variant"])[["low", "high"]]
    columns = [name for name in TITLES[setting] if name in set(scores.index.get_level_values("set"))]
    titles = [TITLES[setting][name] for name in columns]
    lines = ["| variant | " + " | ".join(titles) + " |", "|---" * (len(columns) + 1) + "|"]
    for variant in scores.columns:
        cells = [_cell(scores.loc[name], pooled.loc[name], variant) for name in columns]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(scores: pd.DataFrame, pooled: pd.DataFrame, variant: str) -> str:
    values = scores[variant].dropna()
    if values.empty:
        return ""
    low, high = pooled.loc[variant]
    text = f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"
    if variant == BASELINE or BASELINE not in scores:
        return text
    difference = (values - scores[BASELINE]).dropna()
    return f"{text}, {difference.mean():+.3f} ± {difference.sem():.3f}"


@click.command("table")
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(results: Path) -> None:
    """Print RESULTS as Markdown tables.

    Each cell: mean over seeds, 95 % interval over groups, and the difference from "no teacher" ± its standard error.
    """
    from embcomp import read_scores

    table = read_scores(results)
    for setting in TITLES:
        click.echo(f"\n## {setting}\n\n{markdown(table, setting)}")


if __name__ == "__main__":
    main()
