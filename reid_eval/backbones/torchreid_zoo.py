"""torchreid's models under our interface. torchreid is imported at use: it is slow to import and warns."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

from torch import nn

from reid_eval.runtime import InputError

PREFIX = "torchreid:"


def _models() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchreid.reid import models
    except ImportError as error:
        raise InputError(
            f"backbones {PREFIX}NAME need torchreid, which does not import ({error}): "
            "run `pip install torchreid gdown tensorboard`"
        ) from error
    return models


def torchreid_names() -> list[str]:
    """Sorted names of torchreid's models."""
    printed = io.StringIO()  # torchreid only prints them
    with contextlib.redirect_stdout(printed):
        _models().show_avai_models()
    return sorted(name.strip(" '[]\n") for name in printed.getvalue().split(","))


def torchreid_trunk(name: str, imagenet: bool = False) -> tuple[nn.Module, int]:
    """A torchreid model, images [B, 3, H, W] to features [B, D] in both modes, and D.

    torchreid returns logits in training and features in evaluation; with its classifier made the identity, both are
    the features.

    Raises:
        InputError: the model has no single classifier (it gives several part features), or its ImageNet weights cannot
            be downloaded.
    """
    models = _models()
    try:
        net = models.build_model(name, num_classes=1, loss="softmax", pretrained=imagenet, use_gpu=False)
    except Exception as error:  # its downloads fail in many ways
        if not imagenet:
            raise
        reason = str(error).split("\n")[0]
        raise InputError(
            f"ImageNet weights of {PREFIX}{name} cannot be downloaded ({reason}): use init scratch or a file's path"
        ) from error
    classifier = getattr(net, "classifier", None)
    if not isinstance(classifier, nn.Linear):
        raise InputError(f"{PREFIX}{name} gives several part features, which this evaluation does not handle")
    net.classifier = nn.Identity()
    return net, classifier.in_features
