"""A page for any static file server: a model exported to ONNX labels files and the microphone in the browser."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from importlib.resources import files
from pathlib import Path

from embcomp.errors import ConfigError, EmbcompError, why
from embcomp.export.labelling import ExportedLabeller
from embcomp.export.runtime import OnnxModel
from embcomp.storage.files import write_text
from embcomp.storage.ownership import check_results, mark_results

KIND = "page"
OWN = ("index.html", "page.css", "page.js", "worklet.js")
RUNTIME = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MOST = 64 << 20  # bytes of one file of the runtime
HOW = (
    "get it with `npm pack onnxruntime-web`, which leaves onnxruntime-web-VERSION.tgz in this folder, "
    "and give that file, or node_modules/onnxruntime-web, as --runtime"
)
READ = """A page that labels sounds in the browser. It needs a web server, any that gives out files:

    python -m http.server --bind 127.0.0.1 --directory .

then open http://127.0.0.1:8000. The microphone works on this address, and elsewhere with https only. Sounds do not leave the browser.
In ort/ is onnxruntime-web, by Microsoft, MIT licence.
"""


def write_page(
    model: str | os.PathLike, out: str | os.PathLike, runtime: str | os.PathLike | None = None, title: str = ""
) -> Path:
    """Write the page's folder: HTML, script, model, and the runtime, all local.

    Parameters
    ----------
    model : path
        ``.onnx`` file that ``embcomp export`` wrote of a student, with the front end inside.
    out : path
        Folder; one that this function wrote is renewed.
    runtime : path, optional
        The package onnxruntime-web, as npm packs it or as a folder; by default looked for in the current folder.

    Raises
    ------
    ArtifactError
        The model is no exported classifier, or `out` has files of others.
    ConfigError
        The runtime is not there; the message says how to get it.
    """
    model, out = Path(model), Path(out)
    if model.suffix.lower() != ".onnx":
        raise ConfigError(
            f"{model}: the page runs ONNX; write it with embcomp export STUDENT --to onnx --out model.onnx"
        )
    labeller = ExportedLabeller(OnnxModel(model))
    parts = read_runtime(find_runtime() if runtime is None else Path(runtime))
    check_results(out, KIND, (*OWN, "model.onnx", "model.json", "ort", "READ.txt"))
    try:
        (out / "ort").mkdir(parents=True, exist_ok=True)
        mark_results(out, KIND)
        for name, content in parts.items():
            (out / "ort" / name).write_bytes(content)
        shutil.copyfile(model, out / "model.onnx")
    except OSError as error:
        raise EmbcompError(f"cannot write {out}: {why(error)}") from error
    info = labeller.model.info
    stated = {
        "labels": info.labels,
        "sample_rate": info.sample_rate,
        "window": info.window,
        "samples": info.samples,
        "multi_label": info.multi_label,
        "threshold": info.threshold,
        "channel": labeller.audio.channel,
    }
    write_text(out / "model.json", json.dumps(stated, indent=1, ensure_ascii=False) + "\n")
    own = files("embcomp.serving") / "page_files"
    for name in OWN:
        text = (own / name).read_text(encoding="utf-8")
        write_text(out / name, text.replace("Sound classifier", _escaped(title)) if title and name == OWN[0] else text)
    write_text(out / "READ.txt", READ)
    return out / "index.html"


def find_runtime(folder: str | os.PathLike = ".") -> Path:
    """The package onnxruntime-web in a folder, packed or installed there; of several packed ones the last by name.

    Raises
    ------
    ConfigError
        It is not there.
    """
    folder = Path(folder)
    installed = folder / "node_modules" / "onnxruntime-web"
    packed = sorted(folder.glob("onnxruntime-web-*.tgz"))
    if not packed and not installed.is_dir():
        raise ConfigError(f"the page needs the npm package onnxruntime-web: {HOW}")
    return packed[-1] if packed else installed


def read_runtime(path: Path) -> dict[str, bytes]:
    """The files of the package that the page loads, by name.

    Raises
    ------
    ConfigError
        It is not that package, or lacks a file.
    """
    found = {}
    try:
        if path.is_dir():
            for name in RUNTIME:
                found[name] = (path / "dist" / name).read_bytes()
            return found
        with tarfile.open(path) as archive:
            for name in RUNTIME:
                member = archive.getmember(f"package/dist/{name}")
                if not member.isfile() or member.size > MOST:
                    raise KeyError(name)
                found[name] = archive.extractfile(member).read(MOST)
    except (OSError, KeyError, tarfile.TarError, EOFError) as error:
        raise ConfigError(f"{path} is not the npm package onnxruntime-web ({error}): {HOW}") from None
    return found


def _escaped(text: str) -> str:
    import html

    return html.escape(text)
