"""Saved models on Hugging Face's hub: up by folder, down by name. Nothing that is downloaded is code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from embcomp.errors import ArtifactError
from embcomp.extras import imported
from embcomp.storage.artifact import CONFIG, OWN_NOTES, WEIGHTS
from embcomp.storage.cards import CARD, is_card

FILES = (CONFIG, WEIGHTS, *OWN_NOTES, CARD)


def push(
    save: Callable[[Path], None],
    repository: str,
    card: Callable[[Path], str],
    *,
    private: bool = False,
    token: str | None = None,
) -> str:
    """Save a model into a temporary folder and upload it.

    A README.md that is in the repository already and is not a card of embcomp is left as it is.

    Parameters
    ----------
    save : callable
        Writes the model into a folder.
    repository : str
        ``owner/name``; it is made if it does not exist.
    card : callable
        Its model card, from that folder.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    MissingDependencyError
        huggingface_hub is not installed.
    ArtifactError
        The hub refused.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save(folder)
        (folder / CARD).write_text(card(folder), encoding="utf-8")
        return push_folder(folder, repository, private=private, token=token)


def push_folder(folder: str | os.PathLike, repository: str, *, private: bool = False, token: str | None = None) -> str:
    """Upload the folder of a saved model with its card, and no file but those of embcomp; see `push`."""
    hub = _hub()
    api = hub.HfApi(token=token)
    files = list(FILES)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        if api.file_exists(repository, CARD):
            there = hub.hf_hub_download(repository, CARD, token=token)
            if not is_card(os.path.realpath(there)):  # the hub's cache holds links
                files.remove(CARD)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, allow_patterns=files))
    except Exception as error:  # of HTTP, of names and of tokens, without a common base
        raise ArtifactError(f"{repository} was not uploaded: {_line(error)}") from None


def pull(name: str | os.PathLike, *, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of a saved model: `name` itself where that is a folder here, else downloaded from the hub.

    Raises
    ------
    MissingDependencyError
        huggingface_hub is not installed.
    ArtifactError
        There is no such repository, or it cannot be downloaded.
    """
    if os.path.isdir(name):
        return Path(name)
    hub = _hub(f"{name} is no folder here, and to look for it on the hub")
    try:
        return Path(hub.snapshot_download(str(name), revision=revision, token=token, allow_patterns=list(FILES)))
    except Exception as error:  # of HTTP, of names and of tokens, without a common base
        raise ArtifactError(f"{name} is no folder here and was not downloaded: {_line(error)}") from None


def _hub(why: str = "the hub"):
    return imported("huggingface_hub", f"{why} needs", extra="hub")


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
