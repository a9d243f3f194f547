"""The kernels of ``kernels/kernels.cpp``: compiled with the machine's C++ compiler when first wanted, and kept."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

SOURCE = Path(__file__).parent / "kernels" / "kernels.cpp"
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-exceptions", "-fno-rtti", "-shared", "-fPIC", "-pthread")
NATIVE = (("-march=native",), ("-mcpu=native",), ())  # the first that the compiler knows
COMPILERS = ("c++", "g++", "clang++")
SWITCH = "EMBCOMP_KERNELS"  # 0 in the environment leaves the kernels alone

# Arguments of each function: l a whole number, d a real one, p an address.
NORM = "ppppdd"
SIGNATURES = {
    "lanes": "",
    "separable": "l" * 9 + "ppp" + NORM + "p" + NORM + "p" * 6,
    "separable_backward": "l" * 9 + "p" * 17,
    "single": "l" * 7 + "ppp" + NORM + "p" * 4,
    "single_backward": "l" * 7 + "p" * 11,
}
SINGLE_PRECISION = {
    "change": "l" * 4 + "p" * 5 + "lplpp",
    "normalise": "l" * 4 + "ppddp",
    "temporal_stem": "l" * 6 + "ppp" + NORM + "p" * 4,
    "temporal_stem_backward": "l" * 6 + "p" * 9,
    "residual": "l" * 7 + "ppp" + NORM + "p" + NORM + "p" + NORM + "p" * 8,
    "residual_backward": "l" * 7 + "p" * 24,
}
TYPES = {"l": ctypes.c_long, "d": ctypes.c_double, "p": ctypes.c_void_p}


def kernels(dtype: torch.dtype = torch.float32) -> ctypes.CDLL | None:
    """The compiled functions for maps of float32 or bfloat16, or None where there are none; `why_not` says why."""
    return _load(dtype == torch.bfloat16)[0]


def threads_for(clips: int) -> int:
    """As many threads as torch has, each with a share of a batch's clips."""
    return max(1, min(torch.get_num_threads(), clips))


def addresses(*tensors: Tensor | None) -> list[int | None]:
    """Where tensors lie, as the kernels take them."""
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


def why_not() -> str:
    """Why there are no compiled functions, and how to get them; empty if there are."""
    return _load(False)[1] or _load(True)[1]


@functools.cache
def _load(half: bool) -> tuple[ctypes.CDLL | None, str]:
    if os.environ.get(SWITCH) == "0":
        return None, f"{SWITCH}=0 is set"
    named = os.environ.get("CXX")
    compiler = next(filter(None, map(shutil.which, [named] if named else COMPILERS)), None)
    if compiler is None:
        return None, f"no C++ compiler found ({named or ', '.join(COMPILERS)}); install one, such as g++"
    try:
        library = ctypes.CDLL(os.fspath(_built(compiler, (*FLAGS, "-DHALF") if half else FLAGS)))
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        return None, f"{compiler} did not compile {SOURCE.name}: {said[0] if said else error}"
    for name, signature in (SIGNATURES if half else SIGNATURES | SINGLE_PRECISION).items():
        function = getattr(library, name)
        function.argtypes = [TYPES[letter] for letter in signature]
        function.restype = ctypes.c_long if name == "lanes" else None
    return library, ""


def _built(compiler: str, flags: tuple[str, ...]) -> Path:
    """The library for this source, compiler and processor, compiled if it is not there yet."""
    sources = (path.read_bytes() for path in sorted(SOURCE.parent.iterdir()))
    parts = (*sources, *(text.encode() for text in (*flags, compiler, _processor())))
    name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24] + ".so"
    for folder in _folders():
        path = folder / name
        # What another user may have put there is not run.
        if path.is_file() and (not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()):
            return path
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                made = Path(scratch) / name
                _compile(compiler, flags, made)
                os.replace(made, path)
            return path
    raise OSError("no folder to write the library to")


def _compile(compiler: str, flags: tuple[str, ...], path: Path) -> None:
    for number, native in enumerate(NATIVE, 1):
        command = [compiler, *native, *flags, "-x", "c++", os.fspath(SOURCE), "-o", os.fspath(path)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
            return
        except subprocess.CalledProcessError:
            if number == len(NATIVE):
                raise


def _folders() -> list[Path]:
    """Where the library may be kept, the best first; the last one serves this process and user alone."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return [Path(cache) / "embcomp" / "kernels", Path(tempfile.gettempdir()) / f"embcomp-kernels-{user}"]


def _processor() -> str:
    """What the instructions depend on, as a cache may be shared between machines."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))
    return f"{platform.processor()} {platform.machine()}"
