"""The package as somebody installs it: its name, its files, its version, and the recipe of its image."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import embcomp
from embcomp import doctor
from embcomp.doctor import DISTRIBUTION, NOTE, OK

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
BUILD = "import setuptools.build_meta as b, sys; getattr(b, 'build_' + sys.argv[1])(sys.argv[2])"


def build(kind: str, source: Path, folder: Path) -> Path:
    """A wheel or an sdist of the sources in a folder, which is left with what the build needs."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(folder)], cwd=source, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of the sdist, so that what one of them lacks is missing here."""
    pytest.importorskip("setuptools", minversion="70", reason="needs setuptools: pip install -e '.[dev]'")
    root = tmp_path_factory.mktemp("distribution")
    clean = root / "sources"
    clean.mkdir()
    for name in SOURCES:
        shutil.copy(ROOT / name, clean)
    shutil.copytree(ROOT / "embcomp", clean / "embcomp", ignore=shutil.ignore_patterns("__pycache__"))
    sdist = build("sdist", clean, root / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(root / "unpacked", filter="data")
    (unpacked,) = (root / "unpacked").iterdir()
    return build("wheel", unpacked, root / "wheel")


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("embcomp/")}
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "embcomp").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == files


def test_an_installed_wheel_works_away_from_the_clone(wheel, tmp_path):
    """Unpacked, which is all that installing a wheel of Python does, and started from another folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import importlib.metadata as m, sys; sys.path.insert(0, 'site'); import embcomp, embcomp.cli\n"
        "from embcomp.doctor import DISTRIBUTION, _least\n"
        "from embcomp import Compressor; import numpy as np\n"
        "x = np.random.default_rng(0).normal(size=(40, 6))\n"
        "Compressor(n_components=2, method='pca', objective='reconstruction').fit(x).save('compressor')\n"
        "print(embcomp.__file__, m.version(DISTRIBUTION), _least('numpy'))\n"
        "sys.argv = ['embcomp', '--version']; embcomp.cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=280,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    where, version, least = done.stdout.splitlines()[0].split()
    assert Path(where).is_relative_to(Path("site")) or Path(where).is_relative_to(tmp_path)
    assert version == embcomp.__version__ in done.stdout.splitlines()[1] and least
    assert f'"embcomp_version": "{version}"' in (tmp_path / "compressor/config.json").read_text()


def test_the_name_is_the_one_the_code_asks_for():
    about = configparser.ConfigParser()
    about.read(ROOT / "setup.cfg")
    assert about["metadata"]["name"] == DISTRIBUTION != "embcomp"
    assert about["options.entry_points"]["console_scripts"].strip() == "embcomp = embcomp.cli:main"


def test_a_package_of_the_bare_name_is_pointed_out(monkeypatch):
    def installed(name):
        if name == "embcomp":
            return "9.9"
        raise doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", installed)
    finding = doctor.check_distribution()
    assert finding.state == NOTE and "embcomp 9.9" in finding.found and "pip uninstall embcomp" in finding.fix
    monkeypatch.setattr(doctor, "version", lambda name: (_ for _ in ()).throw(doctor.PackageNotFoundError(name)))
    assert doctor.check_distribution().state == OK


def test_the_change_log_and_the_citation_have_this_version():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    number, date = re.findall(r"^## (\d\S*) - (\d{4}-\d\d-\d\d)$", changes, re.M)[0]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert number == embcomp.__version__
    assert f"\nversion: {number}\n" in citation and f'\ndate-released: "{date}"\n' in citation


def test_the_image_copies_what_exists_and_installs_the_same_package():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", lines, re.M) for name in line.split()}
    assert copied == {*SOURCES, "constraints.txt", "embcomp"} and all((ROOT / name).exists() for name in copied)
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {name.removeprefix("!") for name in kept if name.startswith("!")} == copied
    extras = configparser.ConfigParser()
    extras.read(ROOT / "setup.cfg")
    assert set(re.search(r"'\.\[(.+)\]'", lines)[1].split(",")) <= set(extras["options.extras_require"])


def test_links_of_the_pages_at_the_top_lead_somewhere():
    for page in ("CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page}: {target}"
