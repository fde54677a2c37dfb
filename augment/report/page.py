"""A page from its template: one file, and a folder beside it where its pictures are many. Nothing is half-written.

All that comes from files is text of strangers: the template escapes it (autoescape is on everywhere), and JSON in the
page cannot end its own element. A policy in the page forbids it to fetch anything.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from augment.report.thumbnails import Thumbnails, numbered
from reid_eval.runtime import InputError, check_target, sha256_bytes, write_bytes, write_text
from reid_eval.writing import PART

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_INLINE = 15 << 20
"""Bytes of pictures and data that go into the page itself."""
_OURS = re.compile(r"data\.js|\d{6}\.jpg")


def write_page(
    target: Path,
    kind: str,
    context: Mapping[str, Any],
    data: Mapping[str, Any],
    pictures: Thumbnails,
) -> list[Path]:
    """Write a page, atomically; the same content gives the same bytes. Returns the file, and the folder if any.

    Args:
        target: the HTML file.
        kind: names its template.
        context: what the template shows.
        data: JSON-able, what the page's script works on.
        pictures: by whose numbers data and template name pictures.

    Raises:
        InputError: Jinja2 is not installed, or a file name that cannot be.
    """
    check_target(target, "out")
    inline = json_text({**data, "pictures": [base64.b64encode(jpeg).decode() for jpeg in pictures.jpegs], "base": None})
    folder = None
    if len(inline) > MOST_INLINE:
        digest = sha256_bytes(b"".join([json_text(data).encode(), *pictures.jpegs]))[:10]
        folder = target.with_name(f"{target.stem}-files-{digest}")
        _write_folder(folder, json_text({**data, "pictures": numbered(pictures.jpegs), "base": folder.name}), pictures)
    text = _render(kind, {**context, "inline": None if folder else inline, "beside": folder.name if folder else None})
    write_text(target, text)
    _sweep(target, folder)
    return [target, *([folder] if folder else [])]


def json_text(value: Any) -> str:
    """JSON in ASCII that can stand in an HTML element: without `<`, `>` and `&`, whatever names are in it."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def check_template_engine() -> None:
    """Refuse early where a page could not be written in the end.

    Raises:
        InputError: Jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise InputError("jinja2 is not installed: pip install 'patn-augment[report]'") from None


def _render(kind: str, context: Mapping[str, Any]) -> str:
    check_template_engine()
    import jinja2

    place = resources.files("augment.report") / "templates"
    names = [entry.name for entry in place.iterdir() if entry.name.endswith((".j2", ".css", ".js"))]
    texts = {name: (place / name).read_text(encoding="utf-8") for name in sorted(names)}
    environment = jinja2.Environment(
        loader=jinja2.DictLoader(texts), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(number=number, ticks=ticks)
    from markupsafe import Markup

    # Our own files, and JSON that is made to stand in a page; everything else is escaped.
    safe: dict[str, Markup | None] = {"style": Markup(texts["report.css"]), "script": Markup(texts["report.js"])}
    safe["inline"] = None if context["inline"] is None else Markup(context["inline"])
    return environment.get_template(f"{kind}.html.j2").render({**context, **safe}) + "\n"


def number(value: float | int | None, digits: int = 3) -> str:
    """A figure for a table: `12,936`, `0.123`, `15.2`; a dash for none."""
    if value is None or value != value:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}g}" if abs(value) < 100 else f"{value:,.0f}"


def ticks(text: str) -> Markup:
    """Escaped text, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = str(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    shown = [Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)]
    return Markup("").join(shown)


def _write_folder(folder: Path, data: str, pictures: Thumbnails) -> None:
    """Write the folder beside a page, whole or not at all; one that is there is of the same content."""
    if folder.is_dir():
        return
    part = folder.with_name(f"{PART}{secrets.token_hex(8)}")
    try:
        for name, jpeg in zip(numbered(pictures.jpegs), pictures.jpegs, strict=True):
            write_bytes(part / name, jpeg, durable=False)
        write_bytes(part / "data.js", f"window.REPORT={data};\n".encode(), durable=False)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sweep(target: Path, keep: Path | None) -> None:
    """Remove the folders of earlier states of this page, where nothing else lies in them."""
    own = re.compile(re.escape(f"{target.stem}-files-") + r"[0-9a-f]{10}")
    for folder in sorted(target.parent.iterdir()):
        if folder == keep or not own.fullmatch(folder.name) or folder.is_symlink() or not folder.is_dir():
            continue
        if all(_OURS.fullmatch(entry.name) for entry in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
