"""What may be chosen by name: transfer methods, teachers, students.

Each is a class in a file of its own that declares its name, a summary and its settings; a tuple of
such classes is the registry of its room. The settings are read here, above which no room is
imported: the registries are named, as entry points are, and looked up when a configuration is read.
"""

from __future__ import annotations

import difflib
import importlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar

from embcomp.config.limits import read_value
from embcomp.config.several import JOIN, parts_of
from embcomp.errors import ConfigError, nearest


@dataclass(frozen=True)
class ChoiceSettings:
    """Settings of one choice; every class below `Choice` has its own subclass of it, with the fields it needs.

    Attributes
    ----------
    choice : type
        The class these are settings of.
    """

    choice: ClassVar[type[Choice]]

    def named(self) -> dict[str, str]:
        """The key that chooses, with its value."""
        return {SECTIONS[self.choice.section].key: self.choice.name}

    def options(self) -> dict[str, Any]:
        """The settings alone, by name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if not item.metadata.get("hidden")}

    def conflict(self) -> str:
        """What contradicts itself among these settings, in words; empty where nothing does."""
        return ""


class Choice:
    """Base of everything that a configuration chooses by name.

    Attributes
    ----------
    section : str
        Of the configuration: "transfer", "teacher" or "student".
    name : str
        What a configuration calls it.
    summary : str
        One line for help texts.
    Settings : type
        Frozen dataclass of its settings with their limits.
    """

    section: ClassVar[str]
    name: ClassVar[str]
    summary: ClassVar[str]
    Settings: ClassVar[type[ChoiceSettings]] = ChoiceSettings

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "Settings" not in vars(cls):  # none to add to those of its base
            cls.Settings = dataclass(frozen=True)(type("Settings", (cls.Settings,), {"__module__": cls.__module__}))
        cls.Settings.choice = cls

    @classmethod
    def settings_of(cls, **options: Any) -> Any:
        """Settings from keywords, checked as those of a configuration are.

        Raises
        ------
        ConfigError
            Unknown name, wrong type, out of range, or in conflict with another.
        """
        for name in options:
            if name not in keys_of(cls):
                raise ConfigError(f"{cls.section}.{name}: unknown setting; {nearest(name, keys_of(cls))}")
        values = {name: read_key(cls, name, value, f"{cls.section}.{name}") for name, value in options.items()}
        settings = cls.Settings(**values)
        if problem := settings.conflict():
            raise ConfigError(problem)
        return settings


@dataclass(frozen=True)
class Section:
    """A section of a configuration that chooses.

    Attributes
    ----------
    key : str
        The key that chooses.
    what : str
        What is chosen, for messages.
    registry : str
        ``module:NAME`` of the tuple of classes.
    default : str
    takes_argument : bool
        Whether ``name:argument`` is meant; the settings then have a field ``argument``.
    group : str
        Entry points of installed packages that add classes of their own.
    aliases : str
        ``module:function`` that gives further names, each with the ``name:argument`` that it stands for.
    joined_by : str
        Name of the choice that takes several, which may be left out: ``A + B`` is ``NAME:A + B``.
    """

    key: str
    what: str
    registry: str
    default: str
    takes_argument: bool = False
    group: str = ""
    aliases: str = ""
    joined_by: str = ""

    @property
    def classes(self) -> dict[str, type[Choice]]:
        """By name; those of other packages last, and none that does not load."""
        own = {one.name: one for one in _attribute(self.registry)}
        added = added_choices(self.group).items()
        return own | {name: one for name, one in added if isinstance(one, type) and name not in own}

    def find(self, text: str) -> tuple[type[Choice] | None, str]:
        """The class that `text` names, by its own name or an alias, and its argument."""
        name, _, argument = text.partition(":") if self.takes_argument else (text, "", "")
        classes = self.classes
        if self.joined_by in classes and name != self.joined_by and self._several(text, name in classes):
            return classes[self.joined_by], text
        if name not in classes and (spec := self.further.get(text)):
            name, _, argument = spec.partition(":")
        return classes.get(name), argument

    def _several(self, text: str, known: bool) -> bool:
        """Whether `text` names several choices; a path may hold a plus, too, where its start is `known`."""
        return JOIN in text and (not known or all(self.find(part)[0] is not None for part, _ in parts_of(text)))

    @property
    def further(self) -> dict[str, str]:
        """Aliases, with what they stand for."""
        return _attribute(self.aliases)() if self.aliases else {}


def _attribute(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@cache
def added_choices(group: str) -> dict[str, type[Choice] | str]:
    """What installed packages add by entry points of `group`: the class, or why it does not load, by name."""
    found: dict[str, type[Choice] | str] = {}
    for point in entry_points(group=group) if group else ():
        try:
            choice = point.load()
        except Exception as error:  # a package that fails must not take the others with it
            found[point.name] = f"{point.value} does not load ({type(error).__name__}: {error})"
            continue
        fits = isinstance(choice, type) and issubclass(choice, Choice) and getattr(choice, "name", "") == point.name
        found[point.name] = choice if fits else f"{point.value} is no class of that name made for embcomp"
    return found


SECTIONS = {
    "teacher": Section(
        *("spec", "teacher", "embcomp.teachers:TEACHERS", "kmeans"),
        takes_argument=True,
        group="embcomp.teachers",
        aliases="embcomp.teachers.catalogue:specs",
        joined_by="joined",
    ),
    "transfer": Section(
        "method", "transfer method", "embcomp.transfer:METHODS", "compressed", group="embcomp.transfer"
    ),
    "student": Section("kind", "student", "embcomp.students:STUDENTS", "ds_cnn", group="embcomp.students"),
}


def chosen(section: str, text: str, where: str = "") -> tuple[type[Choice], dict[str, str]]:
    """The class that `text` names, and what its settings take from the text.

    Parameters
    ----------
    section : str
        A key of `SECTIONS`.
    text : str
        A name; of a teacher ``name`` or ``name:argument``.
    where : str
        File and key, for messages.

    Raises
    ------
    ConfigError
        Nothing has this name; the nearest is named.
    """
    about = SECTIONS[section]
    choice, argument = about.find(text)
    if choice is None:
        name, start = text.partition(":")[0] if about.takes_argument else text, where and where + ": "
        if name in (added := added_choices(about.group)):
            raise ConfigError(f"{start}the {about.what} {name!r} of another package cannot be used: {added[name]}")
        hint, close = nearest(name, about.classes), difflib.get_close_matches(name, about.further, n=1, cutoff=0.6)
        if close and not hint.startswith("did you mean"):
            hint = f"did you mean {close[0]!r}? {hint}"
        raise ConfigError(f"{start}unknown {about.what} {name!r}: {hint}")
    return choice, {"argument": argument} if about.takes_argument else {}


def keys_of(choice: type[Choice]) -> dict[str, Any]:
    """Fields that a configuration may set, by name."""
    return {item.name: item for item in fields(choice.Settings) if not item.metadata.get("hidden")}


def owners(section: str, key: str) -> list[str]:
    """Names of the choices that have `key`."""
    return [name for name, one in SECTIONS[section].classes.items() if key in keys_of(one)]


def read_key(choice: type[Choice], key: str, value: Any, where: str) -> Any:
    """One setting of a choice, checked; see `embcomp.config.limits.read_value`."""
    return read_value(value, typing.get_type_hints(choice.Settings)[key], keys_of(choice)[key].metadata, where)


def unknown_key(section: str, names: list[str], key: str, source: str, place: str) -> ConfigError:
    """The error for a key that none of the choices `names` has; `place` is where its section is."""
    about, others = SECTIONS[section], owners(section, key)
    if others:
        who = " and ".join(dict.fromkeys(repr(name) for name in names))
        has = "have" if len(set(names)) > 1 else "has"
        return ConfigError(
            f"{source}: {place}{key}: the {about.what} {who} {has} no such key; it belongs to: {', '.join(others)}"
        )
    known = {about.key: None}
    for name in names:
        known |= keys_of(about.classes[name])
    elsewhere = {name: None for one in about.classes.values() for name in keys_of(one)} | known
    close = difflib.get_close_matches(key, elsewhere, n=1, cutoff=0.6)
    hint = nearest(key, known)
    if close and close[0] not in known:
        hint = f"did you mean {close[0]!r}, of {', '.join(owners(section, close[0]))}? {nearest(key, known)}"
    return ConfigError(f"{source}: unknown key {place + key!r}: {hint}")


def read_choice(
    section: str, content: Mapping[str, Any], source: str = "the configuration", strict: bool = True
) -> ChoiceSettings:
    """Settings from a flat table, as ``{"kind": "ds_cnn", "width": 32}``.

    Parameters
    ----------
    strict : bool, default=True
        Refuse a key that only other choices have; otherwise leave it out, as in what earlier versions saved.

    Raises
    ------
    ConfigError
        Unknown choice or key, or a wrong value.
    """
    if not isinstance(content, Mapping):
        raise ConfigError(f"{source}: {section} is a table of settings, not {type(content).__name__}")
    about = SECTIONS[section]
    key = f"{source}: {section}.{about.key}"
    choice, values = chosen(section, read_value(content.get(about.key, about.default), str, {}, key), key)
    for name, value in content.items():
        where = f"{source}: {section}.{name}"
        if name in keys_of(choice):
            values[name] = read_key(choice, name, value, where)
        elif name != about.key and (strict or not owners(section, name)):
            raise unknown_key(section, [choice.name], str(name), source, f"{section}.")
    return checked(choice.Settings(**values), source)


def checked(settings: ChoiceSettings, source: str) -> ChoiceSettings:
    """The settings, unless they contradict each other."""
    if problem := settings.conflict():
        raise ConfigError(f"{source}: {problem}")
    return settings
