"""Shared by the recipes of methods: the same comparison on the demo sets, on the recipes' data sets or on any manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from embcomp.errors import ConfigError
from recipes.common import input_errors, report_progress, run_config
from recipes.sets import LAYOUTS

DEMO = "quick"  # the config on the demo sets


def method_command(recipe: Path) -> click.Command:
    """Make the click command of a ``run.py`` that compares transfer methods on any data.

    Parameters
    ----------
    recipe : Path
        The recipe's folder; its config ``quick`` is for the demo sets.
    """
    folder = click.Path(file_okay=False, path_type=Path)

    @click.command("run")
    @click.argument("data", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
    @click.option("--manifest", type=click.Path(dir_okay=False, path_type=Path), help="Use these clips instead.")
    @click.option("--config", "name", default=DEMO, show_default=True, help="Name in configs/.")
    @click.option("--out", type=folder, help="Run folder; by default runs/RECIPE-CONFIG.")
    @click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY; repeatable.")
    def command(
        data: Path | None, manifest: Path | None, name: str, out: Path | None, overrides: tuple[str, ...]
    ) -> None:
        """Compare the variants of a config.

        Without DATA, on the two SYNTHETIC sets of ``embcomp demo``, generated in OUT/sounds. DATA
        contains the data sets of the config as folders. --manifest is any other data set, with the
        settings of the config: add --set audio.seconds=N if its clips are longer.
        """
        with input_errors():
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
    """Overrides that replace the data sets of a config by one manifest."""
    return f"data.train={json.dumps(manifest.name)}", "data.cross=[]", 'data.label_map=""'


def _demo(recipe: Path, name: str, out: Path) -> Path:
    """The folder of the demo sets, generated if they do not exist."""
    if name != DEMO:
        raise ConfigError(
            f"{recipe.name}: the config {name!r} is for recorded data sets; give DATA, the folder that contains them"
        )
    from embcomp.demo import render

    render(out / "sounds", progress=lambda done, total: report_progress("render", done, total))
    click.echo("synthetic sounds (not recordings): scores on them say nothing about real audio", err=True)
    return out / "sounds"
