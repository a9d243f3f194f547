"""Docstrings of public names: numpydoc, in an order that readers expect, and of parameters that exist."""

from __future__ import annotations

import importlib
import inspect
import warnings

import pytest

PACKAGES = ("embcomp", "embcomp.compression", "embcomp.teachers", "embcomp.students", "embcomp.transfer")
PACKAGES += ("embcomp.losses", "embcomp.metrics", "embcomp.knowledge_clip", "embcomp.errors")
# What is not asked for: sections that would repeat a name or a type, and "Shape", a section of our own.
LEFT_OUT = {"SA01", "EX01", "ES01", "PR01", "PR07", "RT01", "RT03", "YD01", "SS05", "GL06", "GL07", "GL08"}


def public() -> dict[object, str]:
    """Classes and functions that the packages name, by the place where each is defined."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        own = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == package]
        for name in getattr(module, "__all__", own):
            value = getattr(module, name)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[value] = f"{value.__module__}.{value.__qualname__}"
    return found


PUBLIC = public()


def members(value: object) -> list[str]:
    """Public methods that a class defines."""
    if not inspect.isclass(value):
        return []
    kinds = (classmethod, staticmethod)
    return [
        name
        for name, one in vars(value).items()
        if not name.startswith("_") and (inspect.isfunction(one) or isinstance(one, kinds))
    ]


@pytest.mark.parametrize("value", PUBLIC, ids=PUBLIC.values())
def test_docstrings_are_numpydoc(value):
    validate = pytest.importorskip("numpydoc.validate", reason="needs numpydoc: pip install -e '.[dev]'").validate
    place = PUBLIC[value]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the section "Shape"
        found = {one: validate(one)["errors"] for one in [place, *(f"{place}.{name}" for name in members(value))]}
    wrong = {one: [error for error in errors if error[0] not in LEFT_OUT] for one, errors in found.items()}
    assert not {one: errors for one, errors in wrong.items() if errors}


@pytest.mark.parametrize("value", PUBLIC, ids=PUBLIC.values())
def test_everything_public_is_described(value):
    """A method that overrides one may leave it to that one's description."""
    assert inspect.getdoc(value)
    silent = [name for name in members(value) if not inspect.getdoc(getattr(value, name)) and name != "forward"]
    assert not silent
