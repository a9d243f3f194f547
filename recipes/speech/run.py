"""Students of spoken digits with a teacher of speech and unlabelled speech: python recipes/speech/run.py DATA."""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import input_errors, run_config
from recipes.sets import LAYOUTS
from recipes.speech.synthesise import missing_programs, synthesise


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--config", "name", default="quick", show_default=True, help="Name in configs/.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Run folder.  [default: runs/speech-CONFIG]"
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change SECTION.KEY; repeatable.")
def main(data: Path, name: str, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Compare the variants of a config on the data in DATA: fsdd, speech_pool and synthetic_digits.

    Without synthetic_digits, it is synthesised beside the run; DATA is not modified.
    """
    with input_errors():
        out = out or Path("runs", f"speech-{name}")
        changed = list(overrides)
        if not (data / "synthetic_digits" / "manifest.csv").is_file():
            changed.append(_synthesised(out.with_name(f"{out.name}.synthetic_digits").resolve()))
        run_config(Path(__file__).resolve().parent, LAYOUTS, data, name, out, changed)


def _synthesised(folder: Path) -> str:
    """The setting of the further data set: synthesised into `folder`, or none where the programs are missing."""
    if missing := missing_programs():
        click.echo(f"no other collection is scored: {' and '.join(missing)} not installed", err=True)
        return "data.cross=[]"
    if not (folder / "manifest.csv").is_file():
        click.echo(f"{synthesise(folder)} synthetic digits: {folder}", err=True)
    return f'data.cross=["{(folder / "manifest.csv").as_posix()}"]'


if __name__ == "__main__":
    main()
