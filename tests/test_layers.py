"""House rules that a reader should be able to rely on."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "embcomp"

LAYERS = [
    ["errors"],
    ["files", "schema", "ranges", "guards"],
    ["config", "manifest", "labels", "splits", "audio", "logmel", "metrics", "artifact", "arrays"],
    ["losses", "students", "concepts", "text"],
    ["store", "clips"],
    ["features", "teachers", "compression", "engine", "robustness"],
    ["transfer", "classifier", "augment", "probes"],
    ["training", "adapt"],
    ["distill", "dimension", "cost", "knowledge_clip"],
    ["evaluation", "prediction"],
    ["report", "demo", "doctor", "comparison"],
    ["pipeline"],
    ["matrix"],
    ["cli"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
            if node.module == "embcomp":
                modules = [f"embcomp.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        found |= {module.split(".")[1] for module in modules if module.startswith("embcomp.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_layers_below(path):
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    assert part in RANK, f"{part} has no layer: add it to LAYERS"
    for other in imported_parts(path) - {part}:
        assert RANK[other] < RANK[part], f"{path.name} ({part}) imports {other}, which is not below it"


def test_every_layer_exists():
    parts = {part_of(path) for path in sources()}
    assert set(RANK) <= parts | {"dimension"}


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_are_short_and_say_what_they_are(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 400, "past 400 lines: split it"
    assert ast.get_docstring(ast.parse(text)), "a module says in one line what it is"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_unpickled_and_audio_has_one_decoder(path):
    text = path.read_text(encoding="utf-8")
    assert "import pickle" not in text and "allow_pickle=True" not in text and "weights_only=False" not in text
    assert "torchaudio.load" not in text and "librosa.load" not in text
    if path.name != "audio.py":
        assert "SoundFile(" not in text and "soundfile.read" not in text
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            assert "weights_only=True" in ast.unparse(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
            assert "allow_pickle=False" in ast.unparse(node)


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)


def test_compression_imports_with_torch_numpy_and_sklearn_alone():
    blocked = ["librosa", "click", "pandas", "torchaudio", "soundfile", "soxr", "safetensors", "tqdm", "matplotlib"]
    code = f"import sys\nfor name in {blocked}: sys.modules[name] = None\nimport embcomp.compression"
    done = run_python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("statement", ["import embcomp", "import embcomp.cli"])
def test_light_imports_stay_light(statement):
    heavy = ("torch", "pandas", "sklearn", "librosa", "numpy", "scipy")
    done = run_python(f"import sys\n{statement}\nprint([name for name in {heavy} if name in sys.modules])")
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_public_names_resolve():
    import embcomp

    for name in embcomp.__all__:
        assert getattr(embcomp, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Compresor'"):
        _ = embcomp.Compresor
