"""How the cost of a fit from disk grows with rows and dimensions, for the exact and the subspace solver."""

import numpy as np
from measure import arguments, embeddings_on_disk, header, interleaved, line, peak_memory, row, scaled

from embcomp.compression import Compressor

SIZES = [(n, dim) for dim in (128, 512, 2048, 4096) for n in (10_000, 100_000, 1_000_000)]


def main() -> None:
    parser = arguments(__doc__, repeats=3)
    parser.add_argument("--largest", type=float, default=3e8, help="skip sets of more numbers (default: %(default)g)")
    options = parser.parse_args()
    header("rows", "dim", "solver", "CPU s", "extra MB", "data MB")
    found: dict[str, list[tuple[int, int, float]]] = {"exact": [], "subspace": []}
    for n, dim in SIZES:
        if n * dim > options.largest and (n, dim) != (1_000_000, 512):
            continue
        n = scaled(n, options)
        with embeddings_on_disk(options.folder, n, dim) as X:
            fits = {name: lambda name=name: Compressor(64, "pca", solver=name).fit(X) for name in found}
            memory = {name: peak_memory(fit) for name, fit in fits.items()}
            times = interleaved(fits, options.repeats if n < 1_000_000 else 1)
            for name, seconds in times.items():
                found[name].append((n, dim, seconds))
                row(f"{n:,}", dim, name, seconds, memory[name], n * dim * 4 / 1e6)
    many = scaled(100_000, options)
    for name, points in found.items():
        n, dim, seconds = np.log(np.array([point for point in points if point[0] >= many])).T
        fit, *_ = np.linalg.lstsq(np.stack([n, dim, np.ones_like(n)], axis=1), seconds, rcond=None)
        line(f"\n{name}: from {many:,} rows on, time grows as rows^{fit[0]:.2f} and dim^{fit[1]:.2f}")


if __name__ == "__main__":
    main()
