"""Known weaknesses of the packages installed here, by pip-audit: an error where there are some, a notice where it cannot tell.

    python tools/audit.py

The data base of weaknesses is asked over the network; without one there is a notice and exit code 0.
"""

from __future__ import annotations

import json
import subprocess
import sys

SECONDS = 300


def audit(command: list[str] | None = None) -> tuple[int, str]:
    """Ask pip-audit; returns an exit code and what to print.

    Parameters
    ----------
    command : list of str, optional
        What is called instead of pip-audit.
    """
    command = command or [
        sys.executable,
        "-m",
        "pip_audit",
        "--skip-editable",
        "--progress-spinner=off",
        "--format=json",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        packages = json.loads(done.stdout)["dependencies"]
    except FileNotFoundError as error:
        return 0, f"notice: packages were not audited: {error}"
    except subprocess.TimeoutExpired:
        return 0, f"notice: packages were not audited: no answer within {SECONDS} s"
    except (ValueError, LookupError, TypeError):
        last = (done.stderr.strip().splitlines() or ["pip-audit gave no answer"])[-1]
        return 0, f"notice: packages were not audited: {last[:200]}"
    weak = [
        f"{one['name']} {one['version']}: {found['id']}{_mended(found)}"
        for one in packages
        for found in one.get("vulns", [])
    ]
    asked = [one for one in packages if "vulns" in one]
    if weak:
        return 1, "\n".join(["packages with known weaknesses:", *(f"  {line}" for line in weak)])
    skipped = len(packages) - len(asked)
    return 0, f"{len(asked)} packages without known weaknesses" + (
        f", {skipped} of which nothing is known" if skipped else ""
    )


def _mended(found: dict) -> str:
    versions = found.get("fix_versions") or []
    return f", mended in {', '.join(versions)}" if versions else ""


if __name__ == "__main__":
    code, said = audit()
    sys.stdout.write(said + "\n")
    sys.exit(code)
