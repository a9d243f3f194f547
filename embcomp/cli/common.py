"""Options and progress bars shared by the commands."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click

from embcomp.engines.together import own_rank
from embcomp.storage.places import is_url, path_of


class _Place(click.Path):
    """A file or folder, here or at a URL."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.of_url(value, param, ctx) if is_url(value) else super().convert(value, param, ctx)

    def of_url(self, url: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path that stands for a URL."""
        raise NotImplementedError


class _Listed(_Place):
    """A manifest or settings; reading brings it."""

    def of_url(self, url: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return path_of(url)


class _Input(_Place):
    """What is opened whole."""

    def of_url(self, url: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from embcomp.storage.bringing import brought

        return brought(url)


class _Results(_Place):
    """What is to be written; what is there is brought."""

    def of_url(self, url: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from embcomp.storage.outputs import begun, writing_to

        if ctx is not None and not self.file_okay:
            # The outermost context ends also where what is asked for turns out to be wrong.
            ctx.find_root().with_resource(writing_to(url))
        return begun(url)


class _Output(_Place):
    """What is to be written, on this machine alone."""

    def of_url(self, url: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        self.fail("this command writes to this machine, not to a URL; name a place here", param, ctx)


# A folder is refused where a manifest is read, which says how to make one of it.
MANIFEST = _Listed(path_type=Path)
INPUT = _Input(path_type=Path)
MODEL = _Input(path_type=Path, file_okay=False)
FILE = _Output(path_type=Path, dir_okay=False)
FOLDER = _Output(path_type=Path, file_okay=False)
LOCAL = _Output(path_type=Path)
OUT = _Results(path_type=Path)
OUT_FILE = _Results(path_type=Path, dir_okay=False)
OUT_FOLDER = _Results(path_type=Path, file_okay=False)

out_option = click.option("--out", required=True, type=OUT_FOLDER, help="Output folder.")
local_out_option = click.option("--out", required=True, type=FOLDER, help="Output folder.")
seed_option = click.option("--seed", default=0, show_default=True, help="Seed of every random choice.")
skip_bad_option = click.option(
    "--skip-bad", is_flag=True, help="Leave out unusable clips and report them, instead of stopping."
)
allow_outside_option = click.option(
    "--allow-outside", is_flag=True, help="Also read audio outside the manifest's folder. Only for manifests you trust."
)
ffmpeg_option = click.option(
    "--ffmpeg", is_flag=True, help="Read formats such as m4a and webm with the program ffmpeg, which must be installed."
)
threads_option = click.option(
    "--threads", default=1, show_default=True, type=click.IntRange(1), help="Threads of the numeric libraries."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that share the work; 0 is one per free core, of a Ray cluster one per core.",
)
engine_option = click.option(
    "--engine",
    help="Where they run: local, on this machine; ray, on the cluster that RAY_ADDRESS names, or else on this machine.",
)
device_option = click.option(
    "--device", default="cpu", show_default=True, help="Device for training: cpu, cuda, cuda:1, mps."
)
processes_option = click.option(
    "--processes",
    default=None,
    type=click.IntRange(1),
    help="Processes of this machine that train one student together, see training.processes.  [default: 1]",
)
dtype_option = click.option(
    "--dtype",
    default="float32",
    show_default=True,
    type=click.Choice(["float32", "float16"]),
    help="Of the stored numbers.",
)
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="SECTION.KEY=VALUE", help="Change one setting; repeatable."
)
group_column_option = click.option(
    "--group-column", default="", metavar="NAME", help="The manifest's column of groups, if several may be meant."
)
split_option = click.option(
    "--split", "splits", multiple=True, help="Use only clips with this value in the column split; repeatable."
)


def json_for(stream: TextIO, text: str) -> str:
    """JSON that `stream` can encode: where it is not in UTF-8, letters outside of ASCII are written as JSON escapes them."""
    if codecs.lookup(getattr(stream, "encoding", None) or "utf-8").name == "utf-8":
        return text
    return re.sub(r"[^\x00-\x7f]", lambda found: json.dumps(found[0])[1:-1], text)


def bar(total: int, what: str) -> Any:
    """A progress bar on standard error.

    None if that is not a terminal, where tqdm is not installed, and in all but the first of several processes.
    """
    if own_rank() or not sys.stderr.isatty():
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError:  # a model exported to ONNX is run where little is installed
        return _NoBar()
    return tqdm(total=total, desc=what, leave=False)


class _NoBar:
    """What takes the calls of a bar, and shows nothing."""

    n, total = 0, 0

    def update(self, count: int = 1) -> None:
        self.n += count

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def progress_of(shown: Any) -> Callable[[int, int], None]:
    """A callback that shows ``(done, total)`` on a bar."""

    def update(done: int, total: int) -> None:
        shown.total = total
        shown.update(done - shown.n)

    return update


def stage_progress() -> Callable[[str, int, int], None]:
    """A progress callback for runs: a bar per stage on a terminal, otherwise a line per finished stage."""
    bars: dict[str, Any] = {}

    def update(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            bars[stage] = bar(total, stage)
        shown = bars[stage]
        shown.update(done - shown.n)
        if done >= total and not getattr(shown, "reported", False):
            shown.reported = True
            shown.close()
            if total:
                click.echo(f"  {stage}: {total} done", err=True)

    return update


def student_folder(student: Path, variant: str = "") -> Path:
    """The folder of the student; of a run the best, by its validation score."""
    from embcomp.errors import ConfigError
    from embcomp.pipeline.chosen import best_student, is_run
    from embcomp.storage.ownership import kind_of

    if is_run(student):
        found = best_student(student, variant)
        click.echo(str(found), err=True)
        return found.path
    if variant:
        raise ConfigError(f"--variant chooses a student of a run, and {student} is not the folder of a finished run")
    if kind_of(student) == "run":
        raise ConfigError(f"the run in {student} is not finished: run it again with the same --out to continue")
    return student
