"""Draws the pose library that ships: the gait cycle, seen from all sides, of the synthetic pedestrians' skeleton.

The only module of `augment.pose` that needs the renderer; the library itself is a file, read by
`augment.pose.library`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from augment.pose.keypoints import Keypoints
from augment.pose.library import frame_of, pose_name
from augment.synth.body import Parts, make_parts
from augment.synth.gait import SWING, Motion, make_motion, make_skeleton, openpose_joints
from augment.synth.identity import Identities, make_identities
from augment.synth.posture import Posture
from augment.synth.raster import make_solids, rasterise
from augment.synth.view import View, rotation_of
from reid_eval.runtime import InputError, first_five

VIEWS, PHASES = 12, 8
_MODEL = 3  # a pedestrian of world 0 without hat, bag or long coat; the body is then made an average one
_PITCH, _DISTANCE = 0.15, 9.0  # a camera a little above the heads
_MARGIN = 1.10  # of the box, over the person's height
# Face and wrists are what estimators give up on when they cannot be seen; they guess the rest.
_HIDEABLE = (0, 4, 7, 14, 15, 16, 17)
_THICKNESS = {0: 0.03, 4: 0.045, 7: 0.045, 14: 0.03, 15: 0.03, 16: 0.035, 17: 0.035}


def gait_library(views: int = VIEWS, phases: int = PHASES, size: tuple[int, int] = (128, 64)) -> Keypoints:
    """Poses of an average walker and of someone standing, from all sides.

    Args:
        views: directions, evenly around; view 0 faces the camera, a quarter on the person turns to their left.
        phases: moments of one gait cycle, each in every view; and one of standing.
        size: (H, W) in pixels of the frame that the person fills.

    Returns:
        `views * (phases + 1)` rows named `gait/view030/phase2@128x64` and `stand/view030@128x64`.
    """
    turns = torch.arange(views).repeat_interleave(phases + 1)
    steps = torch.arange(phases + 1).repeat(views)
    people = _average(len(turns))
    motion = _motion(people, steps, phases)
    skeleton = make_skeleton(people, motion)
    view = _view(make_parts(people, skeleton, motion), turns * (2 * torch.pi / views), size)
    joints, _ = view.to_view(openpose_joints(skeleton, people.stature))
    xy = _pixels(joints, view, size)
    hidden = _hidden(joints, xy, make_parts(people, skeleton, motion), view, size, people.stature)
    xy = xy.masked_fill(hidden[..., None], torch.nan)
    names = tuple(pose_name(stem, size) for stem in _stems(views, phases))
    return Keypoints(names, (xy * 10).round().div(10).numpy())


def gait_postures(names: Sequence[str]) -> Posture:
    """What the rows `names` of `gait_library` show: its walker's motions, each in its view and frame.

    Raises:
        InputError: a name that no row of `gait_library()`, at any size, has.
    """
    stems = _stems(VIEWS, PHASES)
    frames = [frame_of(name) for name in names]
    unknown = [n for n, f in zip(names, frames, strict=True) if not f or 0 in f or n.rpartition("@")[0] not in stems]
    if unknown:
        raise InputError(
            f"{len(unknown)} poses that the gait library does not have, such as {first_five(unknown)}: expected names "
            "like stand/view030@128x64 or gait/view030/phase2@128x64",
            "poses",
        )
    key = torch.tensor([stems[name.rpartition("@")[0]] for name in names], dtype=torch.int64)
    people = _average(len(names))
    motion = _motion(people, key % (PHASES + 1), PHASES)
    parts = make_parts(people, make_skeleton(people, motion), motion)
    size = torch.tensor([frame or (0, 0) for frame in frames], dtype=torch.float32).view(-1, 2)
    view = _view(parts, key // (PHASES + 1) * (2 * torch.pi / VIEWS), (size[:, 0], size[:, 1]))
    return Posture(motion, view, people.stature, people.arm_swing, key)


def _stems(views: int, phases: int) -> dict[str, int]:
    """Rows of the library by their names without the frame: row `view * (phases + 1) + step`."""
    steps = [f"gait/view{{}}/phase{p}" for p in range(phases)] + ["stand/view{}"]
    return {
        step.format(_degrees(view, views)): view * len(steps) + at
        for view in range(views)
        for at, step in enumerate(steps)
    }


def _degrees(view: int, views: int) -> str:
    return f"{round(360 * view / views):03d}"


def _average(count: int) -> Identities:
    """`count` copies of one plainly dressed person with the mean body of five hundred."""
    crowd = make_identities(0, torch.arange(1, 513))
    one = make_identities(0, torch.full((count,), _MODEL))
    mean = {
        name: getattr(crowd, name).mean().expand(count)
        for name in ("stature", "build", "shoulders", "hips", "gait_stride", "arm_swing")
    }
    return replace(one, **mean)


def _motion(people: Identities, steps: Tensor, phases: int) -> Motion:
    """Walking at `steps` of a cycle; the last step is standing with hanging arms."""
    still = steps == phases
    numbers = torch.zeros_like(steps)
    zero = torch.zeros(len(steps))
    some = make_motion(0, people, numbers, numbers, numbers, numbers)
    return replace(
        some,
        phase=2 * torch.pi * steps / phases,
        walk=torch.where(still, zero, people.gait_stride),
        lean=zero + 0.05,
        head_turn=zero,
        head_nod=zero + 0.1,
        twist=zero,
        arm_mode=torch.full((len(steps), 2), SWING),
        stance=zero + 0.06,
        jitter=torch.zeros(len(steps), 8),
    )


def _view(parts: Parts, yaw: Tensor, size: tuple[int, int] | tuple[Tensor, Tensor]) -> View:
    """The person turned by `yaw`, in a frame of `size`, or of one each, with a little room around."""
    zero = torch.zeros_like(yaw)
    rotation = rotation_of(yaw, zero + _PITCH, zero)
    loose = View(rotation, zero + _DISTANCE, zero[:, None].expand(-1, 2), zero[:, None].expand(-1, 2) + 1)
    points, scale = loose.to_view(torch.cat([parts.a, parts.b], dim=1))
    reach = torch.cat([parts.ra, parts.rb], dim=1) * scale
    there = (reach > 0)[..., None]
    low = torch.where(there, points[..., :2] - reach[..., None], 1e3).amin(1)
    high = torch.where(there, points[..., :2] + reach[..., None], -1e3).amax(1)
    height = (high - low)[:, 1] * _MARGIN
    return loose._replace(centre=(low + high) / 2, extent=torch.stack([height * size[1] / size[0], height], dim=1))


def _pixels(joints: Tensor, view: View, size: tuple[int, int]) -> Tensor:
    share = (joints[..., :2] - view.centre[:, None]) / view.extent[:, None]
    x = ((share[..., 0] + 0.5) * size[1] - 0.5).clamp(0, size[1] - 1)
    y = ((0.5 - share[..., 1]) * size[0] - 0.5).clamp(0, size[0] - 1)
    return torch.stack([x, y], dim=-1)


def _hidden(joints: Tensor, xy: Tensor, parts: Parts, view: View, size: tuple[int, int], stature: Tensor) -> Tensor:
    """Bool `[B, 18]`: face joints and wrists with the body in front of them."""
    a, scale_a = view.to_view(parts.a)
    b, scale_b = view.to_view(parts.b)
    left = (view.rotation[:, None] * parts.left[..., None, :]).sum(-1)
    solids = make_solids(
        a, b, parts.ra * scale_a, parts.rb * scale_b, left, parts.flat, parts.split, parts.trim * scale_b,
        parts.trimmed, parts.cut,
    )  # fmt: skip
    u = (torch.arange(size[1]) + 0.5) / size[1] - 0.5
    v = 0.5 - (torch.arange(size[0]) + 0.5) / size[0]
    x = view.centre[:, 0, None] + u[None] * view.extent[:, 0, None]
    y = view.centre[:, 1, None] + v[None] * view.extent[:, 1, None]
    depth = rasterise(solids, x[:, None, :], y[:, :, None]).depth
    column, row = xy.round().long().unbind(-1)
    surface = depth[torch.arange(len(xy))[:, None], row, column]
    hidden = torch.zeros(xy.shape[:2], dtype=torch.bool)
    for joint in _HIDEABLE:
        hidden[:, joint] = surface[:, joint] > joints[:, joint, 2] + _THICKNESS[joint] * stature
    return hidden
