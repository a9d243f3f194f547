"""Fitted compressions on disk: ``weights.safetensors`` and ``config.json``, and ONNX."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from embcomp import __version__
from embcomp.compression.ambient import own_torch
from embcomp.compression.decoders import Decoders
from embcomp.compression.fitted import Fitted
from embcomp.compression.modules import CompressorModule, LinearCompressor, MLPCompressor, blank
from embcomp.errors import ArtifactError
from embcomp.storage.seen import Seen, counts_of, tensors_expected, tensors_of

KIND = "compressor"
CLASS = "Compressor"
SUMS = ("cross", "gram", "code_mean", "mean", "scale")


def save(fitted: Fitted, params: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a fitted compression into the folder `path`.

    Parameters
    ----------
    params : dict
        What it was fitted with.

    Raises
    ------
    ArtifactError
        A parameter or a label is something JSON cannot hold.
    """
    from embcomp.storage.artifact import save_artifact
    from embcomp.storage.files import fingerprint

    decoders = fitted.decoders
    parts: dict[str, CompressorModule] = {"module": fitted.module, "decoder": decoders.in_use}
    if fitted.head is not None:
        parts["head"] = fitted.head
    tensors = _weights(parts)
    tensors |= {f"sums.{name}": torch.from_numpy(np.ascontiguousarray(getattr(decoders, name))) for name in SUMS}
    tensors |= tensors_of(fitted.ids)
    config = {
        "class": CLASS,
        "embcomp_version": __version__,
        "parameters": params,
        "n_features_in": fitted.n_features,
        "n_components": fitted.n_components,
        "n_samples": int(fitted.n_samples),
        "classes": fitted.classes,
        "history": fitted.history,
        "feature_names": fitted.feature_names,
        "modules": {part: _describe(module) for part, module in parts.items()},
        "trained_decoder": decoders.trained,
        "total_variance": decoders.total,
        **counts_of(fitted.ids),
        "seen": None if fitted.ids is None else fingerprint(fitted.ids.hashes.tolist()),
    }
    try:
        json.dumps(config)
    except TypeError as error:
        raise ArtifactError(
            f"a compressor is saved as JSON, which cannot hold its parameters or labels: {error}"
        ) from None
    save_artifact(path, KIND, config, tensors)


@own_torch()
def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Fitted]:
    """Read the folder `path` back.

    Returns
    -------
    params : dict
        What it was fitted with; their names are not checked.
    fitted : Fitted

    Raises
    ------
    ArtifactError
        Missing, damaged, of another kind, or weights that contradict the config.
    """
    from embcomp.storage.artifact import check_tensors, load_artifact

    config, tensors = load_artifact(path, KIND)
    try:
        if config["class"] != CLASS:
            raise ArtifactError(f"{path} holds a {config['class']}, not a {CLASS}")
        params = dict(config["parameters"])
        dim, d = int(config["n_features_in"]), int(config["n_components"])
        # On the meta device a wrong size costs nothing; the weights then decide.
        with torch.device("meta"):
            modules = {part: _build(description) for part, description in config["modules"].items()}
            expected = _expected(modules, dim, d) | tensors_expected(config)
        if not {"module", "decoder"} <= set(modules) <= {"module", "decoder", "head"}:
            raise ArtifactError(
                f"{path}: config.json is damaged or of another version (modules {sorted(modules)}); make it again"
            )
        if (modules["module"].in_features, modules["module"].out_features) != (dim, d):
            raise ArtifactError(
                f"{path}: its module does not map {dim} to {d} dimensions; the artifact is damaged, make it again"
            )
        # Artifacts of before these were kept have none.
        names = config.get("feature_names")
        if names is not None and len(names) != dim:
            raise ArtifactError(f"{path}: {len(names)} feature names for {dim} dimensions; make it again")
        check_tensors(path, tensors, expected)
        modules = {part: _build(description) for part, description in config["modules"].items()}
        for part, module in modules.items():
            module.load_state_dict({name: tensors[f"{part}.{name}"] for name in module.state_dict()})
        head = modules.get("head")
        if isinstance(head, MLPCompressor):
            raise ArtifactError(f"{path}: its classifier is no linear map; the artifact is damaged, make it again")
        decoders = Decoders(
            **{name: tensors[f"sums.{name}"].numpy() for name in SUMS},
            total=float(config["total_variance"]),
            module=modules["decoder"],
            trained=config["trained_decoder"],
        )
        # Found now, while sums that are no covariances are still a damaged artifact.
        _ = decoders.retained_variance
        fitted = Fitted(
            module=modules["module"],
            decoders=decoders,
            head=head,
            classes=config["classes"],
            history=config["history"],
            n_samples=config["n_samples"],
            ids=Seen.of_tensors(tensors),
            feature_names=None if names is None else [str(name) for name in names],
        )
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError, ArithmeticError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path}: config.json is damaged or of another version ({error!r}); make it again"
        ) from error
    return params, fitted


def to_onnx(module: CompressorModule, path: str | os.PathLike[str]) -> None:
    """Export a compressor module: input ``embedding`` ``(n, dim)``, output ``target`` ``(n, d)``, any n.

    Raises
    ------
    MissingDependencyError
        The onnx packages are not installed.
    """
    from embcomp.extras import imported

    for name in ("onnx", "onnxscript"):
        imported(name, "exporting needs", extra="onnx")
    module = module.eval()
    example = torch.zeros(2, module.in_features)
    torch.onnx.export(
        module,
        (example,),
        os.fspath(path),
        input_names=["embedding"],
        output_names=["target"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def _weights(modules: Mapping[str, CompressorModule]) -> dict[str, torch.Tensor]:
    return {
        f"{part}.{name}": tensor for part, module in modules.items() for name, tensor in module.state_dict().items()
    }


def _describe(module: CompressorModule) -> dict[str, Any]:
    description = {"in_features": module.in_features, "out_features": module.out_features}
    if isinstance(module, MLPCompressor):
        description["hidden_features"] = module.hidden_features
    return description


def _build(description: dict[str, int]) -> CompressorModule:
    sizes = [description[name] for name in ("in_features", "out_features", "hidden_features") if name in description]
    return blank(MLPCompressor, *sizes) if len(sizes) == 3 else blank(LinearCompressor, *sizes)


def _expected(modules: Mapping[str, CompressorModule], dim: int, d: int) -> dict[str, torch.Tensor]:
    shapes = {"cross": (dim, d), "gram": (d, d), "code_mean": (d,), "mean": (dim,), "scale": (dim,)}
    return _weights(modules) | {f"sums.{name}": torch.empty(shape) for name, shape in shapes.items()}
