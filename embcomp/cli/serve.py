"""Serve a model over HTTP."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("model", type=common.INPUT)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; this machine only by default."
)
@click.option(
    "--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option("--megabytes", default=32.0, show_default=True, type=click.FloatRange(0.001), help="Largest request.")
@click.option("--audio-seconds", default=3600.0, show_default=True, type=click.FloatRange(0.1), help="Longest audio.")
@click.option(
    "--seconds", default=60.0, show_default=True, type=click.FloatRange(0.1), help="Longest time for a request."
)
@click.option("--workers", default=4, show_default=True, type=click.IntRange(1, 256), help="Requests at once.")
@click.option("--log", "logged", is_flag=True, help="Print a line for each request.")
@common.threads_option
def serve(
    model: Path,
    host: str,
    port: int,
    megabytes: float,
    audio_seconds: float,
    seconds: float,
    workers: int,
    logged: bool,
    threads: int,
) -> None:
    """Answer POST requests with audio by the labels that MODEL gives, as JSON.

    MODEL is an exported file, .onnx, .tflite or .pte, or the folder of a student. There is
    no password: keep the default host unless every machine of the network may ask.

    \b
    Example:
      embcomp serve student.onnx
      curl --data-binary @clip.wav 'http://127.0.0.1:8000/predict?window=2'
    """
    from embcomp.engines.local import limit_by_environment
    from embcomp.export.labelling import open_audio_labeller
    from embcomp.serving.bounded import is_loopback
    from embcomp.serving.server import LabelServer, Limits

    limit_by_environment(threads)
    limits = Limits(megabytes, audio_seconds, seconds, workers)
    log = (lambda line: click.echo(line, err=True)) if logged else None
    with LabelServer(open_audio_labeller(model, threads), host, port, limits, log) as server:
        if not is_loopback(host):
            click.echo(f"note: {host} is reached from other machines, without a password", err=True)
        click.echo(f"listening on {server.address}/predict", err=True)
        with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
            server.serve_forever(poll_interval=0.2)
