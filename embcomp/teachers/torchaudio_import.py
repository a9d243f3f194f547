"""The only place that imports torchaudio: its Python code works where its compiled extension does not load."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

NAME = "torchaudio"


def import_torchaudio() -> ModuleType:
    """torchaudio, with its compiled extension or else as if it had been built without.

    The extension of a wheel built for another torch fails with an OSError and takes the whole package with
    it, and with it every package that imports torchaudio because it is there.

    Raises
    ------
    ImportError, OSError
        It is not installed, or its Python code does not load either.
    """
    try:
        return importlib.import_module(NAME)
    except (ImportError, OSError):
        _forget()
        if importlib.util.find_spec(NAME) is None:
            raise
    _say_there_is_no_extension()
    try:
        return importlib.import_module(NAME)
    except (ImportError, OSError):
        _forget()
        raise


def shield() -> None:
    """Let others import torchaudio, or find that there is none: never fail in the middle of it."""
    try:
        if sys.modules.get(NAME) is None and importlib.util.find_spec(NAME) is None:
            return
        import_torchaudio()
    except (ImportError, OSError, ValueError):
        sys.modules[NAME] = None  # type: ignore[assignment]  # find_spec then says that there is none


def _forget() -> None:
    """Drop the half of the package that a failed import leaves."""
    for name in [name for name in sys.modules if name == NAME or name.startswith(f"{NAME}.")]:
        del sys.modules[name]


def _say_there_is_no_extension() -> None:
    # torchaudio asks a function of its own whether there is a library, and does without where there is none.
    place = Path(importlib.util.find_spec(NAME).origin).parent / "_extension" / "utils.py"
    name = f"{NAME}._extension.utils"
    spec = importlib.util.spec_from_file_location(name, place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module._load_lib = lambda library: False
    sys.modules[name] = module
