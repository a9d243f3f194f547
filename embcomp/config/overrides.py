"""Changes from the command line: ``section.key=value``."""

from __future__ import annotations

import tomllib
from typing import Any

from embcomp.config.choices import SECTIONS, keys_of
from embcomp.errors import ConfigError


def read_override(text: str) -> tuple[list[str], Any]:
    """Parts of the key, and the value: TOML, or else the bare string.

    Raises
    ------
    ConfigError
        There is no key, or no value.
    """
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set takes section.key=value, not {text!r}")
    try:
        return parts, tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return parts, value


def apply_override(content: dict, key: list[str], value: Any, text: str) -> None:
    """Change a configuration's tables in place, and those of its variants that set the same key.

    Another method, teacher or student takes the place of the one in the file together with its settings:
    keys that only the old one has are dropped.

    Parameters
    ----------
    content : dict
        As read from TOML.
    key, value
        From `read_override`.
    text : str
        The override as it was given, for messages.

    Raises
    ------
    ConfigError
        The key names a variant, or goes through a value.
    """
    if key[0] == "variants":
        raise ConfigError(f"--set {text!r}: variants are set in the file; --set a section to change them all")
    if isinstance(value, dict):
        for name, part in value.items():
            apply_override(content, [*key, name], part, text)
        return
    table = content
    for part in key[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {text!r}: {part!r} is not a section")
    if len(key) == 2:
        _drop_settings_of_another(table, key, value)
    table[key[-1]] = value
    for variant in content.get("variants", []) if isinstance(content.get("variants"), list) else []:
        section = variant.get(key[0]) if isinstance(variant, dict) else None
        if isinstance(section, dict) and len(key) == 2 and key[1] in section:
            _drop_settings_of_another(section, key, value)
            section[key[1]] = value


def _drop_settings_of_another(table: dict, key: list[str], value: Any) -> None:
    """Where `key` chooses: leave out what belongs to the old choice and not to the new one."""
    about = SECTIONS.get(key[0])
    if about is None or key[1] != about.key or not isinstance(value, str):
        return
    old, new = (about.find(str(name))[0] for name in (table.get(about.key, about.default), value))
    if old is not None and new is not None:
        for name in [name for name in table if name in keys_of(old) and name not in keys_of(new)]:
            del table[name]
