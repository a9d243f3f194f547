"""Compressors on disk: ``weights.safetensors`` and ``config.json``, and ONNX."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from embcomp.compression.decoders import Decoders
from embcomp.compression.modules import LinearCompressor, MLPCompressor, blank
from embcomp.errors import ArtifactError

if TYPE_CHECKING:
    from embcomp.compression.compressor import Compressor

KIND = "compressor"
SUMS = ("cross", "gram", "code_mean", "mean", "scale")


def save(compressor: Compressor, path: str | os.PathLike) -> None:
    """Write a fitted compressor into the folder `path`.

    Raises
    ------
    ArtifactError
        A parameter or a label is something JSON cannot hold.
    """
    from embcomp.storage.artifact import save_artifact
    from embcomp.storage.files import fingerprint

    decoders = compressor.decoders_
    parts = {"module": compressor.module_, "decoder": decoders.module}
    if compressor.head_ is not None:
        parts["head"] = compressor.head_
    tensors = {
        f"{part}.{name}": tensor for part, module in parts.items() for name, tensor in module.state_dict().items()
    }
    tensors |= {f"sums.{name}": torch.from_numpy(np.ascontiguousarray(getattr(decoders, name))) for name in SUMS}
    if compressor.seen_ is not None:
        tensors["seen"] = torch.from_numpy(compressor.seen_)
    config = {
        "class": type(compressor).__name__,
        "embcomp_version": _version(),
        "parameters": compressor.get_params(deep=False),
        "n_features_in": int(compressor.n_features_in_),
        "n_components": int(compressor.n_components_),
        "n_samples": int(compressor.n_samples_),
        "classes": None if compressor.classes_ is None else list(compressor.classes_),
        "history": compressor.history_,
        "modules": {part: _describe(module) for part, module in parts.items()},
        "trained_decoder": decoders.trained,
        "total_variance": decoders.total,
        "n_seen": None if compressor.seen_ is None else len(compressor.seen_),
        "seen": None if compressor.seen_ is None else fingerprint(compressor.seen_.tolist()),
    }
    try:
        json.dumps(config)
    except TypeError as error:
        raise ArtifactError(
            f"a compressor is saved as JSON, which cannot hold its parameters or labels: {error}"
        ) from None
    save_artifact(path, KIND, config, tensors)


def load(cls: type[Compressor], path: str | os.PathLike) -> Compressor:
    """Read the folder `path` back into an instance of `cls`.

    Raises
    ------
    ArtifactError
        Missing, damaged, of another kind, or weights that contradict the config.
    """
    from embcomp.storage.artifact import check_tensors, load_artifact

    config, tensors = load_artifact(path, KIND)
    try:
        if config["class"] != cls.__name__:
            raise ArtifactError(f"{path} holds a {config['class']}, not a {cls.__name__}")
        compressor = cls(**config["parameters"])
        dim, d = int(config["n_features_in"]), int(config["n_components"])
        # On the meta device a wrong size costs nothing; the weights then decide.
        with torch.device("meta"):
            modules = {part: _build(description) for part, description in config["modules"].items()}
            expected = _expected(modules, dim, d, config["n_seen"])
        if not {"module", "decoder"} <= set(modules) <= {"module", "decoder", "head"}:
            raise ArtifactError(
                f"{path}: config.json is damaged or of another version (modules {sorted(modules)}); make it again"
            )
        if (modules["module"].in_features, modules["module"].out_features) != (dim, d):
            raise ArtifactError(
                f"{path}: its module does not map {dim} to {d} dimensions; the artifact is damaged, make it again"
            )
        check_tensors(path, tensors, expected)
        modules = {part: _build(description) for part, description in config["modules"].items()}
        for part, module in modules.items():
            module.load_state_dict({name: tensors[f"{part}.{name}"] for name in module.state_dict()})
        sums = {name: tensors[f"sums.{name}"].numpy() for name in SUMS}
        decoders = Decoders(
            **sums, total=float(config["total_variance"]), module=modules["decoder"], trained=config["trained_decoder"]
        )
        compressor.module_, compressor.decoders_, compressor.head_ = modules["module"], decoders, modules.get("head")
        compressor.n_features_in_, compressor.n_components_, compressor._n_features_out = dim, d, d
        compressor.n_samples_, compressor.classes_, compressor.history_ = (
            config["n_samples"],
            config["classes"],
            config["history"],
        )
        compressor.component_variance_, compressor.retained_variance_ = (
            decoders.component_variance,
            decoders.retained_variance,
        )
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError, ArithmeticError) as error:
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f"{path}: config.json is damaged or of another version ({error!r}); make it again"
        ) from error
    compressor.seen_ = tensors["seen"].numpy() if "seen" in tensors else None
    return compressor


def to_onnx(module: nn.Module, path: str | os.PathLike) -> None:
    """Export a compressor module: input ``embedding`` ``(n, dim)``, output ``target`` ``(n, d)``, any n.

    Raises
    ------
    MissingDependencyError
        The onnx packages are not installed.
    """
    from embcomp.errors import MissingDependencyError

    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingDependencyError("exporting needs onnx and onnxscript: pip install onnx onnxscript") from None
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


def _describe(module: nn.Module) -> dict[str, Any]:
    description = {"in_features": module.in_features, "out_features": module.out_features}
    if isinstance(module, MLPCompressor):
        description["hidden_features"] = module.hidden_features
    return description


def _build(description: dict[str, int]) -> nn.Module:
    sizes = [description[name] for name in ("in_features", "out_features", "hidden_features") if name in description]
    return blank(MLPCompressor if len(sizes) == 3 else LinearCompressor, *sizes)


def _expected(modules: dict[str, nn.Module], dim: int, d: int, n_seen: int | None) -> dict[str, torch.Tensor]:
    tensors = {
        f"{part}.{name}": tensor for part, module in modules.items() for name, tensor in module.state_dict().items()
    }
    shapes = {"cross": (dim, d), "gram": (d, d), "code_mean": (d,), "mean": (dim,), "scale": (dim,)}
    tensors |= {f"sums.{name}": torch.empty(shape) for name, shape in shapes.items()}
    if n_seen is not None:
        tensors["seen"] = torch.empty(n_seen, dtype=torch.int64)
    return tensors


def _version() -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("embcomp")
    except PackageNotFoundError:
        return None
