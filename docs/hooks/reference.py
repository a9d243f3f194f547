"""Reference pages made from the code: commands, configuration, metrics, and what docstrings say."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from dataclasses import fields, is_dataclass

import click
from mkdocs.structure.files import File

# Pages of docstrings: title, package, and a sentence.
PAGES = {
    "embcomp": ("embcomp", "What `from embcomp import NAME` gives. The commands call these functions."),
    "compression": ("embcomp.compression", "The compressor and its parts; needs torch, NumPy and scikit-learn alone."),
    "teachers": ("embcomp.teachers", "Frozen models that turn clips into vectors, and the base of those of your own."),
    "students": ("embcomp.students", "Small networks, and the base of those of your own."),
    "transfer": ("embcomp.transfer", "How a student learns from a teacher, and the base of methods of your own."),
    "losses": ("embcomp.losses", "The equations of the papers, as functions of tensors."),
    "metrics": ("embcomp.metrics", "Scores with intervals that resample groups."),
    "knowledge_clip": ("embcomp.knowledge_clip", "Audio and text encoders in one space."),
    "errors": ("embcomp.errors", "Everything that embcomp raises."),
}
DESCRIBED: dict[object, str] = {}  # the package on whose page something is
COMMANDS_HEAD = """# Commands

Made from `embcomp --help`. Every command exits with

| code | when |
|---|---|
| 0 | it is done |
| 1 | `validate` or `doctor` found something that would stop a run; or the reader of a pipe went away |
| 2 | wrong use or bad input; one message says what and where, and nothing was written |
| 3 | `run --from` repeated a run and a score differs |
| 4 | an exported file does not agree with its model |
| 130, 143 | interrupted by Ctrl-C or SIGTERM; finished work is kept, and the same command goes on |

Results go to standard output, everything else to standard error.
"""
CONFIGURATION_HEAD = """# Configuration

Every setting of a run's TOML file, made from the code that reads it. `--set SECTION.KEY=VALUE` changes one; a variant (`[[variants]]`)
may change those of `teacher`, `compressor`, `transfer`, `student` and `training`. An unknown key is an error that names the nearest one.
The resolved settings are saved with each run as `config.toml`.
"""
METRICS_HEAD = """# Metrics

What `scores.csv` holds for every test. Intervals resample groups; `balanced_accuracy`, or `mAP` with several labels per clip, is the
one that tables and claims use. Averages over classes are over the classes that occur among the test clips.

