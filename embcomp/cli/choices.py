"""Help texts that list the choices of the registries, read only for ``--help``."""

from __future__ import annotations

import click


def listing(*sections: str) -> type[click.Command]:
    """A command class whose help ends with the choices of these sections and their settings.

    Parameters
    ----------
    *sections : str
        "teacher", "transfer" or "student".
    """

    class WithChoices(click.Command):
        def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            from embcomp.config.choices import SECTIONS, keys_of

            for section in sections:
                about = SECTIONS[section]
                with formatter.section(f"{about.what.capitalize()}s, with their settings (--set {section}.KEY=VALUE)"):
                    rows = []
                    for name, choice in about.classes.items():
                        keys = ", ".join(f"{key}={_shown(item.default)}" for key, item in keys_of(choice).items())
                        rows.append((name, choice.summary + (f". {keys}" if keys else "")))
                    formatter.write_dl(rows)

    return WithChoices


def _shown(value: object) -> str:
    from embcomp.config.schema import toml_value

    return toml_value(value)
