"""What a generator is to the rest of the toolkit: PATN, the controls that ship, and anybody else's.

Images are float `[B, 3, H, W]` in [-1, 1]. A pose is what the generator asks for: Gaussian maps `[B, K, H, W]` in
[0, 1] where it names a `sigma`, joints `[B, 18, 2]`, (x, y) pixels at its size, NaN missing, where `sigma` is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from augment.pose.heatmaps import pose_maps
from augment.pose.skeleton import JOINT_COUNT
from reid_eval.runtime import InputError, sha256_bytes

ATTRIBUTES = ("name", "size", "pose_channels", "sigma", "device")
METHODS = ("transfer", "describe")
_SLACK = 0.01  # beyond [-1, 1]: half-precision arithmetic overshoots, and writing an image cuts it off


@runtime_checkable
class PoseGenerator(Protocol):
    """Moves people into other poses. Plain attributes do as well as properties."""

    @property
    def name(self) -> str:
        """Short, for messages and manifests: `patn-synth`, `entry:copy`."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of its images in pixels; whoever calls it resizes to that, joints with it."""
        ...

    @property
    def pose_channels(self) -> int:
        """K, channels of one pose map: 18 for OpenPose's joints."""
        ...

    @property
    def sigma(self) -> float | None:
        """Of the pose maps in pixels; None if it takes joints instead of maps."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its inputs must be."""
        ...

    def transfer(
        self, image: Tensor, condition_pose: Tensor, target_pose: Tensor, generators: Sequence[torch.Generator] = ()
    ) -> Tensor:
        """Redraw each person of a batch in another pose.

        Args:
            image: float `[B, 3, H, W]` in [-1, 1], the condition photos.
            condition_pose: maps `[B, K, H, W]`, or joints `[B, 18, 2]` where `sigma` is None, of the photos.
            target_pose: likewise, of the poses to take.
            generators: one an image, on the CPU, seeded by the output it is for, so that an output's bytes do not
                depend on its neighbours. A generator that draws nothing ignores them.

        Returns:
            float `[B, 3, H, W]` in [-1, 1].
        """
        ...

    def describe(self) -> dict[str, Any]:
        """JSON-able facts that, together with the inputs, determine every output: versions, hashes, settings."""
        ...


def as_pose(generator: PoseGenerator, joints: Tensor) -> Tensor:
    """Joints `[B, 18, 2]`, (x, y) pixels at the generator's size, NaN missing, as the pose that it asks for.

    Maps come in channels-last memory, which is half as fast again on CPUs.
    """
    if generator.sigma is None:
        return joints
    return pose_maps(joints, generator.size, generator.sigma).contiguous(memory_format=torch.channels_last)


def output_seed(name: str) -> int:
    """The seed of an output, in 0 ... 2^63 - 1, from what it is called: the same on every machine."""
    return int(sha256_bytes(name.encode())[:16], 16) >> 1


def run_generator(
    generator: PoseGenerator,
    image: Tensor,
    condition_joints: Tensor,
    target_joints: Tensor,
    seeds: Sequence[int] = (),
) -> Tensor:
    """Call a generator as all of this toolkit does: poses as it wants them, a seed an output, the result checked.

    Args:
        generator: the generator; gradients are the caller's affair.
        image: float `[B, 3, H, W]` in [-1, 1] at the generator's size, on its device.
        condition_joints: float `[B, 18, 2]`, (x, y) pixels at that size, NaN missing, on its device; of the photos.
        target_joints: likewise, of the poses to take.
        seeds: one an image, see `output_seed`; default: 0, 1, ...

    Returns:
        float32 `[B, 3, H, W]`, in [-1, 1] but for the rounding of half precision.

    Raises:
        InputError: the result has another shape, is not finite, or lies outside [-1, 1]; the generator is named.
    """
    chosen = seeds or range(len(image))
    if len(chosen) != len(image):
        raise InputError(f"{len(chosen)} seeds for {len(image)} images")
    randoms = [torch.Generator().manual_seed(int(seed)) for seed in chosen]
    made = generator.transfer(image, as_pose(generator, condition_joints), as_pose(generator, target_joints), randoms)
    return _checked(generator, made, image)


def _checked(generator: PoseGenerator, made: object, image: Tensor) -> Tensor:
    who = f"generator {generator.name}"
    if not isinstance(made, Tensor) or made.shape != image.shape:
        got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise InputError(f"{who} gave {got} for images {tuple(image.shape)}: it must return images of that shape")
    made = made.float()
    low, high = torch.stack(made.aminmax()).tolist() if made.numel() else (0.0, 0.0)
    if not (torch.isfinite(torch.tensor([low, high])).all()):  # NaN goes through aminmax
        raise InputError(f"{who} gave values that are not finite: its weights are damaged or do not fit")
    if low < -1 - _SLACK or high > 1 + _SLACK:
        raise InputError(f"{who} gave values from {low:.3g} to {high:.3g}: it must return images in [-1, 1]")
    return made


def check_generator(found: object, source: str) -> PoseGenerator:
    """Make sure that an object is a `PoseGenerator`.

    Args:
        found: somebody's object.
        source: where it is from, for the message.

    Raises:
        InputError: what is missing or of another kind, all of it.
    """
    if isinstance(found, (str, PurePath)):
        raise InputError(
            f"{str(found)[:200]!r} is the name of a generator, not one: open it first, with augment.load_generator(...)"
        )
    problems = [f"no attribute {name}" for name in ATTRIBUTES if not hasattr(found, name)]
    problems += [f"no method {name}" for name in METHODS if not callable(getattr(found, name, None))]
    if not problems:
        problems = _wrong_values(found)
    if problems:
        raise InputError(f"{source} is no generator: {', '.join(problems)}; see augment.generators.base.PoseGenerator")
    assert isinstance(found, PoseGenerator)
    return found


def _wrong_values(found: Any) -> list[str]:
    problems = []
    if not isinstance(found.name, str) or not found.name:
        problems.append("name is no text")
    size = found.size
    whole = isinstance(size, tuple | list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)
    if not whole:
        problems.append(f"size {size!r} is not (height, width) in pixels")
    if found.sigma is not None and not (isinstance(found.sigma, int | float) and found.sigma > 0):
        problems.append(f"sigma {found.sigma!r} is neither None nor a positive number")
    if found.pose_channels != JOINT_COUNT:
        problems.append(f"pose_channels is {found.pose_channels!r}; poses have {JOINT_COUNT} joints")
    if not isinstance(found.device, torch.device):
        problems.append("device is no torch.device")
    return problems
