"""A run's TOML file: read, resolved for every variant, checked, and written back."""

from __future__ import annotations

import os
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from embcomp.config.choices import SECTIONS, checked, chosen, keys_of, owners, read_key, unknown_key
from embcomp.config.inputs import STUDENT_OF, check_inputs, off_by_default
from embcomp.config.limits import MAX_SEED, read_value
from embcomp.config.overrides import apply_override, read_override
from embcomp.config.schema import check_table, read_keys, to_dict, toml_value
from embcomp.config.sections import OVERRIDABLE, CompressorConfig, RunConfig, SplitConfig, TrainingConfig, VariantConfig
from embcomp.errors import ConfigError, nearest

PLAIN = {"compressor": CompressorConfig, "training": TrainingConfig}


def load(path: str | os.PathLike, overrides: Iterable[str] = (), *, strict: bool = True) -> RunConfig:
    """Read a run's TOML file.

    A section at the top of the file holds for every variant whose choice has the key; a variant's own
    section holds for it alone, and its keys must be those of its choice.

    Parameters
    ----------
    overrides : iterable of str
        ``section.key=value`` each; the value is TOML, or a bare string. A
        section's override also reaches variants that set the same key.
    strict : bool, default=True
        Refuse keys that no chosen method, teacher or student has. False leaves them out: for what earlier
        versions of embcomp resolved and saved.

    Raises
    ------
    ConfigError
        The file is missing or not TOML, a key is unknown (the nearest is named),
        or a value has the wrong type or range.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe has no end
            raise OSError("not a regular file")
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        inside = next((one for one in (path / "config.toml", path / "embcomp.toml") if one.is_file()), None)
        mend = f"; did you mean {inside}?" if inside else ""
        if not inside and path.is_dir():
            mend = f"; `embcomp init {shlex.quote(str(path))}` writes settings for a folder of sounds"
        raise ConfigError(f"cannot read {path}: {error.strerror or error}{mend}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not TOML: it is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        mend = "; write paths with / or in 'single quotes'" if "\\" in str(error) else ""
        if path.suffix.lower() in (".csv", ".tsv"):
            mend = f"; `embcomp init {shlex.quote(str(path))}` writes settings for a manifest"
        raise ConfigError(f"{path} is not TOML: {error}{mend}") from None
    given_root = False
    for override in overrides:
        key, value = read_override(override)
        given_root |= key == ["data", "root"] or (key == ["data"] and isinstance(value, dict) and "root" in value)
        apply_override(content, key, value, override)
    if not given_root and isinstance(content.get("data", {}), dict):
        # A root on the command line is relative to the working directory, one in the file to the file.
        data = content.setdefault("data", {})
        root = data.get("root", "")
        if isinstance(root, str) and "://" not in root:
            data["root"] = str(path.parent / root)
    return parse(content, str(path), strict=strict)


def parse_overrides(overrides: Iterable[str]) -> RunConfig:
    """The defaults, with ``section.key=value`` changes; see `load`."""
    content: dict[str, Any] = {}
    for override in overrides:
        key, value = read_override(override)
        apply_override(content, key, value, override)
    return parse(content, "--set")


def parse(content: Mapping[str, Any], source: str = "the configuration", *, strict: bool = True) -> RunConfig:
    """Build a RunConfig from nested dicts; see `load`."""
    content = dict(content)
    shared = {name: content.pop(name, {}) for name in OVERRIDABLE}
    variants = content.pop("variants", None)
    for key in content:
        if key not in RunConfig.__dataclass_fields__:
            known = [*RunConfig.__dataclass_fields__, *OVERRIDABLE]
            raise ConfigError(f"{source}: unknown key {str(key)!r}: {nearest(str(key), known)}")
    values = read_keys(RunConfig, content, source, "")
    for name, table in shared.items():
        check_table(table, source, name)
    if variants is not None and (
        not isinstance(variants, list) or not variants or not all(isinstance(item, dict) for item in variants)
    ):
        raise ConfigError(f"{source}: variants must be a list of tables ([[variants]])")
    inputs = values["data"].inputs if "data" in values else ""
    if inputs in STUDENT_OF:
        shared["student"] = {"kind": STUDENT_OF[inputs], **shared["student"]}
    resolved = _variants(shared, variants, source, strict, {"training": off_by_default(inputs)})
    names = [variant.name for variant in resolved]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{source}: two variants are called {name!r}; give each its own name")
    config = RunConfig(**values, variants=resolved)
    if not config.seeds or len(set(config.seeds)) < len(config.seeds):
        raise ConfigError(f"{source}: seeds must be a list of different whole numbers, not {list(config.seeds)}")
    if not all(0 <= seed <= MAX_SEED for seed in config.seeds):
        raise ConfigError(f"{source}: seeds must lie in 0..{MAX_SEED}, not {list(config.seeds)}")
    _check_engine(config, source)
    places = [_place(source, variants, number, name) for number, name in enumerate(names)]
    check_inputs(config, source, places)
    _check_split(config.split, source)
    _check_transductive(config, source, places)
    return config


def _check_split(split: SplitConfig, source: str) -> None:
    """Refuse clips to validate on where no column says which, or where they are tested too."""
    if split.validate and split.by != "column":
        raise ConfigError(f'{source}: split.validate names values of the split column; set split.by = "column"')
    if both := sorted(set(split.validate) & set(split.test)):
        raise ConfigError(
            f"{source}: split.validate and split.test both name {both}; a student is tested on other clips"
        )


def _check_engine(config: RunConfig, source: str) -> None:
    """Refuse a GPU by its number where Ray chooses which."""
    teachers = [one for variant in config.variants for one in variant.teacher.members or (variant.teacher,)]
    devices = [("device", config.device), *(("teacher.device", getattr(one, "device", "")) for one in teachers)]
    for key, device in devices:
        if config.engine == "ray" and ":" in device:
            kind = device.partition(":")[0]
            raise ConfigError(
                f'{source}: {key} is {device!r}, and Ray chooses the GPU of each worker; write {key} = "{kind}"'
            )


def _check_transductive(config: RunConfig, source: str, places: list[str]) -> None:
    """Refuse learning from sets that are tested where there are none, or where clips without labels are left out."""
    asked = [(one, place) for one, place in zip(config.variants, places) if one.training.transductive != "none"]
    for one, place in asked:
        if not one.training.unlabelled:
            raise ConfigError(
                f"{place}: training.transductive learns from clips without their labels, which training.unlabelled = false "
                "leaves out; set one of the two"
            )
    which = config.data.transductive
    if asked and which != "in-domain" and not config.data.cross:
        raise ConfigError(
            f"{source}: training.transductive learns from further sets, and data.cross names none; name one, or set "
            'data.transductive = "in-domain"'
        )
    if asked and which != "cross" and config.split.by == "none":
        raise ConfigError(
            f'{source}: data.transductive = "{which}" learns from the test part of the set trained on, and split.by = "none" '
            'leaves none; set data.transductive = "cross"'
        )


def _place(source: str, variants: list[dict] | None, number: int, name: str) -> str:
    return source if variants is None else f"{source}: variants[{number}] ({name})"


def _variants(
    shared: dict[str, Any], variants: list[dict] | None, source: str, strict: bool, defaults: dict[str, dict[str, Any]]
) -> tuple:
    tables = variants if variants is not None else [{}]
    plain = {
        name: defaults.get(name, {}) | read_keys(kind, shared[name], source, f"{name}.") for name, kind in PLAIN.items()
    }
    chosen_by: dict[str, list[type]] = {name: [] for name in SECTIONS}
    resolved = []
    for number, table in enumerate(tables):
        prefix = f"variants[{number}]."
        for key, value in table.items():
            if key not in VariantConfig.__dataclass_fields__:
                known = list(VariantConfig.__dataclass_fields__)
                raise ConfigError(f"{source}: unknown key {prefix + str(key)!r}: {nearest(str(key), known)}")
            if key != "name":
                check_table(value, source, prefix + key)
        values: dict[str, Any] = {}
        for name, kind in PLAIN.items():
            own = read_keys(kind, table.get(name, {}), source, f"{prefix}{name}.")
            values[name] = kind(**plain[name] | own)
        for name in SECTIONS:
            values[name] = _choose(name, shared[name], table.get(name, {}), source, prefix, strict)
            chosen_by[name].append(values[name].choice)
        title = table.get("name") if variants is not None else values["transfer"].choice.name
        if title is not None:
            values["name"] = read_value(title, str, {}, f"{source}: {prefix}name")
        variant = VariantConfig(**values)
        _check_together(variant, _place(source, variants, number, variant.name))
        resolved.append(variant)
    for name, choices in chosen_by.items():
        for key in shared[name]:
            used = key == SECTIONS[name].key or any(key in keys_of(choice) for choice in choices)
            if not used and (strict or not owners(name, key)):
                raise unknown_key(name, [choice.name for choice in choices], str(key), source, f"{name}.")
    return tuple(resolved)


def _choose(
    section: str, shared: Mapping[str, Any], own: Mapping[str, Any], source: str, prefix: str, strict: bool
) -> Any:
    """Settings of one section: shared keys where the choice has them, then the variant's own."""
    about = SECTIONS[section]
    place = (prefix if about.key in own else "") + f"{section}.{about.key}"
    text = own.get(about.key, shared.get(about.key, about.default))
    choice, values = chosen(section, read_value(text, str, {}, f"{source}: {place}"), f"{source}: {place}")
    for table, start in ((shared, ""), (own, prefix)):
        for key, value in table.items():
            where = f"{source}: {start}{section}.{key}"
            if key in keys_of(choice):
                values[key] = read_key(choice, key, value, where)
            elif key != about.key and start and (strict or not owners(section, key)):
                raise unknown_key(section, [choice.name], str(key), source, f"{start}{section}.")
    return checked(choice.Settings(**values), f"{source}: {prefix}{section}" if own else source)


