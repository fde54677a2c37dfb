"""Readers of re-ID folders; they need numpy, pandas and Pillow, never torch."""

from __future__ import annotations

from reid_eval.datasets.images import check_images, load_images
from reid_eval.datasets.names import IMAGE_SUFFIXES, ImageName, parse_market_name
from reid_eval.datasets.reader import LAYOUTS, read_dataset
from reid_eval.datasets.tables import COLUMNS, ReidData

__all__ = [
    "COLUMNS",
    "IMAGE_SUFFIXES",
    "LAYOUTS",
    "ImageName",
    "ReidData",
    "check_images",
    "load_images",
    "parse_market_name",
    "read_dataset",
]
