"""House rules that a reader should be able to rely on."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "embcomp"

# What each room may import, beside `errors` and `extras`. docs/architecture.md says what is in them.
GROUND: set[str] = {"storage", "config", "data", "audio"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "extras": set(),
    "storage": set(),
    "config": set(),
    "losses": set(),
    "learning": set(),
    "card": {"storage", "teachers"},
    "metrics": set(),
    "engines": set(),
    "distributed": {"engines"},
    "data": {"storage"},
    "audio": {"data", "storage", "config", "distributed"},
    "compression": {"storage", "losses", "learning", "card", "engines"},
    "teachers": GROUND | {"engines"},
    "prediction": GROUND,
    "students": GROUND | {"losses", "metrics", "prediction", "card", "distributed"},
    "transfer": {"students", "losses", "learning", "data", "config"},
    "training": GROUND
    | {"students", "losses", "learning", "metrics", "transfer", "teachers", "compression", "distributed"},
    "evaluation": GROUND | {"students", "compression", "learning", "metrics"},
    "export": GROUND | {"prediction", "students", "teachers", "compression", "metrics"},
    "serving": GROUND | {"prediction", "export"},
    "review": GROUND | {"prediction", "students", "serving"},
    "show": GROUND | {"prediction", "metrics", "report", "review"},
    "report": {"evaluation", "students", "metrics", "storage"},
    "demo": {"storage", "config"},
    "knowledge_clip": GROUND | {"losses", "students", "transfer", "training"},
}
MAY_IMPORT["pipeline"] = set(MAY_IMPORT) - {"demo", "knowledge_clip", "serving", "review", "show"}
MAY_IMPORT["doctor"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = set(MAY_IMPORT)
MAY_IMPORT["__init__"] = set(MAY_IMPORT) - {"cli", "doctor"}  # lazily
MAY_IMPORT["__main__"] = {"cli"}
MAY_IMPORT["labels"] = {"data"}  # the name that scripts of before the rooms import


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sources()}


def imports(path: Path) -> set[str]:
    """Modules of embcomp that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "embcomp":
            # `from package import name` means the module of that name where there is one.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "embcomp"}
    return found - {module_of(path)}


def room_of(module: str) -> str:
    return (module.split(".") + ["__init__"])[1]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_what_they_may(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in MAY_IMPORT, f"{room} is no room of the plan: see docs/architecture.md, then MAY_IMPORT"
    others = {room_of(module) for module in imports(path)} - {room, "errors", "extras", "__init__"}
    assert others <= MAY_IMPORT[room], f"{path.name}: {room} must not import {sorted(others - MAY_IMPORT[room])}"


def test_every_room_exists():
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sources()}
    assert rooms == set(MAY_IMPORT)


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Paths that end where they start."""
    found, done = [], set()

    def follow(module: str, trail: list[str]) -> None:
        if module in trail:
            found.append([*trail[trail.index(module) :], module])
        elif module not in done:
            for other in sorted(arrows.get(module, ())):
                follow(other, [*trail, module])
            done.add(module)

    for module in sorted(arrows):
        follow(module, [])
    return found


def test_no_file_imports_itself_by_way_of_others():
    # The top of the package names public classes lazily, and for type checkers.
    arrows = {module: imports(path) - {"embcomp"} for module, path in MODULES.items() if module != "embcomp"}
    assert circles(arrows) == []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


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
    if path != PACKAGE / "audio" / "decoding.py":
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


def test_the_architecture_page_names_every_room_and_no_file_that_is_not_there():
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.split("## Rooms")[1].split("## ")[0]
    rooms = set(
        re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if line[:3] == "| `"))
    )
    assert rooms == set(MAY_IMPORT) - {"__init__", "__main__", "labels"}
    named = re.findall(r"`((?:\w+/)+\w+\.py)`", page)
    assert len(named) > 10
    for name in named:
        assert (PACKAGE / name).exists() or (ROOT / name).exists() or "NAME" in name, name
