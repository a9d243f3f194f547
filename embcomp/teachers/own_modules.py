"""Modules that a user names as a teacher: not packages that embcomp knows how to install."""

from __future__ import annotations

import importlib
from types import ModuleType

from embcomp.errors import MissingDependencyError
from embcomp.extras import first_line, is_missing


def own_module(name: str, spec: str) -> ModuleType:
    """Import a module of the user's.

    Parameters
    ----------
    name : str
        Its name for ``import``.
    spec : str
        The teacher that names it, for the message.

    Raises
    ------
    MissingDependencyError
        It is not found, or does not import.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever somebody's code does while it is imported
        if not is_missing(name):
            raise MissingDependencyError(f"{spec}: {name} does not import ({first_line(error)}); mend it") from error
        raise MissingDependencyError(
            f"{spec} needs {name.partition('.')[0]}, which is not installed; check its name, put its folder on PYTHONPATH, "
            "or install the package that holds it"
        ) from error
