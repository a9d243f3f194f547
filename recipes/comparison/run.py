"""Methods on every data set: python recipes/comparison/run.py DATA [--pool] [--only fsdd] [--out DIR]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import input_errors
from recipes.several import run_several

HERE = Path(__file__).resolve().parent
SETS = ("fsdd", "esc10", "acoustic_to_machine", "machine_to_acoustic")


def configs(
    data: Path,
    names: tuple[str, ...],
    out: Path,
    methods: Path,
    overrides: tuple[str, ...] = (),
    sets: Path = HERE / "sets",
) -> dict:
    """The resolved config of each data set: its own file in `sets` followed by the shared variants."""
    from embcomp.config import load
    from embcomp.storage.files import write_text

    found = {}
    for name in names:
        joined = out / "configs" / f"{name}.toml"
        texts = [path.read_text(encoding="utf-8") for path in (sets / f"{name}.toml", methods)]
        write_text(joined, "\n".join(texts))
        found[name] = load(joined, [*overrides, f"data.root={json.dumps(str(data.resolve()))}"])
    return found


@click.command("comparison")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", multiple=True, type=click.Choice(SETS), help="Run these sets only; repeatable.")
@click.option(
    "--methods", default="methods", show_default=True, help="TOML file of variants in this folder, without its suffix."
)
@click.option("--pool", is_flag=True, help="Teachers from outside and unlabelled clips: the sets and methods in pool/.")
@click.option("--out", default="runs/comparison", type=click.Path(file_okay=False, path_type=Path), show_default=True)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY everywhere; repeatable."
)
def main(data: Path, only: tuple[str, ...], methods: str, pool: bool, out: Path, overrides: tuple[str, ...]) -> None:
    """Train every method of methods.toml on every set below DATA and write OUT/results.csv.

    After an interruption run it again: finished stages are reused.
    """
    with input_errors():
        folder, sets = (HERE / "pool",) * 2 if pool else (HERE, HERE / "sets")
        run_several(configs(data, only or SETS, out, folder / f"{methods}.toml", overrides, sets), out, "set")
        click.echo(f"{out / 'results.csv'}")


if __name__ == "__main__":
    main()
