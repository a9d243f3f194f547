"""What a student saves at run time: size and processor time of one clip, waveform to answer, beside its teacher.

    python benchmarks/student_and_teacher.py google-speech-embedding student.onnx student.int8.onnx --seconds 1

On one core; they take turns. Of the teacher it is the embedding alone: a probe behind it costs nothing beside it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from measure import arguments, header, interleaved, row

from embcomp.config import read_choice
from embcomp.engines.local import set_threads
from embcomp.export.runtime import open_model
from embcomp.teachers import open_teacher
from embcomp.teachers.catalogue import fetched_folder

BATCH = 20  # clips one after the other, so that the clock is read seldom


def one_by_one(run, clips: list[tuple[np.ndarray, ...]]) -> None:
    for clip in clips:
        run(*clip)


def size_of(teacher: str) -> int:
    """Bytes of the files of a teacher of the catalogue; 0 for others."""
    folder = fetched_folder(teacher)
    return sum(path.stat().st_size for path in folder.iterdir()) if folder else 0


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=31)
    parser.add_argument("teacher", help="as `embed --teacher` takes it")
    parser.add_argument("students", type=Path, nargs="+", help="exported files")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a clip (default: %(default)s)")
    given = parser.parse_args()
    set_threads(1)
    rng = np.random.default_rng(0)

    def clips(rate: int) -> list[np.ndarray]:
        noise = rng.normal(0, 0.1, (BATCH, 1, round(given.seconds * rate)))
        return list(noise.clip(-1, 1).astype(np.float32))

    teacher = open_teacher(read_choice("teacher", {"spec": given.teacher}))
    lengths = np.array([round(given.seconds * teacher.sample_rate)])
    sides = {given.teacher: partial(one_by_one, teacher.embed, [(one, lengths) for one in clips(teacher.sample_rate)])}
    sizes = {given.teacher: size_of(given.teacher)}
    for path in given.students:
        model = open_model(path)
        sides[path.name] = partial(one_by_one, model.run, [(one,) for one in clips(model.info.sample_rate)])
        sizes[path.name] = path.stat().st_size
    seconds = {name: value / BATCH for name, value in interleaved(sides, given.repeats).items()}
    header("model", "kB", f"ms for {given.seconds:g} s of audio", "times the teacher")
    for name, value in seconds.items():
        size = f"{sizes[name] / 1000:,.0f}" if sizes[name] else ""
        row(name, size, value * 1e3, seconds[given.teacher] / value)


if __name__ == "__main__":
    main()
