"""Manifests of published data sets, whichever lie in a folder: python recipes/known/prepare.py DATA [--out FOLDER]."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from embcomp.data.makers import make
from embcomp.data.makers import named as maker_named
from embcomp.errors import ManifestError
from recipes.common import Found, Layout, input_errors, locate

OTHER_CLIPS = "its recording is in {}, too"


def sets_in(data: Path) -> dict[str, Path]:
    """Folders of published sets by the name of their maker: `data` itself and the folders in it."""
    found: dict[str, Path] = {}
    for folder in (data, *sorted(path for path in data.iterdir() if path.is_dir())):
        for kind in sorted(KINDS):
            if kind not in found and maker_named(kind)().recognises(folder):
                found[kind] = folder
    return found


@dataclass(frozen=True)
class Published(Layout):
    """A published set that a maker of manifests reads, found by its files wherever it lies in data.root.

    Attributes
    ----------
    kind : str
        Name of the maker.
    settings : dict
        Of the maker.
    apart_from : str
        Another maker: recordings of its set are left out.
    """

    kind: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    apart_from: str = ""

    def place(self, data: Path) -> Path:
        """The folder of the data set in data.root; see `Layout`."""
        found = sets_in(data)
        missing = [kind for kind in (self.kind, self.apart_from) if kind and kind not in found]
        if missing:
            raise ManifestError(
                f"no {missing[0]} in {data}, nor in a folder in it ({maker_named(missing[0]).summary.rstrip('.')})"
            )
        return found[self.kind]


def published(kind: str, manifest: str = "", apart_from: str = "", **settings: Any) -> Published:
    """The layout of what a maker reads; `manifest` names the folder of its manifest, by default the maker's name."""
    dataset = manifest or kind.replace("-", "_")
    return Published(
        dataset=dataset,
        expects=maker_named(kind).summary,
        collect=_collector(kind, apart_from, settings),
        manifest=f"{dataset}/manifest.csv",
        as_it_lies=not settings and not apart_from,
        kind=kind,
        settings=settings,
        apart_from=apart_from,
    )


def _collector(kind: str, apart_from: str, settings: dict[str, Any]) -> Callable[[Path], Found]:
    def collect(folder: Path) -> Found:
        made = make(kind, folder, **settings)
        found = Found(list(made.clips))
        for name, reason in made.left_out:
            found.left_out[reason].append(folder / name)
        for note in made.notes:
            click.echo(f"{kind}: {note}", err=True)
        if apart_from:
            # Numbers of recordings at Freesound: the groups of both sets.
            beside = (sets_in(folder) | sets_in(folder.parent)).get(apart_from)
            if beside is None:
                raise ManifestError(f"no {apart_from} beside {folder}, whose recordings are to be left out")
            other = make(apart_from, beside)
            shared = {clip.group for clip in other.clips}
            found.left_out[OTHER_CLIPS.format(apart_from)] += [one.path for one in found.clips if one.group in shared]
            found.clips = [one for one in found.clips if one.group not in shared]
        return found

    return collect


LAYOUTS = (
    published("esc50"),
    published("urbansound8k"),
    published("esc50", "esc50_apart", apart_from="urbansound8k"),
    published("urbansound8k", "urbansound8k_apart", apart_from="esc50"),
    published("speech-commands"),
    published("speech-commands", "speech_commands_12", classes=12),
    published("fsdd"),
    published("audiomnist"),
    published("openmic", undecided=True),
    published("irmas"),
    published("mtat", clean=True),
    published("gtzan"),
    published("ravdess", part="speech"),
    published("emodb"),
)
KINDS = {layout.kind for layout in LAYOUTS}


@click.command("prepare")
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder of the manifests.  [default: DATA]"
)
def main(data: Path, out: Path | None) -> None:
    """Write the manifests of all published sets in DATA, which is one or has several as folders.

    Sets are recognised by their files; the folders may have any name. A manifest
    that is there is kept.
    """
    with input_errors():
        found = sets_in(data)
        if not found:
            raise ManifestError(
                f"no published set in {data} or in a folder in it; looked for {', '.join(sorted(KINDS))}"
            )
        for layout in LAYOUTS:
            if layout.kind in found and (not layout.apart_from or layout.apart_from in found):
                target = (out or data) / layout.manifest
                if target.exists():
                    click.echo(f"{target} exists and is kept", err=True)
                else:
                    path = locate(data, layout, out or data)
                    if path != target:
                        click.echo(f"{path} is taken as it is", err=True)
        for kind in sorted(KINDS - set(found)):
            click.echo(f"not there: {kind}", err=True)


if __name__ == "__main__":
    main()
