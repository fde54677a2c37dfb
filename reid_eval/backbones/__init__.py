"""Networks: one dict of names to builders, one interface, `images -> (features, logits)`; their files."""

from __future__ import annotations

from reid_eval.backbones.build import BACKBONES, build, build_for, check_backbone
from reid_eval.backbones.net import ReidNet
from reid_eval.backbones.saved import load_model, save_model

__all__ = ["BACKBONES", "ReidNet", "build", "build_for", "check_backbone", "load_model", "save_model"]
