"""Places for results, here or at a URL: what is there is brought before it is gone on with."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ParamSpec, TypeVar

from embcomp.errors import ArtifactError
from embcomp.storage import cached, remote
from embcomp.storage.bringing import bring_all, drop_gone, here, whole_files
from embcomp.storage.ownership import MARK, listing
from embcomp.storage.places import is_url, path_of, url_of
from embcomp.storage.publishing import UPLOADING, refuse_read_only, upload, upload_changed
from embcomp.storage.writers import writer_of

Given = ParamSpec("Given")
Value = TypeVar("Value")

OURS = frozenset({MARK, "config.json", "meta.json", UPLOADING})  # what says that a folder is of embcomp


def begun(out: str | os.PathLike) -> Path:
    """Where results are written: `out` itself, or the place of a URL, filled with what is there.

    What an earlier call left to upload is uploaded first.

    Raises
    ------
    ConfigError
        The URL cannot be taken, or not written to.
    ArtifactError
        A folder there holds files and nothing of embcomp.
    RemoteError
        It cannot be reached.
    """
    if not is_url(out):
        return Path(out)
    path = path_of(out)
    url = url_of(path)
    refuse_read_only(url)
    cached.pin(url)
    inside = remote.listing(url)
    top = {name.partition("/")[0] for name in inside}
    if inside and not top & OURS and not {"stages", "environment.json"} <= top:
        raise ArtifactError(f"{url} holds other files ({listing(sorted(top))}); choose another name")
    for due in cached.due_below(url):
        upload(due, path_of(due))
        inside = {}
    inside = inside or remote.listing(url)
    if inside:
        bring_all(url, path, whole_files(inside))
    else:
        drop_gone(url, inside)
        here(path, fresh=True)
    return path


def ended(out: Path) -> None:
    """Upload what lies among results and was not yet uploaded; of a place that is not remote, do nothing."""
    url = url_of(out)
    if url and out.is_dir():
        upload_changed(url, out)


def writing_to(out: str | os.PathLike) -> AbstractContextManager[None]:
    """Around all that is written to a folder: at a URL, other machines are refused there meanwhile.

    Raises
    ------
    ConfigError
        The URL cannot be taken, or not written to.
    BusyError
        Another machine writes there.
    """
    if not is_url(out):
        return contextlib.nullcontext()
    url = url_of(path_of(out))
    refuse_read_only(url)
    return writer_of(url)


@contextlib.contextmanager
def results_at(out: str | os.PathLike) -> Iterator[Path]:
    """`begun` and, where the block ends well, `ended`; around both, `writing_to`."""
    with writing_to(out):
        path = begun(out)
        yield path
        ended(path)


def into_results(function: Callable[Given, Value]) -> Callable[Given, Value]:
    """Have a function write what its argument `out` names by way of `results_at`."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def writes(*args: Given.args, **kwargs: Given.kwargs) -> Value:
        given = signature.bind(*args, **kwargs)
        with results_at(given.arguments["out"]) as given.arguments["out"]:
            return function(*given.args, **given.kwargs)

    return writes
