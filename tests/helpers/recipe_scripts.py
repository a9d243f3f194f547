"""The recipes' scripts as the tests call them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
from click.testing import CliRunner

import embcomp
from embcomp.data.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
NAMES = sorted(path.name for path in RECIPES.iterdir() if (path / "configs").is_dir())
WITH_DATA = ("drums", "esc10", "fsdd")  # the others run on these and on the demo sets
CONFIGS = sorted(path.relative_to(RECIPES).as_posix() for path in RECIPES.glob("*/configs/*.toml"))
INSTANCE = "0D1AD73E-4C5E-45F3-85C4-9A3CB71E8856"


def script(recipe: str, name: str = "prepare"):
    return importlib.import_module(f"recipes.{recipe}.{name}")


def record_runs(monkeypatch, folder: Path) -> list[tuple]:
    """Replace `embcomp.run`; the list receives the config and the run folder of every call."""
    calls: list[tuple] = []
    (folder / "report.md").write_text("# report\n")

    def run(config, out, progress=None):
        calls.append((config, out))
        return SimpleNamespace(folder=folder)

    monkeypatch.setattr(embcomp, "run", run)
    return calls


def publish(folder: Path, *names: str) -> Path:
    """A folder with a short tone under each name."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".m4a", ".3gp"):
            path.write_bytes(b"not decoded here")
            continue
        soundfile.write(path, 0.1 * np.sin(np.arange(400) * (0.1 + 0.01 * number)), 8000)
    return folder


def prepared(recipe: str, folder: Path, *options: str):
    """What prepare.py did, and the rows it wrote: path below `folder` to (label, group, split, dataset)."""
    out = folder.parent / "elsewhere" / "manifest.csv"
    result = CliRunner().invoke(script(recipe).main, [str(folder), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    manifest = Manifest.read(out)
    rows = {}
    for row, record in enumerate(manifest.table.itertuples()):
        path = manifest.audio_path(row).resolve().relative_to(folder.resolve()).as_posix()
        rows[path] = (record.label, record.group, record.split, record.dataset)
    return result, rows
