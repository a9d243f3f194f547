"""Up to a hub and down again; the hub here is a folder with the calls of huggingface_hub that are used."""

from __future__ import annotations

import fnmatch
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.settings import student_settings

from embcomp.compression import Compressor
from embcomp.config import AudioConfig
from embcomp.errors import ArtifactError, MissingDependencyError
from embcomp.students.classifier import Classifier

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    place = tmp_path / "hub"

    class Api:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo_id, private=False, exist_ok=False):
            if repo_id.startswith("others/"):
                raise PermissionError("403 Forbidden: you may not write here\nand more")
            (place / repo_id).mkdir(parents=True, exist_ok=exist_ok)

        def file_exists(self, repo_id, filename):
            return (place / repo_id / filename).is_file()

        def upload_folder(self, repo_id, folder_path, allow_patterns):
            for path in Path(folder_path).iterdir():
                if any(fnmatch.fnmatch(path.name, one) for one in allow_patterns):
                    shutil.copy(path, place / repo_id / path.name)
            return f"hub:{repo_id}"

    def download(repo_id, filename, token=None):
        return str(place / repo_id / filename)

    def snapshot(repo_id, revision=None, token=None, allow_patterns=()):
        if not (place / repo_id).is_dir():
            raise OSError(f"404: no repository {repo_id}")
        return str(place / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return place


@pytest.fixture
def student() -> Classifier:
    found = Classifier.new(["a", "b"], AudioConfig(seconds=0.4, n_mels=24), student_settings(width=16), False, 0)
    found.network.eval()
    return found


def test_a_student_there_and_back(hub, student):
    assert student.push_to_hub("me/frogs", license="mit") == "hub:me/frogs"
    assert {path.name for path in (hub / "me/frogs").iterdir()} == {"README.md", "config.json", "weights.safetensors"}
    assert "# frogs" in (hub / "me/frogs/README.md").read_text()
    back = Classifier.from_pretrained("me/frogs")
    assert back.classes == student.classes
    for name, tensor in student.network.state_dict().items():
        assert torch.equal(back.network.state_dict()[name], tensor)


def test_a_compressor_there_and_back(hub, rng):
    rows = rng.normal(size=(50, 8))
    compressor = Compressor(3, method="pca").fit(rows)
    compressor.push_to_hub("me/small")
    np.testing.assert_array_equal(Compressor.from_pretrained("me/small").transform(rows), compressor.transform(rows))


def test_a_folder_needs_no_hub(tmp_path, student, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    student.save(tmp_path / "here")
    assert Classifier.from_pretrained(tmp_path / "here").classes == ("a", "b")
    with pytest.raises(MissingDependencyError, match=r"needs huggingface_hub: pip install -e '\.\[hub\]'"):
        Classifier.from_pretrained("me/frogs")


def test_a_readme_of_somebodys_own_stays_on_the_hub(hub, student):
    (hub / "me/frogs").mkdir(parents=True)
    (hub / "me/frogs/README.md").write_text("mine\n")
    student.push_to_hub("me/frogs")
    assert (hub / "me/frogs/README.md").read_text() == "mine\n"
    assert Classifier.from_pretrained("me/frogs").classes == ("a", "b")


def test_refusals_are_one_line(hub, student):
    with pytest.raises(ArtifactError, match=r"others/x was not uploaded: 403 Forbidden: you may not write here$"):
        student.push_to_hub("others/x")
    with pytest.raises(ArtifactError, match="me/none is no folder here and was not downloaded: 404"):
        Classifier.from_pretrained("me/none")
