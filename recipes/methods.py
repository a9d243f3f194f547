"""What the recipes of a method share: the same comparison on the demo sets, on the recipes' sets or on any manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from embcomp.errors import ConfigError
from recipes.common import report_progress, run_config, told
from recipes.sets import LAYOUTS

DEMO = "quick"  # the config on the demo sets


def method_command(recipe: Path) -> click.Command:
    """The click command of a ``run.py`` that compares ways of learning on whatever data it is given.

    Parameters
    ----------
    recipe : Path
        The recipe's folder; its config ``quick`` is for the demo sets.
    """
    folder = click.Path(file_okay=False, path_type=Path)

    @click.command("run")
    @click.argument("data", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
    @click.option("--manifest", type=click.Path(dir_okay=False, path_type=Path), help="Clips of your own, instead.")
    @click.option("--config", "name", default=DEMO, show_default=True, help="Name in configs/.")
    @click.option("--out", type=folder, help="Run folder; by default runs/RECIPE-CONFIG.")
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY; repeatable.")
    def command(
        data: Path | None, manifest: Path | None, name: str, out: Path | None, overrides: tuple[str, ...]
    ) -> None:
        """Compare the variants of a config.

        Without DATA on the two SYNTHETIC sets of ``embcomp demo``, rendered to OUT/sounds. DATA
        holds the sets that the config names, beside each other; --manifest is any other set, with
        the config's settings: give --set audio.seconds=N if its clips are longer.
        """
        with told():
            out = out or Path("runs", f"{recipe.name}-{name}")
            if manifest is not None:
                if data is not None:
                    raise ConfigError("give DATA or --manifest, not both")
                data, overrides = manifest.parent, (*overrides, *_alone(manifest))
            elif data is None:
                data = _demo(recipe, name, out)
            run_config(recipe, LAYOUTS, data, name, out, overrides)

    return command


def _alone(manifest: Path) -> Sequence[str]:
    """Overrides that put one manifest in the place of a config's data sets."""
    return f"data.train={json.dumps(manifest.name)}", "data.cross=[]", 'data.label_map=""'


def _demo(recipe: Path, name: str, out: Path) -> Path:
    """The folder of the demo sets, rendered if they are not there."""
    if name != DEMO:
        raise ConfigError(f"{recipe.name}: the config {name!r} is for recorded sets; give DATA, the folder they lie in")
    from embcomp.demo import render

    render(out / "sounds", progress=lambda done, total: report_progress("render", done, total))
    click.echo("synthetic sounds (no recordings): scores on them say nothing about real audio", err=True)
    return out / "sounds"
