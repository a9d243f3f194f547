"""Plain tables to frozen dataclasses and back: unknown keys and wrong types are told in words."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from embcomp.errors import ConfigError, nearest

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def build(kind: type, content: Any, source: str, prefix: str, defaults: Mapping[str, Any] | None = None) -> Any:
    """Fill the dataclass `kind` from a table.

    Parameters
    ----------
    kind : type
        A frozen dataclass of scalars, tuples of scalars and further such dataclasses.
    content : mapping
    source, prefix : str
        Where the table comes from and its place there, for messages.
    defaults : mapping, optional
        Values in place of the dataclass's own defaults.

    Raises
    ------
    ConfigError
        A key is unknown (the nearest is named) or a value has the wrong type.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(f"{source}: {prefix.rstrip('.')} must be a table, not {content!r}")
    known = typing.get_type_hints(kind)
    for key in content:
        if key not in known or key == "variants":
            raise ConfigError(f"{source}: unknown key {prefix + str(key)!r}: {nearest(str(key), known)}")
    values = dict(defaults or {})
    for key, value in content.items():
        expected = known[key]
        if is_dataclass(expected):
            base = values.get(key)
            built = build(
                expected,
                value,
                source,
                f"{prefix}{key}.",
                {item.name: getattr(base, item.name) for item in fields(base)} if base else None,
            )
            values[key] = built
        else:
            values[key] = _convert(value, expected, source, prefix + key)
    return kind(**values)


def _convert(value: Any, expected: Any, source: str, key: str) -> Any:
    if isinstance(expected, types.GenericAlias):
        item = typing.get_args(expected)[0]
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{source}: {key} must be a list, not {value!r}")
        return tuple(_convert(part, item, source, key) for part in value)
    if expected is float and type(value) is int:
        value = float(value) if abs(value) < 1e300 else float("inf")
    if type(value) is not expected:
        raise ConfigError(f"{source}: {key} must be {_WORDS[expected]}, not {value!r}")
    return value


def to_dict(config: Any) -> dict[str, Any]:
    """A config as nested dicts of JSON and TOML values."""
    plain = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            plain[item.name] = to_dict(value)
        elif isinstance(value, tuple):
            plain[item.name] = [to_dict(part) if is_dataclass(part) else part for part in value]
        else:
            plain[item.name] = value
    return plain


def toml_value(value: Any) -> str:
    """A scalar or a list as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        escaped = "".join(f"\\u{ord(mark):04x}" if ord(mark) < 32 or mark in '"\\\x7f' else mark for mark in value)
        return f'"{escaped}"'
    return repr(value)
