"""Small students on 8x8 digits: python recipes/digits/run.py [--out DIR]; the data come with scikit-learn."""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import input_errors, run_config
from recipes.digits.prepare import prepare


@click.command("run")
@click.option("--config", "name", default="quick", show_default=True, help="Name in configs/.")
@click.option(
    "--out",
    default=None,
    type=click.Path(file_okay=False, path_type=Path),
    help="Run folder.  [default: runs/digits-CONFIG]",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY; repeatable.")
def main(name: str, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Make the data sets and the teacher in OUT/data, compare the variants of a config, and print the table."""
    out = out or Path("runs", f"digits-{name}")
    with input_errors():
        prepare(out / "data")
        run_config(Path(__file__).resolve().parent, (), out / "data", name, out, overrides)


if __name__ == "__main__":
    main()
