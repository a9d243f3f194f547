"""Students by kind and width on a data set: score, milliseconds and parameters.

python benchmarks/student_sizes.py MANIFEST [--seconds 1.0] [--steps 1200] [--seeds 3] [--students "ds_cnn 32" "tc_resnet 1"] [--out FOLDER]

Each is trained with the default teacher and compressor, on group-wise folds; the score is balanced accuracy, the mean and standard deviation
over seeds: on validation groups, by which to choose, and on unseen ones. Milliseconds are of the log-mel to the logits of a clip, alone and in a batch of 32, and of a training
step of 32 clips, all on one thread. A run that was interrupted goes on where it was.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from measure import arguments, header, row
from training_step import BATCH, CLASSES, ours

from embcomp import run
from embcomp.config import parse
from embcomp.evaluation.table import Setting
from embcomp.students import STUDENTS, count_parameters
from embcomp.students.cost import count_macs

KINDS = {one.name: one for one in STUDENTS}
SIZES = (
    *(("ds_cnn", {"width": width}) for width in (16, 32, 64, 96)),
    *(("tc_resnet", {"width_multiplier": times}) for times in (0.5, 1.0, 1.5, 2.0)),
    *(("bc_resnet", {"width_multiplier": times}) for times in (1.0, 2.0)),
    *(("mobilenet_v3", {"width_multiplier": times}) for times in (0.2, 0.4)),
)
SETTINGS = (Setting.VALIDATION, Setting.IN_DOMAIN)
SMALL = (("ds_cnn", {"width": 8}), ("tc_resnet", {"width_multiplier": 0.5}))


def named(kind: str, size: dict) -> str:
    return f"{kind} {next(iter(size.values())):g}"


def tones(folder: Path) -> Path:
    """A handful of clips to see that the script runs."""
    import numpy as np
    import soundfile

    lines, axis = ["path,label,group"], np.arange(4800) / 16_000
    for number in range(32):
        noise = 0.1 * np.random.default_rng(number).standard_normal(len(axis))
        soundfile.write(
            folder / f"{number}.wav", 0.3 * np.sin(2 * np.pi * (300 + 900 * (number % 2)) * axis) + noise, 16_000
        )
        lines.append(f"{number}.wav,{number % 2},{number // 4}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


def scores(
    manifest: Path, out: Path, sizes: tuple, seconds: float, steps: int, seeds: int
) -> dict[str, list[tuple[float, float]]]:
    """Mean and deviation of each student, by the setting."""
    config = parse(
        {
            "name": "students",
            "seeds": list(range(seeds)),
            "data": {"root": str(manifest.parent), "train": manifest.name, "duplicates": "join"},
            "audio": {"seconds": seconds},
            "split": {"folds": 3},
            "teacher": {} if steps > 10 else {"centroids": 4, "whitened": 8, "patches": 300},
            "compressor": {} if steps > 10 else {"dim": 1},
            "training": {"steps": steps, "evaluate_every": max(1, steps // 12), "batch_size": 32 if steps > 10 else 8},
            "evaluation": {"probe": False},
            "variants": [{"name": named(kind, size), "student": {"kind": kind, **size}} for kind, size in sizes],
        }
    )
    rows = run(config, out).scores.query("metric == 'balanced_accuracy'")
    by_seed = rows.groupby(["variant", "setting", "seed"])["value"].mean().groupby(["variant", "setting"])
    mean, deviation = by_seed.mean(), by_seed.std()
    return {
        name: [(mean[name, setting.value], deviation[name, setting.value]) for setting in SETTINGS]
        for name in (named(*one) for one in sizes)
    }


def milliseconds(student: torch.nn.Module, clips: int, frames: int, bands: int, repeats: int) -> float:
    features, times = torch.randn(clips, bands, frames), []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            started = time.process_time()
            student(features, torch.full((clips,), frames))
            times.append(time.process_time() - started)
    return 1000 * statistics.median(times[1:])


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=15)
    parser.add_argument("manifest", type=Path, nargs="?", help="with --small none")
    parser.add_argument("--seconds", type=float, default=1.0, help="clips are cut at (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=1200, help="of a training (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each fold (default: %(default)s)")
    parser.add_argument(
        "--students",
        nargs="*",
        metavar="STUDENT",
        default=[named(*one) for one in SIZES],
        help='names as in the table, "ds_cnn 32" (default: all)',
    )
    parser.add_argument("--out", type=Path, help="folder of the run; by default one that is taken away")
    options = parser.parse_args()
    if options.manifest is None and not options.small:
        parser.error("name a manifest")
    if unknown := set(options.students) - {named(*one) for one in SIZES}:
        parser.error(f"no student {', '.join(sorted(unknown))}; there are {', '.join(named(*one) for one in SIZES)}")
    torch.set_num_threads(1)
    sizes = SMALL if options.small else tuple(one for one in SIZES if named(*one) in options.students)
    if options.small:
        options.seconds, options.steps, options.seeds = 0.3, 2, 1
    with tempfile.TemporaryDirectory() as place:
        manifest = tones(Path(place)) if options.small else options.manifest.resolve()
        found = scores(
            manifest, options.out or Path(place) / "run", sizes, options.seconds, options.steps, options.seeds
        )
    audio = parse({"audio": {"seconds": options.seconds}}).audio
    frames, bands = 1 + round(audio.sample_rate * options.seconds) // audio.hop_length, audio.n_mels
    header(
        "student",
        "balanced accuracy, validation",
        "unseen groups",
        "parameters",
        "M multiply-adds",
        "ms, 1 clip",
        "ms, 32 clips",
        "ms, training step of 32",
    )
    for kind, size in sizes:
        made = KINDS[kind](CLASSES, bands, **size).eval()
        features, full = torch.randn(max(BATCH, 64), bands, frames), torch.full((max(BATCH, 64),), frames)
        step = 1000 * statistics.median(ours(features, full, 3 if options.small else 12, student=partial(KINDS[kind], **size))[1:])  # fmt: skip
        shown = (f"{mean:.3f} ± {deviation:.3f}" if options.seeds > 1 else f"{mean:.3f}" for mean, deviation in found[named(kind, size)])  # fmt: skip
        row(
            named(kind, size), *shown, f"{count_parameters(made):,}",
            count_macs(made, features[:1], full[:1]) / 1e6,
            *(milliseconds(made, clips, frames, bands, options.repeats) for clips in (1, BATCH)), step,
        )  # fmt: skip


if __name__ == "__main__":
    main()
