"""Networks: one dict of names to builders, one interface, `images -> (features, logits)`."""

from __future__ import annotations

from reid_eval.backbones.build import BACKBONES, build, check_backbone
from reid_eval.backbones.net import ReidNet

__all__ = ["BACKBONES", "ReidNet", "build", "check_backbone"]