| metric | one label per clip | several labels per clip | better is | needs probabilities | interval |
|---|---|---|---|---|---|
"""


def cell(text: object) -> str:
    """Text for a cell of a table."""
    return re.sub(r"([|\[\]])", r"\\\1", " ".join(str(text).split())).replace("<", "&lt;")


def code(text: object) -> str:
    """Code for a cell of a table."""
    return "`" + " ".join(str(text).split()).replace("|", "\\|") + "`"


def commands() -> str:
    """All commands with their options."""
    from embcomp.cli import COMMANDS, group

    parts, context = [COMMANDS_HEAD], click.Context(group, info_name="embcomp")
    for name in COMMANDS:
        parts += command(group.get_command(context, name), context, name, 2)
    return "\n".join(parts)


def command(one: click.Command, parent: click.Context, name: str, level: int) -> list[str]:
    """A command, and those below it."""
    context = click.Context(one, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *one.collect_usage_pieces(context)])
    lines = [f"{'#' * level} `{context.command_path.removeprefix('embcomp ')}`", "", described(one.help or ""), ""]
    lines += ["```text", usage, "```", ""]
    records = [record for option in one.get_params(context) if (record := option.get_help_record(context))]
    records = [record for record in records if not record[0].startswith("-h,")]
    if records:
        lines += [
            "| option | meaning |",
            "|---|---|",
            *(f"| {code(left)} | {cell(right)} |" for left, right in records),
            "",
        ]
    if isinstance(one, click.Group):
        for below in one.list_commands(context):
            lines += command(one.get_command(context, below), context, below, level + 1)
    return lines


def described(text: str) -> str:
    """A help text as Markdown: what must not be wrapped is code."""
    blocks = inspect.cleandoc(text).split("\n\n")
    shown = []
    for block in blocks:
        if "\b" in block:
            lines = [line for line in block.replace("\b", "").splitlines() if line.strip()]
            code = [line for line in lines if line.startswith(" ")]
            shown.append(" ".join(line for line in lines if not line.startswith(" ")))
            shown.append("```text\n" + inspect.cleandoc("\n".join(["", *code])) + "\n```")
        else:
            shown.append(re.sub(r"(?<![`\w])(--[a-z][\w-]*)", r"`\1`", block.replace("<", "&lt;")))
    return "\n\n".join(part for part in shown if part)


def configuration() -> str:
    """All sections with their keys."""
    from embcomp.config.choices import SECTIONS
    from embcomp.config.sections import RunConfig

    hints = typing.get_type_hints(RunConfig)
    plain = [item for item in fields(RunConfig) if not is_dataclass(hints[item.name]) and item.name != "variants"]
    parts = [CONFIGURATION_HEAD, "## Top level", "", *table(RunConfig, plain)]
    parts += ["## `variants`", "", *variants()]
    sections = {item.name: hints[item.name] for item in fields(RunConfig) if is_dataclass(hints[item.name])}
    sections |= {name: kind for name, kind in variant_sections().items() if name not in SECTIONS}
    for name, kind in sections.items():
        parts += [f"## `{name}`", "", inspect.cleandoc(kind.__doc__), "", *table(kind, fields(kind))]
    for section, about in SECTIONS.items():
        parts += [
            f"## `{section}`",
            "",
            f"`{section}.{about.key}` chooses the {about.what}; by default `{about.default}`.",
            "",
        ]
        for name, choice in about.classes.items():
            parts += [
                f'### `{section}.{about.key} = "{name}"`',
                "",
                f"{choice.summary[0].upper()}{choice.summary[1:]}.",
                "",
            ]
            keys = [item for item in fields(choice.Settings) if not item.metadata.get("hidden")]
            parts += table(choice.Settings, keys) if keys else ["No settings of its own.", ""]
    return "\n".join(parts)


def variant_sections() -> dict[str, type]:
    """Sections that a variant has, by name."""
    from embcomp.config.sections import VariantConfig

    hints = typing.get_type_hints(VariantConfig)
    return {item.name: hints[item.name] for item in fields(VariantConfig) if is_dataclass(hints[item.name])}


def variants() -> list[str]:
    """What a variant may set."""
    from embcomp.config.sections import VariantConfig

    hints = typing.get_type_hints(VariantConfig)
    plain = [item for item in fields(VariantConfig) if not is_dataclass(hints[item.name])]
    return [inspect.cleandoc(VariantConfig.__doc__), "", *table(VariantConfig, plain)]


def table(kind: type, keys) -> list[str]:
    """Keys with type, default and limits."""
    from embcomp.config.limits import choices_of
    from embcomp.config.schema import toml_value

    hints, lines = typing.get_type_hints(kind), ["| key | type | default | meaning |", "|---|---|---|---|"]
    for item in keys:
        about = item.metadata
        default = item.default if item.default.__class__.__name__ != "_MISSING_TYPE" else ""
        shown = code(toml_value(default)) if isinstance(default, (bool, int, float, str, tuple)) else ""
        notes = [about.get("doc", "")]
        if about.get("choices"):
            notes.append("one of " + ", ".join(f"`{one}`" for one in choices_of(about["choices"])))
        bounds = [(word, about.get(key)) for word, key in (("at least", "at_least"), ("at most", "at_most"))]
        notes += [f"{word} {bound:g}" for word, bound in bounds if bound is not None]
        lines.append(
            f"| `{item.name}` | {typename(hints[item.name])} | {shown} | {cell('; '.join(filter(None, notes)))} |"
        )
    return [*lines, ""]


def typename(kind) -> str:
    """A type in words."""
    if args := typing.get_args(kind):
        return f"list of {typename(args[0])}"
    return {int: "integer", float: "number", bool: "boolean", str: "string"}.get(
        kind, getattr(kind, "__name__", str(kind))
    )


def metrics() -> str:
    """The metrics and what they apply to."""
    from embcomp.metrics import METRICS

    yes = {True: "yes", False: "no"}
    rows = [
        f"| `{name}` | {yes[one.single is not None]} | {yes[one.multi is not None]} | "
        f"{'higher' if one.higher_is_better else 'lower'} | {yes[one.graded]} | {yes[one.scale is not None]} |"
        for name, one in METRICS.items()
    ]
    return METRICS_HEAD + "\n".join(rows) + "\n"


def api(title: str, package: str, about: str) -> str:
    """Docstrings of the public names of a package."""
    module = importlib.import_module(package)
    names = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if inspect.isclass(value) and value.__module__ == package
    ]
    values = {name: getattr(module, name) for name in names}
    described = {name: value for name, value in values.items() if inspect.isclass(value) or inspect.isfunction(value)}
    elsewhere = [name for name, value in described.items() if DESCRIBED.setdefault(value, package) != package]
    parts = [f"# {title}", "", about, ""]
    if elsewhere:
        page_of = {package: name for name, (package, _) in PAGES.items()}
        places = {name: DESCRIBED[described[name]] for name in elsewhere}
        links = [f"`{name}` ([{place}]({page_of[place]}.md))" for name, place in places.items()]
        parts += [f"On other pages: {', '.join(links)}.", ""]
    for name, value in described.items():
        if name in elsewhere:
            continue
        parts += [f"::: {value.__module__}.{value.__qualname__}", ""]
        if name != value.__name__:
            parts[-1:-1] = ["    options:", f"      heading: {name}"]
    return "\n".join(parts)


def on_config(config):
    """Name the pages of docstrings in the navigation."""
    pages = [{package: f"reference/api/{name}.md"} for name, (package, _) in PAGES.items()]

    def filled(entry):
        if isinstance(entry, dict):
            ((title, value),) = entry.items()
            if value == "reference/api/":
                return {title: pages}
            if isinstance(value, list):
                return {title: [filled(one) for one in value]}
        return entry

    config["nav"] = [filled(entry) for entry in config["nav"]]
    return config


def on_files(files, config):
    """Add the pages."""
    made = {"commands": commands(), "configuration": configuration(), "metrics": metrics()}
    made |= {f"api/{name}": api(package, package, about) for name, (package, about) in PAGES.items()}
    for name, content in made.items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files
