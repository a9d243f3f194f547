"""Check the installation: versions, threads, optional packages, disk, and a self-test from audio to predictions."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import numpy as np

from embcomp import __version__
from embcomp.engines.local import available_cores, free_cores
from embcomp.extras import install

# The distribution's name, which the index of packages does not have; there "embcomp" is another project.
DISTRIBUTION = "embcomp-kd"
OK, NOTE, BROKEN = "ok", "note", "broken"
NEEDED = (
    *("torch", "numpy", "scipy", "scikit-learn", "pandas", "soundfile", "soxr"),
    *("safetensors", "threadpoolctl", "click", "tqdm", "librosa"),
)
MODULE_OF = {"scikit-learn": "sklearn"}
FORMATS = {"WAV": "wav", "FLAC": "flac", "OGG": "ogg", "MP3": "mp3"}  # libsndfile's name and the suffix
LITTLE_DISK = 1 << 30  # bytes; log-mels of an hour of clips are some 50 MB


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    name : str
    state : {"ok", "note", "broken"}
        A note concerns speed or an optional part; broken is something essential.
    found : str
    fix : str
        What to do; empty if nothing is wrong.
    """

    name: str
    state: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.state:6}  {self.name}: {self.found}" + (f"\n        {self.fix}" if self.fix else "")


def examine(folder: str | os.PathLike = ".", device: str = "cuda") -> Iterator[Finding]:
    """Run all checks, one finding after the other; nothing raises.

    Parameters
    ----------
    folder : path
        Where results would be written, to check its free space.
    device : str, default="cuda"
        The accelerator to test.
    """
    yield Finding("embcomp", OK, f"{__version__} in {Path(__file__).parent}")
    yield from (_guarded(name, check) for name, check in _checks(Path(folder), device))


def usable(findings: list[Finding]) -> bool:
    """Whether nothing essential is broken."""
    return all(finding.state != BROKEN for finding in findings)


def _checks(folder: Path, device: str) -> list[tuple[str, Callable[[], Finding]]]:
    return [
        ("python", check_python),
        ("distribution", check_distribution),
        *((name, lambda name=name: check_package(name)) for name in NEEDED),
        ("audio formats", check_formats),
        ("numeric threads", check_threads),
        ("cores", check_cores),
        ("disk", lambda: check_disk(folder)),
        ("accelerator", lambda: check_device(device)),
        ("training kernels", check_kernels),
        ("torchaudio", check_torchaudio),
        ("onnxruntime", lambda: check_extra("onnxruntime", "onnx", "export to ONNX")),
        ("huggingface_hub", lambda: check_extra("huggingface_hub", "hub", "the model hub")),
        ("sounddevice", lambda: check_extra("sounddevice", "listen", "embcomp listen")),
        ("matplotlib", lambda: check_extra("matplotlib", "viz", "pictures")),
        ("ray", lambda: check_extra("ray", "ray", "runs on several machines")),
        *((f"{section}s", lambda section=section: check_choices(section)) for section in ("teacher", "student")),
        ("transfer methods", lambda: check_choices("transfer")),
        ("self-test", check_itself),
    ]


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # a diagnosis must reach its end, whatever it meets
        return Finding(
            name, BROKEN, f"{type(error).__name__}: {error}", "this check itself failed; report it with --json"
        )


def check_python() -> Finding:
    """The interpreter's version."""
    found = f"{platform.python_version()} on {platform.platform()}"
    if sys.version_info < (3, 11):  # noqa: UP036 - a source folder can be run by any
        return Finding("python", BROKEN, found, "embcomp needs Python 3.11 or newer")
    return Finding("python", OK, found)


def check_distribution() -> Finding:
    """Whether a package of the name embcomp is installed beside this one."""
    try:
        other = version("embcomp")
    except PackageNotFoundError:
        return Finding("distribution", OK, f"{DISTRIBUTION} {__version__}")
    return Finding(
        "distribution",
        NOTE,
        f"a package embcomp {other} is installed, too: another project, or this one from before it was {DISTRIBUTION}",
        "pip uninstall embcomp, then install this one again",
    )


def check_package(name: str) -> Finding:
    """Whether a needed package imports and is new enough."""
    try:
        importlib.import_module(MODULE_OF.get(name, name))
        found = version(name)
    except (ImportError, OSError, PackageNotFoundError) as error:
        return Finding(name, BROKEN, f"does not import ({error})", f"pip install --force-reinstall {name}")
    least = _least(name)
    if least and _numbers(found) < _numbers(least):
        return Finding(name, BROKEN, f"{found} is too old", f"pip install --upgrade '{name}>={least}'")
    return Finding(name, OK, found)


