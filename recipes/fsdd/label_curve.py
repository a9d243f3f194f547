"""Scores with few labels: python recipes/fsdd/label_curve.py DATA [--out DIR]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import input_errors
from recipes.several import run_several

HERE = Path(__file__).resolve().parent


@click.command("label_curve")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--labels", default="5,10,20,50", show_default=True, help="Labelled clips per class, in training and in validation."
)
@click.option("--out", default="runs/fsdd-labels", type=click.Path(file_okay=False, path_type=Path), show_default=True)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY everywhere; repeatable."
)
def main(data: Path, labels: str, out: Path, overrides: tuple[str, ...]) -> None:
    """Run few_labels.toml with each number of labels and write OUT/results.csv and OUT/curve.svg."""
    from embcomp.config import load
    from embcomp.errors import ConfigError

    with input_errors():
        try:
            counts = [int(count) for count in labels.split(",")]
        except ValueError:
            raise ConfigError(f"--labels takes whole numbers separated by commas, not {labels!r}") from None
        root = f"data.root={json.dumps(str(data.resolve()))}"
        configs = {
            str(count): load(
                HERE / "configs" / "few_labels.toml", [*overrides, root, f"split.labels_per_class={count}"]
            )
            for count in counts
        }
        results = run_several(configs, out, "labels_per_class")
        plot(results, out / "curve.svg")
        click.echo(f"{markdown(results)}\n{out / 'results.csv'}, {out / 'curve.svg'}")


def rows_of_seeds(results):
    """Scores of each seed on unseen speakers: students, and linear probes on embeddings, targets and log-mels."""
    rows = results[(results["setting"] == "in-domain") & (results["seed"].astype(str) != "all")]
    return rows[(rows["vectors"] != "student") & ~rows["probe"].isin(["k-NN", "majority"])]


def markdown(results) -> str:
    """One row per variant, one column per number of labels: mean over seeds, and difference from "no teacher" ± standard error."""
    rows = rows_of_seeds(results)
    rows = rows.assign(count=rows["labels_per_class"].astype(int), seed=rows["seed"].astype(str))
    scores = rows.pivot_table(index=["count", "seed"], columns="variant", values="value", sort=False)
    counts = sorted(set(rows["count"]))
    lines = [
        "| variant | " + " | ".join(f"{count} labels" for count in counts) + " |",
        "|---" * (len(counts) + 1) + "|",
    ]
    for variant in scores.columns:
        cells = []
        for count in counts:
            values, alone = scores.loc[count, variant], scores.loc[count, "no teacher"]
            difference = values - alone
            paired = "" if variant == "no teacher" else f", {difference.mean():+.3f} ± {difference.sem():.3f}"
            cells.append(f"{values.mean():.3f}{paired}")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(results, path: Path) -> None:
    """Mean over seeds ± standard error against the number of labels, one line per variant."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    import matplotlib.pyplot as plt

    rows = rows_of_seeds(results)
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    variants = list(dict.fromkeys(rows["variant"]))
    greys = iter(["0.2", "0.45", "0.6", "0.75"])
    for number, variant in enumerate(variants):
        part = rows[rows["variant"] == variant]
        by_count = part.assign(count=part["labels_per_class"].astype(int)).groupby("count")["value"]
        # Slightly shifted, so that the error bars do not overlap.
        place = by_count.mean().index * (1 + 0.015 * (number - len(variants) / 2))
        style = {"linestyle": "--", "color": next(greys, "0.75")} if part["probe"].iloc[0] else {}
        axes.errorbar(place, by_count.mean(), by_count.sem(), label=variant, capsize=2, elinewidth=0.8, **style)
    axes.set(xscale="log", xlabel="labelled clips per class", ylabel="balanced accuracy, unseen speakers")
    counts = sorted(rows["labels_per_class"].astype(int).unique())
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(fontsize="small", frameon=False, loc="outside right center")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
