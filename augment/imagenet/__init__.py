"""Networks trained on ImageNet, with weights that come in packages from the Python package index: nothing to download.

In: pictures in [-1, 1]. Out: features. EfficientNet-Lite0 helps to train generators, MobileNetV2 judges what they make;
neither does the other's work.
"""
