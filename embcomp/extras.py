"""Optional packages: imported where they are used, and missed in one line that says how to get them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from embcomp.errors import MissingDependencyError


def install(package: str, extra: str = "") -> str:
    """The command that installs `package`, by an extra of this project where it has one.

    Examples
    --------
    >>> install("optuna", "tune"), install("gcsfs")
    ("pip install -e '.[tune]' in a clone of embcomp", 'pip install gcsfs')
    """
    return f"pip install -e '.[{extra}]' in a clone of embcomp" if extra else f"pip install {package}"


def is_missing(module: str) -> bool:
    """Whether `module` is not installed; nothing is imported but the packages that it is a part of.

    Examples
    --------
    >>> is_missing("torch"), is_missing("a_package_of_nobody")
    (False, True)
    """
    try:
        # The package is asked, too, as a part that was imported before is found without it.
        return any(importlib.util.find_spec(name) is None for name in (module.partition(".")[0], module))
    except (ImportError, ValueError):  # a package above it is missing, or somebody blocks it
        return True


def missing(module: str, package: str = "", extra: str = "") -> str:
    """What to install before `module` can be imported; empty where it is there.

    Examples
    --------
    >>> missing("torch"), missing("a_package_of_nobody")
    ('', 'a_package_of_nobody is missing: pip install a_package_of_nobody')
    """
    top = module.partition(".")[0]
    return f"{top} is missing: {install(package or top, extra)}" if is_missing(module) else ""


def imported(module: str, needing: str, package: str = "", extra: str = "", otherwise: str = "") -> ModuleType:
    """A module of an optional package.

    Parameters
    ----------
    module : str
        Its name for ``import``.
    needing : str
        What needs it, with the verb: ``"Lance tables need"``.
    package : str
        What is installed for it, where that has another name.
    extra : str
        Of embcomp, which installs it.
    otherwise : str
        What else helps, after the command.

    Raises
    ------
    MissingDependencyError
        It is not installed, or does not import.
    """
    top = module.partition(".")[0]
    package = package or top
    try:
        importlib.import_module(top)  # a part that was imported before says nothing of the package
        return importlib.import_module(module)
    except Exception as error:  # whatever a package does while it is imported
        reason = "" if is_missing(top) else f", which does not import ({first_line(error)})"
        raise MissingDependencyError(f"{needing} {package}{reason}: {install(package, extra)}{otherwise}") from error


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says.

    Examples
    --------
    >>> first_line(OSError("no such library\\nin none of these places"))
    'OSError: no such library'
    """
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
