"""Transform 512 -> 64 and 2048 -> 64: ours in float32 and bfloat16, and scikit-learn's PCA."""

import numpy as np
import torch
from measure import arguments, embeddings_on_disk, header, interleaved, row, scaled
from sklearn.decomposition import PCA

from embcomp.compression import Compressor


def main() -> None:
    options = arguments(__doc__).parse_args()
    header("rows x dim", "transform", "rows/s", "times scikit-learn", "mean cosine with scikit-learn", "least cosine")
    for n, dim in ((scaled(100_000, options), 512), (scaled(50_000, options), 2048)):
        with embeddings_on_disk(options.folder, n, dim) as mapped:
            X = np.array(mapped)
        peer, ours = PCA(64, svd_solver="covariance_eigh").fit(X), Compressor(64, "pca").fit(X)
        narrow = torch.from_numpy(X).bfloat16()
        sides = {
            "scikit-learn PCA": lambda peer=peer, X=X: peer.transform(X),
            "ours, float32": lambda ours=ours, X=X: ours.transform(X),
            "ours, bfloat16 rows": lambda ours=ours, narrow=narrow: ours.transform(narrow),
        }
        times = interleaved(sides, options.repeats)
        expected = sides["scikit-learn PCA"]()
        for name, run in sides.items():
            codes = run()
            codes = codes * np.sign((codes * expected).sum(axis=0))
            norms = np.linalg.norm(codes, axis=1) * np.linalg.norm(expected, axis=1)
            cosine = np.einsum("ij,ij->i", codes, expected) / norms
            faster = times["scikit-learn PCA"] / times[name]
            row(
                f"{n:,} x {dim}", name, f"{n / times[name]:,.0f}", faster, f"{cosine.mean():.6f}", f"{cosine.min():.6f}"
            )


if __name__ == "__main__":
    main()