def check_choices(section: str) -> Finding:
    """What a configuration may choose for a section."""
    from embcomp.config.choices import SECTIONS

    about = SECTIONS[section]
    lacking = {name: one.missing() for name, one in about.classes.items() if section == "teacher"}
    found = ", ".join(name for name in about.classes if not lacking.get(name))
    absent = "; ".join(f"{name} ({reason})" for name, reason in lacking.items() if reason)
    return Finding(f"{about.what}s", OK, found + (f"; not here: {absent}" if absent else ""))


def _least(name: str) -> str:
    """Lowest version that embcomp's metadata allow; empty if unknown."""
    try:
        wanted = requires(DISTRIBUTION) or []
    except PackageNotFoundError:  # run from a source folder
        return ""
    return next((line.partition(">=")[2].split(";")[0].strip() for line in wanted if line.startswith(f"{name}>=")), "")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split("+")[0].split(".") if part.isdigit()]


def check_formats() -> Finding:
    """Formats that libsndfile decodes."""
    import soundfile

    known = soundfile.available_formats()
    missing = [suffix for name, suffix in FORMATS.items() if name not in known]
    found = f"libsndfile {soundfile.__libsndfile_version__}: " + " ".join(sorted(name.lower() for name in known))
    if missing:
        return Finding(
            "audio formats", NOTE, found, f"{', '.join(missing)} cannot be read; pip install --upgrade soundfile"
        )
    return Finding("audio formats", OK, found)


def check_threads() -> Finding:
    """Threads of BLAS and OpenMP libraries: more threads than cores make everything slow."""
    from threadpoolctl import threadpool_info

    pools = [
        f"{pool.get('internal_api')} {pool.get('version') or ''} x{pool['num_threads']}" for pool in threadpool_info()
    ]
    most = max((pool["num_threads"] for pool in threadpool_info()), default=1)
    found, cores = ", ".join(part.replace("  ", " ") for part in pools) or "none loaded", available_cores()
    if most > cores:
        return Finding(
            "numeric threads", NOTE, found, f"more threads than the {cores} cores: set OMP_NUM_THREADS={cores}"
        )
    return Finding("numeric threads", OK, found)


def check_cores() -> Finding:
    """Cores of the machine, of this process, and those idle now."""
    cores, idle, machine = available_cores(), free_cores(), os.cpu_count() or 1
    found = f"{cores} of {machine} usable here, {idle} idle now"
    if hasattr(os, "getloadavg"):
        found += f", load {os.getloadavg()[0]:.1f}"
    if idle < cores:
        return Finding("cores", NOTE, found, f"other processes use {cores - idle}: runs will take longer")
    return Finding("cores", OK, found)


def check_disk(folder: Path) -> Finding:
    """Free space where results and temporary files go."""
    while not folder.exists():
        folder = folder.resolve().parent
    free = {str(place): shutil.disk_usage(place).free for place in (folder.resolve(), tempfile.gettempdir())}
    found = ", ".join(f"{space / 2**30:.1f} GB free in {place}" for place, space in free.items())
    if not os.access(folder, os.W_OK):
        return Finding("disk", BROKEN, found, f"{folder.resolve()} cannot be written; choose another --out")
    if min(free.values()) < LITTLE_DISK:
        return Finding(
            "disk", NOTE, found, "less than 1 GB: make room, or write elsewhere (TMPDIR for temporary files)"
        )
    return Finding("disk", OK, found)


def check_device(device: str) -> Finding:
    """Whether the accelerator computes; having none is not a fault."""
    import torch

    if not torch.cuda.is_available():
        build = f"torch {torch.__version__}" + ("" if torch.version.cuda else ", a build for the CPU")
        fix = "" if not torch.version.cuda else "this torch could use a GPU but finds none: check nvidia-smi"
        return Finding("accelerator", NOTE if fix else OK, f"none usable ({build}); students train on the CPU", fix)
    try:
        product = torch.ones(64, 64, device=device) @ torch.ones(64, 64, device=device)
        if float(product.sum()) != 64**3:
            raise RuntimeError("a matrix product is wrong")
    except RuntimeError as error:
        fix = "use --device cpu, or install a torch built for this driver (https://pytorch.org)"
        return Finding("accelerator", NOTE, f"{device} is there but does not compute ({error})", fix)
    return Finding("accelerator", OK, f"{torch.cuda.get_device_name(device)}: set device=cuda")


def check_kernels() -> Finding:
    """Whether students train on compiled kernels, which halves the time of a step on a CPU."""
    from embcomp.students.compiled import why_not

    reason = why_not()
    if reason:
        return Finding("training kernels", NOTE, f"none: {reason}", "students train by torch's layers, half as fast")
    return Finding("training kernels", OK, "compiled for this processor")


