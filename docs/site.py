"""Stages what mkdocs reads: the repository's pages and what they link to, at their own places, README.md as index.md.

Pages link to source files, which the site holds as they are, and to folders, which a site cannot show: those become
text.

    python docs/site.py build/site
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(!?)\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\(([^()\s]+)\)")


def pages() -> list[Path]:
    """The pages of the site, from the root."""
    found = [path for name in ("docs", "examples", "augment/weights") for path in sorted((ROOT / name).rglob("*.md"))]
    return sorted(ROOT.glob("*.md")) + found


def staged(path: Path) -> Path:
    """Where a file of the repository lies in the site."""
    place = path.relative_to(ROOT)
    return place.with_name("index.md") if place.name == "README.md" else place


def rewrite(page: Path, text: str, wanted: set[Path]) -> str:
    """Links of a page as the site needs them; the files that they name go into `wanted`."""

    def link(found: re.Match[str]) -> str:
        mark, label, target = found.groups()
        name, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not name:
            return found[0]
        path = (page.parent / name).resolve()
        if path.is_dir() or path.name.startswith("."):  # a site leaves dotted files out
            return label
        if ROOT in path.parents and path.is_file():
            wanted.add(path)
            if path.name == "README.md":
                name = f"{name.removesuffix('README.md')}index.md"
        return f"{mark}[{label}]({name}{'#' + anchor if anchor else ''})"

    return LINK.sub(link, text)


def stage(out: Path) -> int:
    """Write the site's source anew; returns the number of pages."""
    shutil.rmtree(out, ignore_errors=True)
    wanted: set[Path] = set()
    found = pages()
    for page in found:
        place = out / staged(page)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(rewrite(page, page.read_text(encoding="utf-8"), wanted), encoding="utf-8")
    for path in sorted(wanted - set(found)):
        place = out / staged(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return len(found)


if __name__ == "__main__":
    print(f"{stage(Path(sys.argv[1]))} pages in {sys.argv[1]}")
