"""Options and progress shared by the commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

MANIFEST = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)

out_option = click.option("--out", required=True, type=FOLDER, help="Folder to write.")
seed_option = click.option("--seed", default=0, show_default=True, help="Decides every random choice.")
skip_bad_option = click.option(
    "--skip-bad", is_flag=True, help="Leave unusable clips out, and count them, instead of stopping."
)
allow_outside_option = click.option(
    "--allow-outside", is_flag=True, help="Read audio outside the manifest's folder, too: of manifests you trust."
)
threads_option = click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1), help="Threads of the numeric libraries."
)
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Where students train: cpu, cuda, cuda:1."
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Change one setting; may be repeated."
)
split_option = click.option(
    "--split", "splits", multiple=True, help="Use only clips with this value in the split column; may be repeated."
)


def check_device(name: str) -> str:
    """Refuse a device that is not there."""
    import torch

    from embcomp.errors import ConfigError

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"no such device {name!r}; use cpu, cuda or cuda:NUMBER") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device is usable here; use --device cpu, or install a CUDA build of torch")
    return name


def read_manifest(path: Path, splits: tuple[str, ...], allow_outside: bool = False):
    """A manifest, or its clips with one of the `splits`."""
    from embcomp.data.manifest import Manifest
    from embcomp.errors import ManifestError

    manifest = Manifest.read(path, allow_outside)
    if not splits:
        return manifest
    known = sorted(set(manifest.splits))
    for name in splits:
        if name not in known:
            raise ManifestError(f"{path}: no clip has the split {name!r}; the column holds {known}")
    return manifest.select([row for row, name in enumerate(manifest.splits) if name in splits])


def bar(total: int, what: str) -> Any:
    """A progress bar on standard error; silent where that is not a terminal."""
    from tqdm import tqdm

    return tqdm(total=total, desc=what, disable=not sys.stderr.isatty(), leave=False)


def stage_progress() -> Callable[[str, int, int], None]:
    """A progress callback for runs: a bar per stage on a terminal, else a line per finished stage."""
    bars: dict[str, Any] = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = bar(total, stage)
        shown = bars[stage]
        shown.update(done - shown.n)
        if done >= total and not getattr(shown, "told", False):
            shown.told = True
            shown.close()
            if total:
                click.echo(f"  {stage}: {total} done", err=True)

    return update
