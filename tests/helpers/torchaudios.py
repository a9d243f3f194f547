"""A package that stands in for torchaudio: the same parts, and an extension that does not load."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "__init__.py": "from . import _extension\nfrom . import compliance, functional, pipelines\n",
    "_extension/__init__.py": "from .utils import _load_lib\n\nAVAILABLE = _load_lib('_torchaudio')\n",
    "_extension/utils.py": (
        "def _load_lib(library):\n    raise OSError('libcudart.so.13: cannot open shared object file')\n"
    ),
    "functional.py": "",
    "compliance/__init__.py": "from . import kaldi\n",
    "compliance/kaldi.py": "def fbank(*arguments, **options):\n    raise NotImplementedError\n",
    "pipelines.py": """
import torch


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.project = torch.nn.Linear(400, 6)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(6, 6) for _ in range(3))

    def extract_features(self, waveforms, lengths=None):
        states, now = [], self.project(waveforms.unfold(1, 400, 320))
        now = now - now.mean((1, 2), keepdim=True)  # over time: padding would change it
        for block in self.blocks:
            now = torch.tanh(block(now))
            states.append(now)
        return states, lengths


class Bundle:
    sample_rate = 16000.0

    def get_model(self):
        return Model()


class Unreachable(Bundle):
    def get_model(self):
        raise OSError("Name or service not known")


TINY_BASE, FAR_BASE = Bundle(), Unreachable()
""",
}


def broken_torchaudio(site: Path, *, python: bool = True) -> Path:
    """Lay the package into `site`; without `python` its Python code does not import either."""
    for name, text in FILES.items():
        path = site / "torchaudio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if not python:
        (site / "torchaudio/functional.py").write_text("import nothing_of_this_name\n")
    return site
