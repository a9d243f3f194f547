"""Label what a microphone records."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("model", type=common.INPUT)
@click.option(
    "--window", type=float, metavar="SECONDS", help="Length of a window.  [default: as the model was trained]"
)
@click.option("--hop", type=float, metavar="SECONDS", help="Distance between windows.  [default: half of --window]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="How long to listen.  [default: until Ctrl-C]")
@click.option("--top", default=1, show_default=True, type=click.IntRange(1), help="Number of classes shown.")
@click.option("--threshold", type=float, help="Lowest probability of a label, for models with several labels per clip.")
@click.option("--least", default=0.0, help="Show only windows whose likeliest class has this probability.")
@click.option("--device", help="Name or number of the device, see python -m sounddevice.  [default: the system's]")
@common.threads_option
def listen(
    model: Path,
    window: float | None,
    hop: float | None,
    seconds: float | None,
    top: int,
    threshold: float | None,
    least: float,
    device: str | None,
    threads: int,
) -> None:
    """Label what the microphone records with MODEL, a line for each window, until Ctrl-C.

    MODEL is an exported file, .onnx, .tflite or .pte, or the folder of a student.

    \b
    Example:
      embcomp listen student.onnx --window 1 --hop 0.5
    """
    from embcomp.engines.local import limit_by_environment
    from embcomp.export.labelling import open_audio_labeller
    from embcomp.prediction.windows import check_windows
    from embcomp.serving.listening import Microphone, import_sounddevice
    from embcomp.serving.listening import listen as labelled

    import_sounddevice()
    limit_by_environment(threads)
    opened = open_audio_labeller(model, threads)
    window = opened.audio.seconds if window is None else window
    check_windows(opened.audio, window, hop, threshold)
    channels = 1 if opened.audio.channel in ("mix", "left") else 2
    number = int(device) if device is not None and device.isdecimal() else device
    with Microphone(opened.audio.sample_rate, number, channels) as microphone:
        click.echo(f"listening at {microphone.rate} Hz", err=True)
        stream = labelled(
            opened, microphone.blocks(seconds), microphone.rate, window=window, hop=hop, threshold=threshold
        )
        with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
            for one in stream:
                order = (-one.probabilities).argsort()[:top]
                if one.probabilities.max() >= least:
                    shown = [f"{opened.classes[n]} {one.probabilities[n]:.3f}" for n in order]
                    several = [one.label or "-"] if opened.multi_label else []
                    click.echo("  ".join([f"{one.start:.2f}-{one.end:.2f}", *several, *shown]))
    if microphone.lost:
        click.echo(
            f"{microphone.lost} blocks of sound were lost: labelling is too slow here; try a longer --hop", err=True
        )
