"""Fit 512 -> 64 from disk: ours and scikit-learn's IncrementalPCA."""

from measure import (
    arguments,
    captured,
    covariance_of,
    embeddings_on_disk,
    header,
    interleaved,
    peak_memory,
    row,
    scaled,
)
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA, IncrementalPCA

from embcomp.compression import Compressor


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000], help="the first one is compared")
    options = parser.parse_args()
    header("rows x dim", "solver", "CPU s", "extra MB", "captured", "largest angle to exact", "times IncrementalPCA")
    for place, n in enumerate(scaled(rows, options) for rows in options.rows):
        with embeddings_on_disk(options.folder, n, 512) as X:
            fits = {
                f"ours, {solver}": lambda solver=solver: Compressor(64, "pca", solver=solver).fit(X)
                for solver in ("exact", "sample", "subspace")
            }
            if place == 0:
                fits["IncrementalPCA"] = lambda: IncrementalPCA(64, batch_size=4096).fit(X)
                fits["PCA, covariance_eigh (in memory)"] = lambda: PCA(64, svd_solver="covariance_eigh").fit(X)
            memory = {name: peak_memory(fit) for name, fit in fits.items()}
            times = interleaved(fits, options.repeats)
            covariance = covariance_of(X)
            exact = fits["ours, exact"]().module_.weight.detach().numpy()
            for name, fit in fits.items():
                model = fit()
                components = model.module_.weight.detach().numpy() if "ours" in name else model.components_
                angle = float(subspace_angles(components.T, exact.T).max())
                ratio = times["IncrementalPCA"] / times[name] if place == 0 else ""
                share = f"{captured(components, covariance, 64):.6f}"
                row(f"{n:,} x 512", name, times[name], memory[name], share, angle, ratio)


if __name__ == "__main__":
    main()
