"""Linear autoencoder 512 -> 64 on 100,000 rows to PCA's quality: ours and 30 epochs of Adam."""

import numpy as np
import torch
from measure import arguments, embeddings_on_disk, header, interleaved, row, scaled

from embcomp.compression import Compressor


def adam(X: torch.Tensor, epochs: int = 30, batch_size: int = 512) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """The loop one writes first: two linear layers, mean squared error, shuffled batches."""
    torch.manual_seed(0)
    encoder, decoder = torch.nn.Linear(X.shape[1], 64), torch.nn.Linear(64, X.shape[1])
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(X)).split(batch_size):
            batch = X[index]
            loss = torch.nn.functional.mse_loss(decoder(encoder(batch)), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return encoder, decoder


def main() -> None:
    options = arguments(__doc__, repeats=3).parse_args()
    with embeddings_on_disk(options.folder, scaled(100_000, options), 512) as mapped:
        X = torch.from_numpy(np.array(mapped))
    found = {}
    sides = {
        "ours, linear / reconstruction": lambda: found.update(ours=Compressor(64, "linear", "reconstruction").fit(X)),
        "Adam, 30 epochs": lambda: found.update(adam=adam(X)),
    }
    times = interleaved(sides, options.repeats)
    total = float(((X - X.mean(dim=0)) ** 2).sum())
    with torch.no_grad():
        encoder, decoder = found["adam"]
        errors = [
            float(((found["ours"].inverse_transform(found["ours"].transform(X)) - X.numpy()) ** 2).sum()) / total,
            float(((decoder(encoder(X)) - X) ** 2).sum()) / total,
        ]
    header("autoencoder", "CPU s", "unexplained variance", "times faster")
    for (name, seconds), error in zip(times.items(), errors, strict=True):
        row(name, seconds, f"{error:.5f}", times["Adam, 30 epochs"] / seconds)


if __name__ == "__main__":
    main()
