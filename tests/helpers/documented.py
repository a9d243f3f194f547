"""Defaults that docstrings name, beside those of the signatures."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator

LINE = re.compile(r"^ *(\w+(?:, \w+)*) : .*\bdefault=(.+)$", re.MULTILINE)


def named(package: str) -> Iterator[tuple[str, str, object, object]]:
    """Function, parameter, default by the docstring and by the signature, of all that the modules of a package define."""
    root = importlib.import_module(package)
    for one in pkgutil.iter_modules(root.__path__, f"{package}."):
        module = importlib.import_module(one.name)
        for value in vars(module).values():
            if getattr(value, "__module__", "") == module.__name__ and callable(value):
                yield from _of(f"{one.name}.{value.__name__}", value, value.__doc__ or "")
                methods = inspect.getmembers(value, inspect.isroutine) if inspect.isclass(value) else []
                for name, method in methods:
                    if not name.startswith("_") and getattr(method, "__module__", "") == module.__name__:
                        yield from _of(f"{one.name}.{value.__name__}.{name}", method, method.__doc__ or "")


def _of(place: str, called: object, text: str) -> Iterator[tuple[str, str, object, object]]:
    found = list(LINE.finditer(text))
    parameters = inspect.signature(called).parameters if found else {}
    for line in found:
        values = [part.strip() for part in line[2].split(", ")]
        names = line[1].split(", ")
        for name, value in zip(names, values if len(values) > 1 else values * len(names), strict=True):
            if name in parameters:  # attributes have defaults, too
                yield place, name, ast.literal_eval(value), parameters[name].default
