"""Check the installation."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json
from embcomp.errors import counted


@click.command()
@json_option
@click.option("--out", default=".", type=common.FOLDER, help="Output folder to check for space.  [default: here]")
@click.option("--device", default="cuda", show_default=True, help="Accelerator to test.")
def doctor(as_json: bool, out: Path, device: str) -> None:
    """Check versions, threads, disk and optional packages, run a small self-test, and say how to fix problems.

    The exit code is 0 if embcomp is usable and 1 if something essential fails.

    \b
    Example:
      embcomp doctor
    """
    from embcomp.doctor import BROKEN, NOTE, examine, usable

    findings = []
    for finding in examine(out, device):
        findings.append(finding)
        if not as_json:
            click.echo(str(finding))
    counts = {state: sum(finding.state == state for finding in findings) for state in (BROKEN, NOTE)}
    if as_json:
        print_json({"usable": usable(findings), "findings": findings})
    elif usable(findings):
        click.echo(f"\nusable; {counted(counts[NOTE], 'note')}")
    else:
        click.echo(f"\nnot usable: {counted(counts[BROKEN], 'essential check')} failed, see above")
    if not usable(findings):
        sys.exit(1)
