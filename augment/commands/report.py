"""The command `patn-augment report`. Heavy imports happen inside."""

from __future__ import annotations

from pathlib import Path

import click

from augment.commands.echo import echo
from augment.commands.grammar import command
from augment.commands.options import DEVICE, EXISTING, FOLDER, SEED


@command("First hour", figures=False)
@click.argument("path", type=EXISTING)
@click.option("--out", type=FOLDER, help="HTML file to write. Default: PATH.report.html, beside PATH.")
@click.option("--images", type=click.IntRange(min=1), help="Generated images to show at most; more are sampled. "
              "Default: 10000.")  # fmt: skip
@click.option("--measure/--no-measure", default=True, show_default=True, help="Take quality figures of an augmented "
              "folder, and judge images that no gate has seen.")  # fmt: skip
@SEED
@DEVICE
def report(path: Path, out: Path | None, images: int | None, measure: bool, seed: int, device: str) -> None:
    """One HTML page about PATH, which opens from disk without a network.

    PATH is an augmented folder, a training of a generator, a re-ID run (its folder, or that of its networks) or a
    table: whichever it is, the page has what there is to decide by.

    \b
    patn-augment report Market-1501-p0.5
    patn-augment report runs/reid-eval-0001 --out reid.html
    """
    from augment.report.page_settings import MOST_IMAGES, Settings
    from augment.report.pages import write_report_page

    settings = Settings(images or MOST_IMAGES, measure, device, seed)
    page, *beside = write_report_page(path, out, settings, echo)
    with_pictures = f", with its pictures in {beside[0]} (move both together)" if beside else ""
    echo(f"Wrote {page} ({page.stat().st_size / 1e6:.1f} MB{with_pictures}). Open it in a browser.")
