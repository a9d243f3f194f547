"""Share of a teacher's time that is spent inside its runtime: the rest is windows, padding and pooling.

python benchmarks/teacher_overhead.py onnx:FOLDER manifest.csv 1.0
"""

from __future__ import annotations

import sys
import time

import numpy as np

from embcomp.audio.clips import Clips
from embcomp.config import read_choice
from embcomp.data.manifest import Manifest
from embcomp.teachers import open_teacher

CLIPS, REPEATS = 64, 5


def main(spec: str, manifest: str, seconds: str) -> None:
    inside = 0.0

    def timed(call):
        def run(*arguments, **options):
            nonlocal inside
            started = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                inside += time.perf_counter() - started

        return run

    teacher = open_teacher(read_choice("teacher", {"spec": spec}))
    for graph in teacher._graphs:
        if hasattr(graph, "_session"):
            session = graph._session
            graph._session = type("Timed", (), {"run": staticmethod(timed(session.run))})()
        else:
            # A new interpreter is the runtime's own work, and so is what its calls copy.
            started = timed(graph._start)

            def start(graph=graph, started=started):
                started()
                for name in ("set_tensor", "invoke", "get_tensor", "resize_tensor_input", "allocate_tensors"):
                    setattr(graph._interpreter, name, timed(getattr(graph._interpreter, name)))

            graph._start = start
            start()
    clips = Clips(Manifest.read(manifest), teacher.sample_rate, float(seconds))
    waveforms, lengths = clips.batch(np.linspace(0, len(clips) - 1, CLIPS).astype(int))
    shares, speeds = [], []
    for _ in range(REPEATS):
        inside, started = 0.0, time.perf_counter()
        teacher.embed(waveforms, lengths)
        whole = time.perf_counter() - started
        shares.append(inside / whole)
        speeds.append(lengths.sum() / teacher.sample_rate / whole)
    speed = f"{np.median(speeds):.0f} s of audio a second"
    sys.stdout.write(f"{spec}: {np.median(shares):.1%} inside the runtime, {speed}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
