"""Plain tables to frozen dataclasses and back: unknown keys and wrong values are refused in words."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from embcomp.config.limits import read_value
from embcomp.errors import ConfigError, nearest


def check_table(content: Any, source: str, key: str) -> None:
    """Refuse what is no table, by its key."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{source}: {key} must be a table, not {content!r}")


def read_keys(kind: type, content: Mapping[str, Any], source: str, prefix: str) -> dict[str, Any]:
    """The values of a table as the fields of the dataclass `kind` ask for them.

    Parameters
    ----------
    kind : type
        A frozen dataclass of scalars, tuples of scalars and further such dataclasses.
    content : mapping
        Some of its keys.
    source, prefix : str
        Where the table comes from and its place there, for messages.

    Raises
    ------
    ConfigError
        A key is unknown (the nearest is named), or a value has the wrong type or is out of range.
    """
    known = {item.name: item for item in fields(kind)}
    types = typing.get_type_hints(kind)
    values = {}
    for key, value in content.items():
        if key not in known:
            raise ConfigError(f"{source}: unknown key {prefix + str(key)!r}: {nearest(str(key), known)}")
        if is_dataclass(types[key]):
            check_table(value, source, prefix + key)
            values[key] = types[key](**read_keys(types[key], value, source, f"{prefix}{key}."))
        else:
            values[key] = read_value(value, types[key], known[key].metadata, f"{source}: {prefix}{key}")
    return values


def to_dict(config: Any) -> dict[str, Any]:
    """A config as nested dicts of JSON and TOML values."""
    plain = dict(config.named()) if hasattr(config, "named") else {}
    for item in fields(config):
        value = getattr(config, item.name)
        if not item.metadata.get("hidden"):
            plain[item.name] = _plain(value)
    return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_dict(value)
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def toml_value(value: Any) -> str:
    """A scalar or a list as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, str):
        escaped = "".join(f"\\u{ord(mark):04x}" if ord(mark) < 32 or mark in '"\\\x7f' else mark for mark in value)
        return f'"{escaped}"'
    return repr(value)
