"""Fit 2048 -> 64 on 100,000 rows: ours, faiss's PCAMatrix, scikit-learn's default and torch.pca_lowrank."""

import faiss
import numpy as np
import torch
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
from sklearn.decomposition import PCA

from embcomp.compression import Compressor


def faiss_fit(X: np.ndarray) -> np.ndarray:
    matrix = faiss.PCAMatrix(X.shape[1], 64)
    matrix.max_points_per_d = len(X)
    matrix.train(X)
    return faiss.vector_to_array(matrix.A).reshape(64, X.shape[1])


def ours(X: np.ndarray, solver: str) -> np.ndarray:
    return Compressor(64, "pca", solver=solver).fit(X).module_.weight.detach().numpy()


def main() -> None:
    options = arguments(__doc__, repeats=3).parse_args()
    faiss.omp_set_num_threads(torch.get_num_threads())
    with embeddings_on_disk(options.folder, scaled(100_000, options), 2048) as mapped:
        # The peers want rows in memory, so all get them there.
        X = np.array(mapped)
    fits = {
        "ours, exact": lambda: ours(X, "exact"),
        "ours, subspace": lambda: ours(X, "subspace"),
        "ours, sample": lambda: ours(X, "sample"),
        "faiss PCAMatrix": lambda: faiss_fit(X),
        "scikit-learn PCA, default": lambda: PCA(64, random_state=0).fit(X).components_,
        "torch.pca_lowrank": lambda: torch.pca_lowrank(torch.from_numpy(X), 64, niter=2)[2].T.numpy(),
    }
    found: dict[str, np.ndarray] = {}
    memory = {name: peak_memory(lambda name=name, fit=fit: found.update({name: fit()})) for name, fit in fits.items()}
    times = interleaved(fits, options.repeats, warm=True)
    covariance = covariance_of(X)
    header("solver", "CPU s", "extra MB", "captured", "times faiss", "times scikit-learn")
    for name in fits:
        share = f"{captured(found[name], covariance, 64):.6f}"
        faster = [times[peer] / times[name] for peer in ("faiss PCAMatrix", "scikit-learn PCA, default")]
        row(name, times[name], memory[name], share, *faster)


if __name__ == "__main__":
    main()
