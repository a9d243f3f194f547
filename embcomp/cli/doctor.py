"""Does embcomp work here?"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option(
    "--out", default=".", type=common.FOLDER, help="Where results would go: its disk counts.  [default: here]"
)
@click.option("--device", default="cuda", show_default=True, help="The accelerator to try.")
def doctor(as_json: bool, out: Path, device: str) -> None:
    """Look at versions, threads, disk and optional parts, try the whole way in small, and say what to mend.

    Exit code 0 where embcomp is usable, 1 where something essential fails.
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
        click.echo(f"\nnot usable: {counts[BROKEN]} essential parts are broken, see above")
    if not usable(findings):
        sys.exit(1)
