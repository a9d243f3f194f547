"""Write a page that labels sounds in a browser."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common


@click.command("demo-page")
@click.argument("model", type=common.INPUT)
@common.local_out_option
@click.option(
    "--runtime",
    type=click.Path(path_type=Path),
    help="npm package onnxruntime-web, packed or as a folder.  [default: looked for here]",
)
@click.option("--title", default="", help="Title of the page.")
def demo_page(model: Path, out: Path, runtime: Path | None, title: str) -> None:
    """Write a folder for any static web server that runs MODEL, an exported .onnx file, in the browser.

    File drop, microphone, probabilities over time. All files are local; the package
    onnxruntime-web is copied from what npm packs:

    \b
    Example:
      npm pack onnxruntime-web
      embcomp demo-page student.onnx --out page
      python -m http.server --bind 127.0.0.1 --directory page
    """
    from embcomp.serving.page import write_page

    click.echo(str(write_page(model, out, runtime, title)))
    click.echo(f"python -m http.server --bind 127.0.0.1 --directory {out}", err=True)
