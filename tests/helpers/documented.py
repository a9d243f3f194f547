"""Defaults that docstrings name, beside those of the signatures."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator

LINE = re.compile(r"^ *(\w+(?:, \w+)*) : .*\bdefault=(.+)$", re.MULTILINE)


def named(package: str) -> Iterator[tuple[str, str, object, object]]:
    """Function, parameter, default by the docstring and by the signature, of all that the modules of a package define."""
    for place, called in _defined(package):
        yield from _of(place, called, called.__doc__ or "")


def unnamed(package: str) -> list[tuple[str, str]]:
    """Function and parameter of the public defaults other than None that no docstring names."""
    there = {(place, name) for place, name, _, _ in named(package)}
    every = [
        (place, parameter.name)
        for place, called in _defined(package)
        if not any(part.startswith("_") for part in place.split("."))
        for parameter in inspect.signature(called).parameters.values()
        if parameter.default not in (None, inspect.Parameter.empty)
    ]
    return [one for one in every if one not in there]


def _defined(package: str) -> Iterator[tuple[str, Callable]]:
    root = importlib.import_module(package)
    for one in pkgutil.iter_modules(root.__path__, f"{package}."):
        module = importlib.import_module(one.name)
        for value in vars(module).values():
            if getattr(value, "__module__", "") == module.__name__ and callable(value):
                yield f"{one.name}.{value.__name__}", value
                methods = inspect.getmembers(value, inspect.isroutine) if inspect.isclass(value) else []
                for name, method in methods:
                    if not name.startswith("_") and getattr(method, "__module__", "") == module.__name__:
                        yield f"{one.name}.{value.__name__}.{name}", method


def _of(place: str, called: object, text: str) -> Iterator[tuple[str, str, object, object]]:
    found = list(LINE.finditer(text))
    parameters = inspect.signature(called).parameters if found else {}
    for line in found:
        values = [part.strip() for part in line[2].split(", ")]
        names = line[1].split(", ")
        for name, value in zip(names, values if len(values) > 1 else values * len(names), strict=True):
            if name in parameters:  # attributes have defaults, too
                yield place, name, ast.literal_eval(value), parameters[name].default
