"""URLs of remote files: what is one, and its place in a folder of this machine, the cache.

A URL is turned into a path where it is named, and the path back into the URL where its file is opened or finished. What lies
between, joins of names and JSON for workers, goes on with paths. Nothing here touches the network or imports fsspec.
"""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Any

from embcomp.errors import ConfigError, nearest
from embcomp.extras import install

CACHE = "EMBCOMP_CACHE"  # the variable that names the folder
# Of each scheme, the package that fsspec reads it with, and the extra that installs it.
SCHEMES = {
    "s3": ("s3fs", "remote"),
    "gs": ("gcsfs", ""),
    "gcs": ("gcsfs", ""),
    "hf": ("huggingface_hub", "hub"),
    "az": ("adlfs", ""),
    "abfs": ("adlfs", ""),
    "http": ("aiohttp", ""),
    "https": ("aiohttp", ""),
    "file": ("fsspec", "remote"),
    "memory": ("fsspec", "remote"),
}
FILES = "files"  # of the cache
_INSIDE = f"{os.sep}{FILES}{os.sep}"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)(.*)", re.DOTALL)


def is_url(text: Any) -> bool:
    """Whether a text or path is a URL, ``s3://bucket/name``; as a `Path`, which has one slash, too.

    Examples
    --------
    >>> is_url("s3://bucket/clips.csv"), is_url(Path("s3://bucket/clips.csv")), is_url("C:/clips.csv"), is_url("a/b.csv")
    (True, True, False, False)
    """
    return bool(_scheme_of(text))


def path_of(given: str | os.PathLike) -> Path:
    """The path of a file of this machine as it is; of a URL, where its copy lies or will lie.

    Raises
    ------
    ConfigError
        A scheme that is not known, or a URL with a password, a query (which may be signed), ``..`` or an empty name in it.
    """
    scheme = _scheme_of(given)
    if not scheme:
        return given if isinstance(given, Path) else Path(given)
    found = _URL.fullmatch(os.fspath(given))
    assert found is not None
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise ConfigError(
            f"unknown scheme {scheme!r} of a URL: {nearest(scheme, SCHEMES)}. Remote files are read with fsspec: {install('fsspec', 'remote')}"
        )
    rest = found[3].lstrip("/") if scheme == "file" else found[3]
    names = rest.rstrip("/").split("/")
    if "@" in names[0] and scheme != "hf":
        raise ConfigError(
            f"the {scheme} URL of {names[0].rpartition('@')[2]} holds a user or a password, which would be kept in files; "
            "leave them out, and give credentials as the provider's tools take them (docs/remote.md)"
        )
    if "?" in rest:
        raise ConfigError(
            f"the URL {scheme}://{rest.partition('?')[0]}?... has a query, which may hold a signature; leave it out, and give "
            "credentials as the provider's tools take them (docs/remote.md)"
        )
    if not all(names) or {".", ".."} & set(names) or "\0" in rest:
        raise ConfigError(f"the URL {scheme}://{rest} has an empty name, . or .. in it; write it out")
    return Path(_root(), scheme, *names)


def url_of(path: str | os.PathLike) -> str:
    """The URL that a path in the cache stands for; empty for any other path."""
    given = os.fspath(path)
    # Asked of every clip, several times: the environment is looked at where the answer may be yes.
    if not isinstance(given, str) or _INSIDE not in given or not given.startswith(root := _root() + os.sep):
        return ""
    scheme, _, rest = given[len(root) :].replace(os.sep, "/").partition("/")
    if scheme not in SCHEMES or not rest:
        return ""
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


def join(folder: str | os.PathLike, name: str | os.PathLike) -> Path:
    """`name` in `folder`, either of which may be a URL; one that is absolute, or a URL, is taken as it is.

    Examples
    --------
    >>> join("data", "clips.csv").as_posix(), join("data", "s3://bucket/clips.csv") == path_of("s3://bucket/clips.csv")
    ('data/clips.csv', True)
    """
    if is_url(name):
        return path_of(name)
    path = path_of(folder) / name
    return Path(os.path.normpath(path)) if ".." in path.parts and url_of(path) else path


def absolute(folder: str | os.PathLike) -> str:
    """How a folder is named wherever a program is started: by its URL, or its absolute path."""
    path = path_of(folder)
    return url_of(path) or str(path.resolve())


def relative(path: str | os.PathLike, folder: str | os.PathLike) -> str:
    """A file as a table in `folder` names it: by its URL where one of the two is remote, else relative to the folder."""
    if url_of(path) or url_of(folder):
        return named(os.path.normpath(path))
    return Path(os.path.relpath(os.path.realpath(path), os.path.realpath(folder))).as_posix()


def named(path: str | os.PathLike) -> str:
    """How a user names a path: the URL of one in the cache, any other as it is."""
    return url_of(path) or os.fspath(path)


def shown(text: str) -> str:
    """A message in which paths in the cache are URLs again."""
    root = _root() + os.sep
    if root not in text:
        return text
    known = "|".join(map(re.escape, SCHEMES))
    return re.sub(re.escape(root) + rf"({known})/", lambda found: f"{found[1]}://{'/' * (found[1] == 'file')}", text)


def cache_folder() -> Path:
    """Where copies of remote files are kept: ``EMBCOMP_CACHE``, or ``embcomp`` in the user's folder of caches."""
    return Path(_root()).parent


def _scheme_of(text: Any) -> str:
    given = os.fspath(text) if isinstance(text, os.PathLike) else text
    if not isinstance(given, str) or ":/" not in given:
        return ""
    found = _URL.fullmatch(given)
    # `Path` makes one slash of two; with one, only what is known is meant.
    return found[1] if found and (found[2] or (isinstance(text, os.PathLike) and found[1] in SCHEMES)) else ""


def _root() -> str:
    return _resolved(os.environ.get(CACHE, ""), os.environ.get("XDG_CACHE_HOME", ""))


@functools.lru_cache(maxsize=8)
def _resolved(given: str, caches: str) -> str:
    folder = given or os.path.join(caches or os.path.join("~", ".cache"), "embcomp")
    return os.path.join(os.path.realpath(os.path.expanduser(folder)), FILES)
