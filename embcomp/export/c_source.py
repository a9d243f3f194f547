"""The C file of a student: the template with its numbers filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import torch

from embcomp.audio.logmel import LogMel
from embcomp.export.c_network import Layer, Network
from embcomp.export.info import ModelInfo

A_LINE = 16  # numbers
PLACES = 4  # as the template has it
# Of each test vector: seed, right shift of the noise, half period of a square wave in samples, share of the window.
VECTORS = ((1, 3, 40, 1.0), (2, 6, 9, 0.5), (3, 1, 200, 0.13))
TOLERANCE = {False: 1e-4, True: 1 / 255}  # of a probability: float weights, 8-bit weights


@dataclass(frozen=True)
class CSource:
    """The text of a C file, and what it takes of a device.

    Attributes
    ----------
    text : str
    flash : int
        Bytes of weights and tables; code comes on top.
    ram : int
        Bytes of static memory.
    """

    text: str
    flash: int
    ram: int


def c_source(info: ModelInfo, network: Network, logmel: LogMel, int8: bool) -> CSource:
    """Fill in the template."""
    tables = _tables(network, logmel)
    even, odd = _map_values(network, logmel, info)
    widest = max(layer.weights.shape[0] for layer in network.layers)
    flash = sum(layer.bytes for layer in network.layers) + sum(values.nbytes for values in tables.values())
    ram = 4 * (even + odd + logmel.n_fft + logmel.n_fft // 2 + 1 + 2 * PLACES * widest)
    pcm = info.samples == "int16"
    blocks = [
        f"    {{{_layer(block.depthwise)}, {_layer(block.pointwise)}, {len(block.depthwise.biases)}, "
        f"{len(block.pointwise.biases)}, {block.stride}, {int(block.skip)}}}"
        for block in network.blocks
    ]
    text = [_array(name, values) for name, values in tables.items()]
    text += [_weights(layer) for layer in network.layers]
    text += [
        f"static const Layer {layer.name} = {_layer(layer)};"
        for layer in (network.stem, network.across, network.project, network.classify)
    ]
    text.append("static const Block blocks[BLOCKS] = {\n" + ",\n".join(blocks) + "};")
    fields = {
        "TITLE": f"A classifier of {len(info.labels)} classes: ds_cnn, {'8-bit' if int8 else 'float'} weights.",
        "SAMPLES": "16-bit" if pcm else "float in [-1, 1]",
        "RATE": info.sample_rate,
        "RAM": ram,
        "FLASH": flash,
        "CLASSES": len(info.labels),
        "MAX_SAMPLES": round(info.window * info.sample_rate),
        "MULTI_LABEL": int(info.multi_label),
        "INT8": int(int8),
        "N_FFT": logmel.n_fft,
        "HOP": logmel.hop_length,
        "N_MELS": logmel.n_mels,
        "FLOOR": _number(logmel.floor),
        "PER_CLIP": int(network.per_clip),
        "STEM": len(network.stem.biases),
        "WIDEST": widest,
        "N_BLOCKS": len(network.blocks),
        "LAST_BANDS": network.across.weights.shape[2],
        "LAST": len(network.across.biases),
        "EMBEDDING": len(network.project.biases),
        "SAMPLE": "int16_t" if pcm else "float",
        "SCALE": "1 / 32768.0f" if pcm else "1.0f",
        "PCM": "" if pcm else "/ 32768.0f",
        "LABELS": ", ".join(map(_string, info.labels)),
        "TABLES": "\n".join(text),
        "EVEN": even,
        "ODD": odd,
        "VECTORS": ",\n".join(_vectors(info, network, logmel)),
        "TOLERANCE": _number(TOLERANCE[int8]),
    }
    template = (files("embcomp.export") / "c_template.c").read_text(encoding="utf-8")
    filled = re.sub(r"@([A-Z_0-9]+)@", lambda found: str(fields[found[1]]), template)
    return CSource(filled, flash, ram)


def _tables(network: Network, logmel: LogMel) -> dict[str, np.ndarray]:
    """Constants of the front end and of the input norm."""
    n_fft = logmel.n_fft
    angles = 2 * np.pi * np.arange(n_fft // 2) / n_fft
    window = np.zeros(n_fft)
    before = (n_fft - logmel.win_length) // 2
    window[before : before + logmel.win_length] = logmel.window.numpy()
    filters = logmel.filters.numpy()
    begin = (filters > 0).argmax(axis=1)
    end = filters.shape[1] - (filters > 0)[:, ::-1].argmax(axis=1)
    return {
        "cosines": np.cos(angles).astype(np.float32),
        "sines": np.sin(angles).astype(np.float32),
        "window": window.astype(np.float32),
        "filter_begin": begin.astype(np.int16),
        "filter_end": end.astype(np.int16),
        "filters": np.concatenate([row[first:last] for row, first, last in zip(filters, begin, end)]),
        "norm_a": network.norm_a,
        "norm_b": network.norm_b,
    }


def _map_values(network: Network, logmel: LogMel, info: ModelInfo) -> tuple[int, int]:
    """Numbers in the largest map of each of the two that are written in turn, the log-mel being the first."""
    bands, frames = logmel.n_mels, int(logmel.frames(round(info.window * info.sample_rate)))
    sizes = [bands * frames]
    steps = [(2, len(network.stem.biases)), *((one.stride, len(one.pointwise.biases)) for one in network.blocks)]
    for stride, channels in steps:
        bands, frames = -(-bands // stride), -(-frames // stride)
        sizes.append(bands * frames * channels)
    return max(sizes[::2]), max(sizes[1::2])


def vector_signal(seed: int, shift: int, period: int, count: int) -> np.ndarray:
    """The sound of a test vector as 16-bit whole numbers (count,), as the C file makes it."""
    noise, found = seed, np.empty(count, dtype=np.int64)
    for position in range(count):
        noise = (noise * 1664525 + 1013904223) & 0xFFFFFFFF
        found[position] = noise >> 16
    found -= 32768
    # C divides towards zero.
    found = np.sign(found) * (np.abs(found) // (1 << shift))
    return found + np.where(np.arange(count) // period % 2, 4096, -4096)


def reference(network: Network, logmel: LogMel, multi_label: bool, waveform: np.ndarray) -> np.ndarray:
    """Probabilities (classes,) of a waveform (samples,) in [-1, 1], by the student with the weights that C has."""
    with torch.inference_mode():
        logits = network.reference(logmel(torch.from_numpy(waveform)[None]), None).logits[0]
        return (logits.sigmoid() if multi_label else logits.softmax(0)).numpy()


def _vectors(info: ModelInfo, network: Network, logmel: LogMel) -> Iterable[str]:
    for seed, shift, period, share in VECTORS:
        count = max(1, round(share * round(info.window * info.sample_rate)))
        clipped = np.clip(
            vector_signal(seed, shift, period, count), -32768, 32767 if info.samples == "int16" else 40000
        )
        found = reference(network, logmel, info.multi_label, (clipped / 32768).astype(np.float32))
        yield f"    {{{seed}u, {shift}, {period}, {count}, {{{', '.join(map(_number, found))}}}}}"


def _layer(layer: Layer) -> str:
    scales = f"{layer.name}_scales" if layer.weights.dtype == np.int8 else "0"
    return f"{{{layer.name}_weights, {scales}, {layer.name}_biases}}"


def _weights(layer: Layer) -> str:
    # Output channels are the last axis in C; a depthwise layer has one weight for each of them at a place.
    weights = np.moveaxis(layer.weights, 0, -1)
    parts = [_array(f"{layer.name}_weights", weights, "weight"), _array(f"{layer.name}_biases", layer.biases)]
    if layer.weights.dtype == np.int8:
        parts.append(_array(f"{layer.name}_scales", layer.scales))
    return "\n".join(parts)


def _array(name: str, values: np.ndarray, kind: str = "") -> str:
    kind = kind or {"float32": "float", "int16": "int16_t"}[str(values.dtype)]
    shown = [str(one) for one in values.ravel()] if values.dtype.kind == "i" else list(map(_number, values.ravel()))
    lines = [", ".join(shown[first : first + A_LINE]) for first in range(0, len(shown), A_LINE)]
    return f"static const {kind} {name}[{values.size}] = {{\n    " + ",\n    ".join(lines) + "};"


def _number(value: float) -> str:
    text = f"{float(value):.9g}"
    return f"{text if set('.e') & set(text) else text + '.0'}f"


def _string(text: str) -> str:
    """A string literal: whatever is not a letter, a figure or a plain sign is written by its bytes."""
    shown = [
        chr(byte) if chr(byte).isalnum() and byte < 128 or byte in b" -_.,:;()+/" else f"\\{byte:03o}"
        for byte in text.encode()
    ]
    return '"' + "".join(shown) + '"'
