"""Part the digits among teacher, students and the shifted set, train the teacher, and write images, vectors and manifests."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import input_errors
from recipes.digits.changes import SHIFT, WIDE, changed

SEED = 0
TEACHER, STUDENTS = 900, 500  # of 1,797 images; the other 397 become the shifted set
STEPS, BATCH, RATE = 1500, 128, 2e-3
WIDTH, DIM = 32, 128  # of the teacher: channels of its first block, dimensions of its embedding
MANIFESTS = ("digits/manifest.csv", "digits_shifted/manifest.csv")
FILES = (
    *MANIFESTS,
    *(f"{name}/{file}" for name in ("digits", "digits_shifted") for file in ("images.npz", "teacher.npy")),
)


def parts() -> tuple[Tensor, np.ndarray, list[np.ndarray]]:
    """All images (n, 1, 8, 8) in [0, 1], their digits (n,), and the rows of teacher, students and shifted set.

    The parts share no image, and each has every digit in proportion.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    images, digits = torch.from_numpy(found.images).float().unsqueeze(1) / 16, found.target
    teacher, rest = train_test_split(np.arange(len(digits)), train_size=TEACHER, stratify=digits, random_state=SEED)
    students, shifted = train_test_split(rest, train_size=STUDENTS, stratify=digits[rest], random_state=SEED)
    return images, digits, [np.sort(part) for part in (teacher, students, shifted)]


def train_teacher(images: Tensor, digits: np.ndarray) -> nn.Module:
    """A network of 111 k parameters that has seen many changed versions of its own images, with their labels."""
    from embcomp.students import CNN

    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    network = CNN(10, 1, width=WIDTH, embedding=DIM, dropout=0.3)
    network.norm.fit(images)
    labels = torch.from_numpy(digits)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(images), (BATCH,), generator=generator)
        logits = network(changed(images[rows], WIDE, generator), None).logits
        optimiser.zero_grad()
        F.cross_entropy(logits, labels[rows], label_smoothing=0.1).backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def prepare(out: Path) -> None:
    """Write ``digits`` and ``digits_shifted`` below `out`; what is there already is kept."""
    if all((out / name).exists() for name in FILES):
        click.echo(f"already there: {out}", err=True)
        return
    images, digits, (taught, students, shifted) = parts()
    network = train_teacher(images[taught], digits[taught])
    otherwise = changed(images[shifted], SHIFT, torch.Generator().manual_seed(SEED + 1))
    for name, rows, pixels in (("digits", students, images[students]), ("digits_shifted", shifted, otherwise)):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        with torch.inference_mode():
            output = network(pixels, None)
        ids = [f"{name}-{row:04d}" for row in rows]
        np.savez_compressed(folder / "images.npz", images=pixels[:, 0].numpy(), ids=np.array(ids))
        np.save(folder / "teacher.npy", output.embedding.numpy())
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("path", "label"), *zip(ids, map(str, digits[rows]))])
        (folder / "manifest.csv").write_text(text.getvalue(), encoding="utf-8")
        right = (output.logits.argmax(1).numpy() == digits[rows]).mean()
        click.echo(f"{name}: {len(rows)} images, of which the teacher itself names {right:.1%}: {folder}", err=True)


@click.command("prepare")
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def main(out: Path) -> None:
    """Write the data sets digits and digits_shifted below OUT."""
    with input_errors():
        prepare(out)


if __name__ == "__main__":
    main()
