"""Few labels, much audio: python recipes/fsdd/label_curve.py DATA [--out DIR]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import told
from recipes.several import run_several

HERE = Path(__file__).resolve().parent


@click.command("label_curve")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--labels", default="5,10,20,50", show_default=True, help="Labelled clips per class, of training and of validation."
)
@click.option("--out", default="runs/fsdd-labels", type=click.Path(file_okay=False, path_type=Path), show_default=True)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY everywhere; repeatable."
)
def main(data: Path, labels: str, out: Path, overrides: tuple[str, ...]) -> None:
    """Run few_labels.toml with each number of labels and write OUT/results.csv and OUT/curve.svg."""
    from embcomp.config import load
    from embcomp.errors import ConfigError

    with told():
        try:
            counts = [int(count) for count in labels.split(",")]
        except ValueError:
            raise ConfigError(f"--labels takes whole numbers with commas between, not {labels!r}") from None
        root = f"data.root={json.dumps(str(data.resolve()))}"
        configs = {
            str(count): load(
                HERE / "configs" / "few_labels.toml", [*overrides, root, f"split.labels_per_class={count}"]
            )
            for count in counts
        }
        plot(run_several(configs, out, "labels_per_class"), out / "curve.svg")
        click.echo(f"{out / 'results.csv'}")


def plot(results, path: Path) -> None:
    """Mean over seeds ± standard error against the number of labels, one line per variant."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    import matplotlib.pyplot as plt

    rows = results[(results["setting"] == "in-domain") & (results["seed"].astype(str) != "all")]
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for variant, part in rows.groupby("variant", sort=False):
        by_count = part.assign(count=part["labels_per_class"].astype(int)).groupby("count")["value"]
        style = "--" if variant.startswith(("probe", "k-NN")) else "-"
        axes.errorbar(by_count.mean().index, by_count.mean(), by_count.sem(), label=variant, linestyle=style, capsize=2)
    axes.set(xscale="log", xlabel="labelled clips per class", ylabel="balanced accuracy, unseen speakers")
    counts = sorted(rows["labels_per_class"].astype(int).unique())
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
