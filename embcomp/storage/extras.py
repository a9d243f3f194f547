"""Packages of extras, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from embcomp.errors import MissingDependencyError


def imported(module: str, needed_by: str, package: str, extra: str) -> Any:
    """A module of an optional package.

    Parameters
    ----------
    module : str
        Its name for ``import``.
    needed_by : str
        What needs it, in the plural.
    package : str
        What is installed for it.
    extra : str
        Of embcomp.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingDependencyError(
            f"{needed_by} need {package}: pip install -e '.[{extra}]' in the clone of embcomp"
        ) from None
