"""Packages that only some teachers need: imported late, and missed in one line that says how to get them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from embcomp.errors import MissingDependencyError

OWN = "; check its name, put its folder on PYTHONPATH, or install the package that holds it"


def missing(module: str, extra: str = "", package: str = "") -> str:
    """What to install before `module` can be imported; empty where it is there.

    Examples
    --------
    >>> missing("torch")
    ''
    """
    try:
        there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a parent is missing, or somebody blocks it
        there = False
    return "" if there else f"{module.partition('.')[0]} is missing: {install(module, extra, package)}"


def install(module: str, extra: str = "", package: str = "") -> str:
    """The command that installs `module`: an extra of this project, or a package."""
    if extra:
        return f"pip install -e '.[{extra}]' in a clone of embcomp"
    return f"pip install {package or module.partition('.')[0]}"


def load(module: str, needed_by: str, extra: str = "", package: str = "") -> ModuleType:
    """Import `module`.

    Parameters
    ----------
    needed_by : str
        What needs it, for the message.
    extra, package : str
        What installs it. With neither, the module is the user's own, and the message asks for its place.

    Raises
    ------
    MissingDependencyError
        It is missing, or does not import; with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever a package does while it is imported
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
        known, top = extra or package, module.partition(".")[0]
        if missing(module, extra, package):
            said = f"{needed_by} needs {top}, which is not installed"
            mend = f": {install(module, extra, package)}" if known else OWN
        else:
            said = f"{needed_by}: {module} does not import ({reason})"
            mend = f"; install it anew: {install(module, extra, package)}" if known else "; mend it"
        raise MissingDependencyError(said + mend) from error
