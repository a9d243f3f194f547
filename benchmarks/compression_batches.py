"""One shuffled epoch of 200,000 x 512 float32 in batches of 256: ours from a memory map, and torch's loaders."""

import numpy as np
import torch
from measure import arguments, embeddings_on_disk, header, interleaved, row, scaled
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from embcomp.compression.batches import minibatches


def main() -> None:
    options = arguments(__doc__).parse_args()
    n, size = scaled(200_000, options), 256
    with embeddings_on_disk(options.folder, n, 512) as mapped:
        generator = torch.Generator().manual_seed(0)
        memory = torch.from_numpy(np.array(mapped))
        dataset = TensorDataset(memory)

        def ours() -> None:
            for _ in minibatches(mapped, size, generator):
                pass

        def loader() -> None:
            for _ in DataLoader(dataset, batch_size=size, shuffle=True):
                pass

        def by_index() -> None:
            sampler = BatchSampler(RandomSampler(dataset), size, drop_last=False)
            for _ in DataLoader(dataset, sampler=sampler, batch_size=None):
                pass

        def row_loop() -> None:
            for index in torch.randperm(n).split(size):
                torch.stack([torch.from_numpy(np.array(mapped[place])) for place in index.tolist()])

        def limit() -> None:
            buffer = torch.empty(size, 512)
            for start in range(0, n - size, size):
                buffer.copy_(memory[start : start + size])

        sides = {
            "ours, memory map": ours,
            "DataLoader(TensorDataset), in memory": loader,
            "DataLoader with a batch sampler, in memory": by_index,
            "row by row from the memory map": row_loop,
            "limit: sequential copy, in memory": limit,
        }
        times = interleaved(sides, options.repeats)
    header("source", "rows/s", "speed-up of ours")
    for name, seconds in times.items():
        row(name, f"{n / seconds:,.0f}", seconds / times["ours, memory map"])


if __name__ == "__main__":
    main()
