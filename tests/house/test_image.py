"""The recipe of the image keeps to what linters of such recipes ask, as far as it can be seen without building it."""

from __future__ import annotations

import configparser
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def instructions(text: str) -> list[tuple[str, str]]:
    """Every instruction with its arguments, lines that continue joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def faults(text: str) -> Iterator[str]:
    """What is wrong, with the number of the rule in hadolint where it has one."""
    found = instructions(text)
    of = {name: [rest for one, rest in found if one == name] for name, _ in found}
    for image in of["FROM"]:
        tag = image.split("/")[-1].partition(":")[2]
        if not tag or tag.startswith("latest"):
            yield "DL3006, DL3007: an image without a version"
        elif not re.fullmatch(r"\d+\.\d+(\.\d+)?-\w+-[a-z]+", tag):
            yield "the release of the system is open, so a build of another day has other packages"
    if "ADD" in of:
        yield "DL3020: COPY, not ADD"
    if of.get("USER", ["root"])[-1].split(":")[0] in ("root", "0"):
        yield "DL3002: the last user is root"
    for name in ("ENTRYPOINT", "CMD"):
        for rest in of.get(name, []):
            try:
                json.loads(rest)
            except ValueError:
                yield f"DL3025: {name} is no list in JSON"
    if any(not place.startswith("/") for place in of.get("WORKDIR", [])):
        yield "DL3000: WORKDIR is relative"
    copied: set[str] = set()
    for name, rest in found:
        if name == "COPY":
            copied.update(rest.split()[:-1])
        if name != "RUN":
            continue
        for step in re.split(r"&&|;", rest):
            words = step.split()
            if words[0] == "sudo":
                yield "DL3004: sudo"
            if words[:2] == ["apt-get", "install"] and not {"-y", "--no-install-recommends"} <= set(words):
                yield "DL3014, DL3015: apt-get install asks, or installs what is only recommended"
            if "pip" in words and "install" in words:
                if "--no-cache-dir" not in words:
                    yield "DL3042: pip keeps its cache"
                after = words[words.index("--constraint") + 1] if "--constraint" in words else ""
                if after not in copied:
                    yield "DL3013: pip installs versions that nothing constrains"
        if "apt-get install" in rest and "rm -rf /var/lib/apt/lists/*" not in rest:
            yield "DL3009: lists of packages stay in the layer"


def test_the_recipe_has_no_fault():
    assert list(faults(RECIPE)) == []


def test_its_python_is_one_that_the_package_allows():
    about = configparser.ConfigParser()
    about.read(ROOT / "setup.cfg")
    least = about["options"]["python_requires"].removeprefix(">=").split(".")
    chosen = re.search(r"^FROM python:(\d+)\.(\d+)", RECIPE, re.M).groups()
    assert tuple(map(int, chosen)) >= tuple(map(int, least))


def test_its_user_may_write_where_a_run_starts():
    found = instructions(RECIPE)
    (user,) = [rest for name, rest in found if name == "USER"]
    place = [rest for name, rest in found if name == "WORKDIR"][-1]
    assert any(name == "RUN" and f"--owner {user} {place}" in rest for name, rest in found)


@pytest.mark.parametrize(
    ("now", "then", "fault"),
    [
        ("python:3.11-slim-bookworm", "python", "DL3006"),
        ("python:3.11-slim-bookworm", "python:latest", "DL3006"),
        ("python:3.11-slim-bookworm", "python:3.11-slim", "release of the system"),
        ("USER embcomp\n", "", "DL3002"),
        ("USER embcomp\n", "USER embcomp\nUSER 0:0\n", "DL3002"),
        ("COPY embcomp embcomp", "ADD embcomp embcomp", "DL3020"),
        ('ENTRYPOINT ["embcomp"]', "ENTRYPOINT embcomp", "DL3025"),
        ("WORKDIR /data", "WORKDIR data", "DL3000"),
        ("--no-install-recommends ", "", "DL3014"),
        ("rm -rf /var/lib/apt/lists/*", "true", "DL3009"),
        ("--no-cache-dir ", "", "DL3042"),
        ("--constraint constraints.txt ", "", "DL3013"),
        ("COPY constraints.txt ./", "", "DL3013"),
        ("&& install", "&& sudo install", "DL3004"),
    ],
)
def test_faults_are_found(now, then, fault):
    assert now in RECIPE
    assert any(fault in one for one in faults(RECIPE.replace(now, then, 1)))
