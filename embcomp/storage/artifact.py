"""The folder format of everything learned: ``weights.safetensors`` and ``config.json``.

Nothing in it is code, and nothing is unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embcomp.errors import ArtifactError
from embcomp.storage.bringing import brought
from embcomp.storage.files import check_regular, new_folder, path_or_content, read_json, write_bytes, write_json
from embcomp.storage.imposters import head_of, imposter
from embcomp.storage.ownership import refuse_other

if TYPE_CHECKING:
    import torch

FORMAT = 1
WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
OWN_NOTES = ("history.json", "result.json")  # that artifacts have had beside


def save_artifact(
    path: str | os.PathLike,
    kind: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    notes: Mapping[str, Any] | None = None,
) -> Path:
    """Write an artifact folder, whole or not at all.

    Parameters
    ----------
    path : path
        The folder; an artifact of the same kind is replaced, all else that is there is refused.
    kind : str
        What it is, ``"compressor"`` say; loading checks it.
    config : mapping
        JSON-able description.
    tensors : mapping of str to Tensor
        Weights; they are written from the CPU whatever device they are on.
    notes : mapping of str to JSON-able, optional
        Further files, by name: how it was made, for people; loading ignores them.

    Raises
    ------
    ArtifactError
        Something else is at `path`, or the disk is full.
    """
    from safetensors.torch import save

    path = Path(path)
    own = {WEIGHTS, CONFIG, *OWN_NOTES, *(notes or {})}
    with new_folder(path, lambda there: refuse_other(there, kind, own)) as folder:
        on_cpu = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        write_bytes(folder / WEIGHTS, save(on_cpu))
        write_json(folder / CONFIG, {"kind": kind, "format": FORMAT, **config})
        for name, content in (notes or {}).items():
            write_json(folder / name, content)
    return path


def load_artifact(path: str | os.PathLike, kind: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read an artifact folder back, from here or a URL.

    Returns
    -------
    config : dict
    tensors : dict of str to Tensor, on the CPU

    Raises
    ------
    ArtifactError
        The folder is missing, of another kind or format, truncated or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    path = brought(path)
    config = read_config(path, kind)
    found = config.get("kind") if isinstance(config, dict) else None
    if found != kind:
        raise ArtifactError(f"{path} holds a {found or 'folder of another program'}, not a {kind}")
    if config.get("format") != FORMAT:
        raise ArtifactError(
            f"{path} has format {config.get('format')!r}; this version of embcomp reads format {FORMAT}"
        )
    try:
        check_regular(path / WEIGHTS)
        given = path_or_content(path / WEIGHTS)
        tensors = load_file(given) if isinstance(given, str) else load(given)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, ArithmeticError, RuntimeError) as error:
        if other := imposter(head_of(path / WEIGHTS), archives=False):
            raise ArtifactError(f"{path / WEIGHTS} {other}") from error
        raise ArtifactError(f"{path / WEIGHTS} is missing or damaged ({error}); make the {kind} again") from error
    return config, tensors


def read_config(path: str | os.PathLike, what: str) -> Any:
    """Content of the ``config.json`` in the folder of an artifact.

    Parameters
    ----------
    path : path
    what : str
        What is looked for there: ``"student"``.

    Raises
    ------
    ArtifactError
        There is no such folder, it is not one of embcomp's, or the file is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        reason = "that is a file" if path.exists() else "the folder does not exist"
        raise ArtifactError(f"no {what} at {path}: {reason}")
    if not os.path.lexists(path / CONFIG):
        raise ArtifactError(f"no {what} at {path}: the folder has no {CONFIG}, which embcomp writes; name another")
    return read_json(path / CONFIG)


def check_tensors(path: str | os.PathLike, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare names and shapes of loaded weights with what the config promises.

    Raises
    ------
    ArtifactError
        A tensor is missing, unexpected, of another shape or kind of number, or not finite.
    """
    import torch

    for name, tensor in expected.items():
        if name not in found:
            raise ArtifactError(f"{path}: weights lack {name!r}; the artifact is damaged, make it again")
        if tuple(found[name].shape) != tuple(tensor.shape):
            raise ArtifactError(
                f"{path}: {name!r} has shape {tuple(found[name].shape)}, its config says {tuple(tensor.shape)}; "
                "the artifact is damaged, make it again"
            )
        if found[name].is_floating_point() != tensor.is_floating_point() or found[name].is_complex():
            raise ArtifactError(f"{path}: {name!r} holds {found[name].dtype}, not {tensor.dtype}; make it again")
        if not torch.isfinite(found[name]).all():
            raise ArtifactError(f"{path}: {name!r} holds NaN or infinite values; make it again")
    extra = sorted(set(found) - set(expected))
    if extra:
        raise ArtifactError(f"{path}: unexpected weights {extra}; the artifact is damaged, make it again")
