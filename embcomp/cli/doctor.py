"""Check the installation."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--out", default=".", type=common.FOLDER, help="Output folder to check for space.  [default: here]")
@click.option("--device", default="cuda", show_default=True, help="Accelerator to test.")
def doctor(as_json: bool, out: Path, device: str) -> None:
    """Check versions, threads, disk and optional packages, run a small self-test, and say how to fix problems.

    The exit code is 0 if embcomp is usable and 1 if something essential fails.

    \b
    Example:
      embcomp doctor
    """
    import json

    from embcomp.doctor import BROKEN, NOTE, examine, usable

    findings = []
    for finding in examine(out, device):
        findings.append(finding)
        if not as_json:
            click.echo(str(finding))
    counts = {state: sum(finding.state == state for finding in findings) for state in (BROKEN, NOTE)}
    if as_json:
        click.echo(json.dumps({"usable": usable(findings), "findings": [asdict(one) for one in findings]}, indent=1))
    elif usable(findings):
        click.echo(f"\nusable; {counts[NOTE]} notes")
    else:
        click.echo(f"\nnot usable: {counts[BROKEN]} essential checks failed, see above")
    if not usable(findings):
        sys.exit(1)