def check_torchaudio() -> Finding:
    """torchaudio is needed only by its own teachers, and breaks with another build of torch."""
    try:
        importlib.import_module("torchaudio")
        return Finding("torchaudio", OK, version("torchaudio"))
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torchaudio":
            return Finding("torchaudio", OK, "not installed; only its own pretrained models need it")
        # An OSError here is a shared library of another build of torch.
        import torch

        build = torch.__version__.partition("+")[2] or "cpu"
        release = torch.__version__.partition("+")[0]
        return Finding(
            "torchaudio",
            NOTE,
            f"installed but does not import with torch {torch.__version__} ({str(error).splitlines()[0]})",
            f"pip install --force-reinstall --no-deps torchaudio=={release} --index-url https://download.pytorch.org/whl/{build}, "
            "or pip uninstall torchaudio: only its own pretrained models need it",
        )


def check_extra(name: str, extra: str, use: str) -> Finding:
    """An optional package."""
    try:
        importlib.import_module(name)
        return Finding(name, OK, version(name))
    except (ImportError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return Finding(name, OK, f"not installed; {use} needs it: {install(name, extra)}")
        return Finding(
            name, NOTE, f"does not import ({error})", f"pip install --force-reinstall {name}; needed for {use}"
        )


def check_itself() -> Finding:
    """A small end-to-end test: tones, log-mels, teacher, compressor, some steps of a student, saved and read back."""
    import torch
    from threadpoolctl import threadpool_limits

    started, threads = time.perf_counter(), torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine several threads wait for each other and take ten times as long
    try:
        with threadpool_limits(1), tempfile.TemporaryDirectory(prefix="embcomp-doctor-") as name:
            accuracy = end_to_end(Path(name))
    finally:
        torch.set_num_threads(threads)
    found = f"tones to a saved student in {time.perf_counter() - started:.1f} s, {accuracy:.0%} classified correctly"
    if accuracy < 0.9:
        return Finding(
            "self-test",
            BROKEN,
            found,
            "a tone and noise should be separated: torch computes wrong results here; reinstall it",
        )
    return Finding("self-test", OK, found)


def end_to_end(folder: Path) -> float:
    """Train a student on tones and noise in `folder` and return its accuracy on them, in [0, 1]."""
    import soundfile

    from embcomp.audio.clips import Clips
    from embcomp.compression import Compressor
    from embcomp.config import parse
    from embcomp.data.labels import encode
    from embcomp.data.manifest import Manifest
    from embcomp.export.labelling import predict
    from embcomp.storage.store import write_store
    from embcomp.students.classifier import Classifier
    from embcomp.teachers import embed, learned_teacher
    from embcomp.training.compress import fit_compressor
    from embcomp.training.distill import distill

    config = parse(
        {
            "audio": {"seconds": 0.3, "n_mels": 24},
            "teacher": {"centroids": 8, "whitened": 8, "patches": 500},
            "compressor": {"method": "pca", "dim": 4},
            "student": {"width": 16, "embedding": 16},
            "training": {
                "steps": 40,
                "batch_size": 8,
                "evaluate_every": 20,
                "freq_mask": 0,
                "time_mask": 0.0,
                "equaliser": 0.0,
                "learning_rate": 0.01,
            },
        }
    )
    rng = np.random.default_rng(0)
    rows = ["path,label,group"]
    for number in range(16):
        label = ("tone", "noise")[number % 2]
        wave = np.sin(2 * np.pi * (300 + 20 * number) * np.arange(4800) / 16_000) / 2
        soundfile.write(folder / f"{number}.wav", wave if label == "tone" else rng.normal(0, 0.2, 4800), 16_000)
        rows.append(f"{number}.wav,{label},{number}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    manifest = Manifest.read(folder / "manifest.csv")
    clips = Clips.of(manifest, config.audio)
    hashes = clips.hashes()
    teacher = learned_teacher(clips, config.variants[0].teacher, folder / "teacher", "self-test")
    store = embed(clips, hashes, teacher, folder / "embeddings")
    labels = encode(manifest.labels)
    fit_compressor(config.variants[0].compressor, np.asarray(store), labels, hashes, 0).save(folder / "compressor")
    vectors = Compressor.load(folder / "compressor").transform(store)
    targets = write_store(folder / "targets", store.ids, hashes, vectors.shape[1], {}, lambda some: vectors[some])
    distill(manifest, folder / "student", variant=config.variants[0], targets=targets, audio=config.audio)
    found = predict(Classifier.load(folder / "student"), [manifest.audio_path(row) for row in range(len(manifest))])
    return float(np.mean(found.table["label"] == manifest.labels))
