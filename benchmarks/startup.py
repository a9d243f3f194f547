"""How long `embcomp --help` takes, beside a Python that does nothing: wall seconds, interleaved, medians."""

import statistics
import subprocess
import sys
import time

from measure import arguments

SIDES = {"python -c pass": ["-c", "pass"], "embcomp --help": ["-m", "embcomp", "--help"]}


def main() -> None:
    options = arguments(__doc__).parse_args()
    times = {name: [] for name in SIDES}
    for turn in range(options.repeats + 1):
        for name, call in SIDES.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *call], check=True, capture_output=True)
            if turn:
                times[name].append(time.perf_counter() - started)
    for name, values in times.items():
        low, middle, high = (1000 * part(values) for part in (min, statistics.median, max))
        sys.stdout.write(f"{name}: {middle:.0f} ms ({low:.0f} to {high:.0f})\n")


if __name__ == "__main__":
    main()
