"""Places for results, here or at a URL: what is there is brought before it is gone on with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from embcomp.errors import ArtifactError
from embcomp.storage import cached, remote
from embcomp.storage.bringing import bring_all, drop_gone, here, whole_files
from embcomp.storage.ownership import MARK, listing
from embcomp.storage.places import is_url, path_of, url_of
from embcomp.storage.publishing import UPLOADING, refuse_read_only, upload, upload_changed

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


@contextlib.contextmanager
def results_at(out: str | os.PathLike) -> Iterator[Path]:
    """`begun` and, where the block ends well, `ended`."""
    path = begun(out)
    yield path
    ended(path)
