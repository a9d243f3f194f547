"""LiteRT files in 8-bit numbers, by the AI Edge quantiser."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from embcomp.export.int8 import Quantised, mixed_precision

WEIGHED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
FURTHER = ("ADD", "MUL", "PAD", "MAX_POOL_2D")
SIGNATURE = "serving_default"
NETWORK, NORMALISATION = "_network", "InputNorm_norm"  # in the names that the converter gives a student's tensors


def quantise(
    path: Path,
    calibration: Sequence[dict[str, np.ndarray]],
    validation: Sequence[dict[str, np.ndarray]],
    output: str,
    decide: Callable[[np.ndarray], np.ndarray],
) -> Quantised:
    """Quantise the network of a file statically; the front end and the normalisation of log-mels stay in float.

    Parameters
    ----------
    path : Path
        In float, with the converter's names of tensors.
    calibration, validation : sequence of dict
        Inputs by name, of one row each.
    output : str
        Compared on the validation clips.
    decide : callable
        From the output (n, width) to what must agree, (n, ...).

    Returns
    -------
    Quantised
        Its model is the content of a file.
    """
    content = path.read_bytes()
    operations = _operations(content)
    layers = [name for kind, name in operations if kind in WEIGHED]
    ranges = _ranges(content, calibration)
    names = dict(zip(_readable(layers), layers))

    def attempt(floats: list[str]) -> tuple[bytes, np.ndarray]:
        kept = {names[name] for name in floats}
        model = _static(path, calibration[0], ranges, [one for one in operations if one[1] not in kept])
        return model, _run(model, validation, output)

    return mixed_precision(list(names), attempt, _run(content, validation, output), decide)


def _static(
    path: Path,
    example: dict[str, np.ndarray],
    ranges: dict[str, tuple[float, float]],
    operations: list[tuple[str, str]],
) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer

    recipe = quantizer.Quantizer(os.fspath(path))
    for kind in dict.fromkeys(kind for kind, _ in operations):
        names = "|".join(re.escape(name) for one, name in operations if one == kind)
        operation = getattr(qtyping.TFLOperationName, kind)
        recipe.add_static_config(
            regex=f"^(?:{names});?$", operation_name=operation, activation_num_bits=8, weight_num_bits=8
        )
    with _quiet():
        # The quantiser's own ranges are moving averages, which later clips may exceed by far; it gives the form only.
        found = recipe.calibrate({SIGNATURE: [example]}, num_threads=1)
        for name, values in found.items():
            if "min" in values:
                values["min"], values["max"] = (np.full_like(values["min"], end) for end in ranges[name])
        return bytes(recipe.quantize(found).quantized_model)


def _ranges(content: bytes, rows: Sequence[dict[str, np.ndarray]]) -> dict[str, tuple[float, float]]:
    """Least and greatest value of every float tensor over all rows."""
    interpreter = _interpreter(content, experimental_preserve_all_tensors=True)
    runner = interpreter.get_signature_runner()
    details = [one for one in interpreter.get_tensor_details() if one["dtype"] == np.float32]
    ranges: dict[str, tuple[float, float]] = {}
    for row in rows:
        runner(**row)
        for one in details:
            try:
                values = interpreter.get_tensor(one["index"])
            except ValueError:  # constants of fused operations have no memory
                continue
            if values.size:
                low, high = ranges.get(one["name"], (np.inf, -np.inf))
                ranges[one["name"]] = (min(low, float(values.min())), max(high, float(values.max())))
    return ranges


def _operations(content: bytes) -> list[tuple[str, str]]:
    """Kinds and outputs of the operations that can be in 8 bits, in the order they run: from the first layer on."""
    interpreter = _interpreter(content)
    names = {one["index"]: one["name"] for one in interpreter.get_tensor_details()}
    found = [(one["op_name"], names.get(one["outputs"][0], "")) for one in interpreter._get_ops_details()]
    # The front end has matrix products, too, and so may the normalisation of log-mels.
    found = [(kind, name) for kind, name in found if NETWORK in name and kind in (*WEIGHED, *FURTHER)]
    first = next(place for place, (kind, name) in enumerate(found) if kind in WEIGHED and NORMALISATION not in name)
    return found[first:]


def _readable(names: list[str]) -> list[str]:
    """Paths of modules in the names of tensors: ``Separable_0/NormReLU_norm1``."""
    paths = []
    for name in names:
        # A fused operation has the names of its parts, the layer's last.
        parts = name.split(";;")[-1].split(NETWORK, 1)[-1].split(";")[0].strip("/").split("/")
        paths.append("/".join(part.rsplit(".", 1)[-1] for part in parts))
    return [path if paths.count(path) == 1 else f"{path} {place}" for place, path in enumerate(paths)]


def _run(content: bytes, rows: Sequence[dict[str, np.ndarray]], output: str) -> np.ndarray:
    runner = _interpreter(content).get_signature_runner()
    return np.concatenate([runner(**row)[output] for row in rows])


def _interpreter(content: bytes, **options):
    from ai_edge_litert import interpreter as litert

    if options:  # fused operations keep no tensors to look at
        options["experimental_op_resolver_type"] = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return litert.Interpreter(model_content=content, num_threads=1, **options)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's progress bars."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
        yield


def shorten_names(content: bytes) -> bytes:
    """A file whose tensors are named by numbers: paths of modules take a fifth of a small file."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for graph in model.subgraphs:
        graph.name = b"main"
        for number, tensor in enumerate(graph.tensors):
            tensor.name = str(number).encode()
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