def _check_together(variant: VariantConfig, where: str) -> None:
    """Refuse sections that do not go together."""
    transfer, teacher = variant.transfer, variant.teacher
    if transfer.source == "teacher" and not teacher.choice.runs:
        raise ConfigError(
            f"{where}: the teacher {teacher.spec!r} holds vectors and cannot run at every step, as "
            f"{transfer.method} asks; use clip_samples, which takes vectors, or a teacher that runs"
        )
    if variant.training.epochs and variant.training.minutes:
        raise ConfigError(
            f"{where}: training.epochs and training.minutes are two lengths of one training; set one to 0"
        )
    _check_views(variant, where)
    if transfer.over_time and variant.training.of_unlabelled().roll and not variant.training.roll:
        raise ConfigError(
            f"{where}: training.unlabelled_roll shifts the student's frames away from the teacher's, which transfer.frames "
            "compares; set it to 0"
        )
    if transfer.over_time and variant.training.roll and not variant.training.views:
        raise ConfigError(
            f"{where}: training.roll shifts the student's frames away from the teacher's, which transfer.frames "
            "compares; set training.roll to 0"
        )


def _check_views(variant: VariantConfig, where: str) -> None:
    """Refuse settings that do not go with views."""
    training, teacher = variant.training, variant.teacher
    if not training.views:
        return
    if training.mixstyle:
        raise ConfigError(
            f"{where}: training.mixstyle changes log-mels in a way that no teacher could hear, and with training.views "
            "targets are of the changed sound; set training.mixstyle to 0"
        )
    for name in ("gain", "equaliser", "roll", "mixstyle"):
        if getattr(training, f"unlabelled_{name}") >= 0:
            raise ConfigError(
                f"{where}: training.unlabelled_{name} changes log-mels, and with training.views the sound is changed, of all "
                "clips alike; leave it out"
            )
    if variant.transfer.source == "teacher":
        raise ConfigError(
            f"{where}: {variant.transfer.method} runs its teacher at every step, and training.views are embedded "
            "beforehand; use clip_samples"
        )
    silent = [one.spec for one in teacher.members or [teacher] if not one.choice.runs]
    if variant.transfer.cached and silent:
        raise ConfigError(
            f"{where}: the teacher {silent[0]!r} holds vectors, and cannot embed training.views; take a teacher that runs"
        )


def to_toml(config: RunConfig) -> str:
    """The resolved config as TOML; reading it back gives an equal config."""
    plain = to_dict(config)
    variants = plain.pop("variants")
    shared: dict[str, dict[str, Any]] = {}
    for section in OVERRIDABLE:
        keys = {key: None for variant in variants for key in variant[section]}
        for key in keys:
            values = [variant[section][key] for variant in variants if key in variant[section]]
            if all(value == values[0] and type(value) is type(values[0]) for value in values):
                shared.setdefault(section, {})[key] = values[0]
    lines = [f"{key} = {toml_value(value)}" for key, value in plain.items() if not isinstance(value, dict)]
    for section, values in (plain | shared).items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{key} = {toml_value(value)}" for key, value in values.items())]
    for variant in variants:
        lines += ["", "[[variants]]", f"name = {toml_value(variant['name'])}"]
        for section in OVERRIDABLE:
            own = {key: value for key, value in variant[section].items() if key not in shared.get(section, {})}
            lines += [f"{section}.{key} = {toml_value(value)}" for key, value in own.items()]
    return "\n".join(lines) + "\n"
