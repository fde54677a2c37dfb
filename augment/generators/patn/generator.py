"""PATN's generator: a person's image, its pose and another pose in; the person in the other pose out.

Zhu et al., "Progressive Pose Attention Transfer for Person Image Generation", CVPR 2019, section 3.1; layer by
layer as in the authors' code, with the same state-dict keys.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from augment.generators.patn.blocks import PATBlock, decoder, encoder, is_norm, join_codes, norm_layer
from reid_eval.runtime import InputError


class _Streams(nn.Module):
    """The four parts under the authors' names; the generator holds it as `model`, as their checkpoints do."""

    def __init__(
        self,
        image_channels: int,
        pose_channels: int,
        ngf: int,
        n_blocks: int,
        n_downsampling: int,
        norm: str,
        dropout: float,
    ) -> None:
        super().__init__()
        channels = ngf * 2**n_downsampling
        self.stream1_down = nn.Sequential(*encoder(image_channels, ngf, n_downsampling, norm))
        self.stream2_down = nn.Sequential(*encoder(2 * pose_channels, ngf, n_downsampling, norm))
        self.att = nn.ModuleList(PATBlock(channels, norm, dropout, first=n == 0) for n in range(n_blocks))
        self.stream1_up = nn.Sequential(*decoder(image_channels, ngf, n_downsampling, norm))


class PATNGenerator(nn.Module):
    """Progressive Pose Attention Transfer generator.

    Args:
        image_channels: channels of the image, 3.
        pose_channels: joints of one pose, 18.
        ngf: width of the first convolutions (authors: 64).
        n_blocks: pose-attentional blocks (authors: 9).
        n_downsampling: strided convolutions (authors: 2); H and W must be divisible by 2 to this power.
        norm: `batch` (Market-1501) or `instance` (DeepFashion).
        dropout: rate inside the blocks in training (authors: 0.5 for both data sets); 0 leaves the layers out.
        any_depth: make every number of blocks a way out (not in the paper): the decoder gets norm layers of its own
            for each exit before the last, since statistics differ between exits (Yu et al., Slimmable Neural Networks,
            ICLR 2019). Train with random exits; the full depth is the plain network's.

    Raises:
        InputError: an argument out of its range.
    """

    def __init__(
        self,
        image_channels: int = 3,
        pose_channels: int = 18,
        ngf: int = 64,
        n_blocks: int = 9,
        n_downsampling: int = 2,
        norm: str = "batch",
        dropout: float = 0.5,
        any_depth: bool = False,
    ) -> None:
        super().__init__()
        sizes = {
            "image_channels": image_channels,
            "pose_channels": pose_channels,
            "ngf": ngf,
            "n_blocks": n_blocks,
            "n_downsampling": n_downsampling,
        }
        for name, value in sizes.items():
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, got {dropout}")
        self.architecture: dict[str, Any] = {**sizes, "norm": norm, "dropout": dropout}
        self.model = _Streams(**self.architecture)
        self.exits: nn.ModuleList | None = None
        if any_depth:  # absent from a plain network's description, so that older files stay equal to it
            self.architecture["any_depth"] = True
            self.exits = nn.ModuleList(self._norms_of_decoder() for _ in range(n_blocks - 1))
        self.blocks = n_blocks

    def _norms_of_decoder(self) -> nn.ModuleList:
        norm, width, levels = (self.architecture[key] for key in ("norm", "ngf", "n_downsampling"))
        return nn.ModuleList(norm_layer(norm, width * 2**level) for level in reversed(range(levels)))

    def use_blocks(self, blocks: int) -> PATNGenerator:
        """Leave after so many blocks from now on: 1 ... `n_blocks`; a network that is not any-depth has one depth.

        Raises:
            InputError: a depth that these weights do not serve.
        """
        most = self.architecture["n_blocks"]
        if not 1 <= blocks <= most:
            raise InputError(f"blocks must be 1 to {most} for this generator, got {blocks}")
        if blocks != most and self.exits is None:
            raise InputError(
                f"blocks {blocks}: these weights serve {most} blocks only; any-depth ones come of a training with "
                "train.overrides.any_depth (recipe patn_any_depth)"
            )
        self.blocks = blocks
        return self

    def forward(self, image: Tensor, condition_map: Tensor, target_map: Tensor) -> Tensor:
        """Redraw the person of `image` in the target pose.

        Args:
            image: float `[B, 3, H, W]` in [-1, 1].
            condition_map: `[B, 18, H, W]` in [0, 1], pose maps of the person in `image`.
            target_map: `[B, 18, H, W]` in [0, 1], pose maps to draw the person in.

        Returns:
            float `[B, 3, H, W]` in [-1, 1].

        Raises:
            InputError: shapes that do not fit together, or H or W not divisible by 2^n_downsampling.
        """
        return self._run(image, condition_map, target_map, None)

    def attention(self, image: Tensor, condition_map: Tensor, target_map: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As `forward`, with each block's mask `[B, C, H/4, W/4]` in (0, 1), first block first (section 4.4)."""
        masks: list[Tensor] = []
        return self._run(image, condition_map, target_map, masks), masks

    def _run(self, image: Tensor, condition_map: Tensor, target_map: Tensor, masks: list[Tensor] | None) -> Tensor:
        self._check(image, condition_map, target_map)
        image_code = self.model.stream1_down(image)
        pose_code = self.model.stream2_down(torch.cat((condition_map, target_map), dim=1))
        for n, block in enumerate(self.model.att[: self.blocks]):
            image_code, pose, mask = block(image_code, pose_code)
            if n < self.blocks - 1:  # the authors build the last pose code too, and nothing reads it
                pose_code = join_codes(pose, image_code)
            if masks is not None:
                masks.append(mask)
        return self._decode(image_code)

    def decoder_layers(self) -> list[nn.Module]:
        """The decoder's layers at the depth in use, with the norm layers of that exit."""
        layers = list(self.model.stream1_up)
        if self.exits is None or self.blocks == self.architecture["n_blocks"]:
            return layers
        norms = iter(self.exits[self.blocks - 1].children())
        return [next(norms) if is_norm(layer) else layer for layer in layers]

    def _decode(self, image_code: Tensor) -> Tensor:
        if self.exits is None or self.blocks == self.architecture["n_blocks"]:
            return self.model.stream1_up(image_code)  # as a whole: trainings compile it
        for layer in self.decoder_layers():
            image_code = layer(image_code)
        return image_code

    def _check(self, image: Tensor, condition_map: Tensor, target_map: Tensor) -> None:
        channels, joints = self.architecture["image_channels"], self.architecture["pose_channels"]
        if image.ndim != 4 or image.shape[1] != channels:
            raise InputError(f"image must be [B, {channels}, H, W], got {tuple(image.shape)}")
        batch, _, height, width = image.shape
        for name, maps in (("condition_map", condition_map), ("target_map", target_map)):
            if tuple(maps.shape) != (batch, joints, height, width):
                raise InputError(f"{name} must be {(batch, joints, height, width)}, got {tuple(maps.shape)}")
        factor = 2 ** self.architecture["n_downsampling"]
        if height % factor or width % factor:
            raise InputError(f"image is {height}x{width}: height and width must be divisible by {factor}; resize it")


def init_generator(generator: nn.Module) -> None:
    """The authors' start, in place: N(0, 0.02) convolutions, BatchNorm gains N(1, 0.02) and zero shifts.

    Biases of convolutions keep PyTorch's default, as the original leaves them. Draws from torch's global generator.
    """
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
