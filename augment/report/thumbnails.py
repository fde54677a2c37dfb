"""Small JPEGs for a page, each picture once."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from reid_eval.datasets.images import open_image
from reid_eval.runtime import progress

QUALITY = 84


class Thumbnails:
    """The pictures of a page; each is known by its number.

    Args:
        height: pixels at most; smaller pictures stay as they are.
    """

    def __init__(self, height: int = 160) -> None:
        self.height = height
        self.jpegs: list[bytes] = []
        self._numbers: dict[Path, int | None] = {}

    def add(self, paths: Iterable[Path]) -> list[int | None]:
        """The numbers of pictures; None for one that cannot be read, which is no reason to have no page."""
        wanted = list(paths)
        new = [path for path in dict.fromkeys(wanted) if path not in self._numbers]
        with ThreadPoolExecutor(4) as pool, progress("Making small pictures", len(new)) as bar:
            for path, jpeg in zip(new, pool.map(self._small, new), strict=True):
                self._numbers[path] = None if jpeg is None else self._keep(jpeg)
                bar.advance()
        return [self._numbers[path] for path in wanted]

    def _keep(self, jpeg: bytes) -> int:
        self.jpegs.append(jpeg)
        return len(self.jpegs) - 1

    def _small(self, path: Path) -> bytes | None:
        try:
            with open_image(path) as file:
                image = file.convert("RGB")
        except Exception:  # Pillow raises many kinds on bad bytes
            return None
        if image.height > self.height:
            width = max(1, round(image.width * self.height / image.height))
            image = image.resize((width, self.height), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
        return buffer.getvalue()


def numbered(pictures: Sequence[bytes]) -> list[str]:
    """File names of pictures in the folder beside the page."""
    return [f"{number:06d}.jpg" for number in range(len(pictures))]
