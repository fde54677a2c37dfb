"""How plots are written: PNG, SVG or PDF, as the file's suffix says, the same figure to the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reid_eval.runtime import InputError, atomic_path

SUFFIXES = (".png", ".svg", ".pdf")
_UNDATED: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def check_plot(path: Path | str) -> str:
    """The suffix of a plot to write, in small letters; `.png` where the name has none.

    Raises:
        InputError: it is none of `SUFFIXES`.
    """
    suffix = Path(path).suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise InputError(f"{path}: a plot is written as {', '.join(SUFFIXES)}, not as {suffix}: name it so")
    return suffix or ".png"


def save_plot(figure: Any, path: Path | str, dpi: int = 150) -> None:
    """Write a figure of matplotlib, atomically, in the format that the name says; nothing in it tells of the time.

    Args:
        figure: a `matplotlib.figure.Figure`.
        path: ends with one of `SUFFIXES`, or with none (PNG).
        dpi: dots an inch, of PNG.

    Raises:
        InputError: another suffix.
    """
    from matplotlib import rc_context

    suffix = check_plot(path)
    with atomic_path(path) as temporary, rc_context({"svg.hashsalt": "patn-augment", "svg.fonttype": "path"}):
        figure.savefig(temporary, dpi=dpi, format=suffix[1:], metadata=_UNDATED[suffix])


def new_figure(**options: Any) -> Any:
    """A figure that no window shows.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(**options)
    FigureCanvasAgg(figure)
    return figure
