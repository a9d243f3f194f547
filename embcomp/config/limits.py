"""Settings of frozen dataclasses: their default, what values they may have, and what they are for, in one place."""

from __future__ import annotations

import importlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from embcomp.errors import ConfigError, nearest

MAX_SEED = 2**31 - 1  # what numpy, torch and scikit-learn all take

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def setting(
    default: Any,
    doc: str = "",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Sequence[str] | str | None = None,
) -> Any:
    """A dataclass field with its limits.

    Parameters
    ----------
    default : bool, int, float, str or tuple of these
    doc : str
        What it is for, with its unit.
    at_least, at_most : number, optional
        Bounds, which are allowed themselves.
    choices : sequence of str, or str, optional
        The values a string may have; ``module:NAME`` of a room above is looked up when a value is read.
    """
    return field(default=default, metadata={"doc": doc, "at_least": at_least, "at_most": at_most, "choices": choices})


def seed_setting(doc: str = "") -> Any:
    """A field for a seed, 0 by default."""
    return setting(0, doc, at_least=0, at_most=MAX_SEED)


def read_value(value: Any, kind: Any, limits: Mapping[str, Any], where: str) -> Any:
    """A value from TOML or JSON as the type of its field, within its limits.

    Parameters
    ----------
    value : any
    kind : type
        ``bool``, ``int``, ``float``, ``str`` or ``tuple[one of these, ...]``.
    limits : mapping
        Metadata of the field, see `setting`.
    where : str
        File and key, for messages.

    Raises
    ------
    ConfigError
        Wrong type, not finite, or out of range; says what is allowed.
    """
    if isinstance(kind, types.GenericAlias):
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{where} must be a list, not {value!r}")
        return tuple(read_value(part, typing.get_args(kind)[0], limits, where) for part in value)
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 1e300 else float("inf")
    if type(value) is not kind:
        raise ConfigError(f"{where} must be {_WORDS[kind]}, not {value!r}")
    if kind is float and not abs(value) < float("inf"):
        raise ConfigError(f"{where} must be finite, not {value}")
    low, high, choices = (limits.get(name) for name in ("at_least", "at_most", "choices"))
    if choices is not None and value not in (choices := choices_of(choices)):
        raise ConfigError(f"{where} is {value!r}; {nearest(value, choices)}")
    if low is not None and value < low:
        raise ConfigError(f"{where} must be at least {low}, not {value}")
    if high is not None and value > high:
        raise ConfigError(f"{where} must be at most {high}, not {value}")
    return value


def choices_of(choices: Sequence[str] | str) -> Sequence[str]:
    """The values that `setting` was given, or the names that are registered at ``module:NAME``."""
    if not isinstance(choices, str):
        return choices
    module, _, name = choices.partition(":")
    return tuple(getattr(importlib.import_module(module), name))
