"""How a synthetic pedestrian stands or walks: joint positions in body space.

Body space is metric: X to the person's left, Y up, Z the way the person faces; the origin is on the ground under the
pelvis. Proportions are shares of stature after Drillis and Contini (1966); walking is a phase-driven approximation of
published sagittal joint angles (hip +-25 degrees, knee up to 60 in swing, arms in counter-phase).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.synth.draws import Draws
from augment.synth.identity import Identities

# What the arms do over a whole sequence.
SWING, POCKETS, PHONE_LOOK, PHONE_CALL, CARRY, HANG, BEHIND = range(7)


@dataclass(frozen=True)
class Motion:
    """The state of one frame, all `[B]`: phase in radians, angles in radians, `walk` 0 (standing) ... 1."""

    phase: Tensor
    walk: Tensor
    lean: Tensor
    head_turn: Tensor
    head_nod: Tensor
    twist: Tensor
    arm_mode: Tensor  # [B, 2]: right, left
    stance: Tensor  # half the gap between the feet of someone standing, share of stature
    jitter: Tensor  # [B, 8] small angles, so that no two frames are the same


def make_motion(seed: int, people: Identities, pids: Tensor, camids: Tensor, seqs: Tensor, frames: Tensor) -> Motion:
    """Motion of a frame: what the sequence fixed (walking, arms) and what the frame adds (phase, jitter)."""
    held = Draws(seed, "sequence motion", pids, camids, seqs)
    moment = Draws(seed, "frame motion", pids, camids, seqs, frames)
    walking = held.chance(0.82)
    modes = [4.5, 0.8, 0.5, 0.25, 0.7, 0.5, 0.25]
    both = held.choice(modes)
    right = torch.where(held.chance(0.7), both, held.choice([5.0, 0.8, 0.7, 0.5, 1.2, 0.5, 0.0]))
    left = torch.where(held.chance(0.7), both, held.choice([5.0, 0.8, 0.3, 0.2, 1.2, 0.5, 0.0]))
    behind = (right == BEHIND) | (left == BEHIND)
    right, left = (torch.where(behind, torch.full_like(m, BEHIND), m) for m in (right, left))
    call_twice = (right == PHONE_CALL) & (left == PHONE_CALL)
    left = torch.where(call_twice, torch.full_like(left, HANG), left)
    idle_turn = moment.bell(0.0, 0.25) + torch.where(walking, 0.0, held.bell(0.0, 0.3))
    return Motion(
        phase=2 * torch.pi * (held.unit() + 0.13 * frames.to(torch.float32) + 0.05 * moment.unit()),
        walk=torch.where(walking, people.gait_stride * held.between(0.75, 1.1), torch.zeros_like(people.stature)),
        lean=held.bell(0.05, 0.03) + moment.bell(0.0, 0.015),
        head_turn=idle_turn.clamp(-1.1, 1.1),
        head_nod=moment.bell(0.10, 0.12) + 0.35 * ((right == PHONE_LOOK) | (left == PHONE_LOOK)),
        twist=moment.bell(0.0, 0.05),
        arm_mode=torch.stack([right, left], dim=1),
        stance=held.between(0.035, 0.085),
        jitter=torch.stack([moment.bell(0.0, 0.06) for _ in range(8)], dim=1),
    )


def _vector(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(x, y, z), dim=-1)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp_min(1e-6)


@dataclass(frozen=True)
class Skeleton:
    """Joint positions in body space, `[B, 3]` or `[B, 2, 3]` (right, left), metres."""

    pelvis: Tensor
    waist: Tensor
    chest: Tensor
    neck: Tensor
    head: Tensor  # centre of the skull
    head_up: Tensor
    head_forward: Tensor
    head_left: Tensor
    torso_left: Tensor
    torso_forward: Tensor
    shoulder: Tensor
    elbow: Tensor
    wrist: Tensor
    hand: Tensor
    hip: Tensor
    knee: Tensor
    ankle: Tensor
    toe: Tensor


def _legs(people: Identities, motion: Motion, pelvis: Tensor) -> dict[str, Tensor]:
    h = people.stature[:, None]
    phase = motion.phase[:, None] + torch.tensor([torch.pi, 0.0], device=h.device)
    walk = motion.walk[:, None]
    side = torch.tensor([-1.0, 1.0], device=h.device)
    thigh = walk * (0.40 * torch.sin(phase) + 0.06) + motion.jitter[:, 0:2] * 0.5
    swing = torch.cos(phase - 0.05).clamp_min(0.0)  # the leg swings forward while its angle grows
    bend = 0.06 + walk * (0.72 * swing + 0.08) + motion.jitter[:, 2:4].abs()
    splay = torch.where(walk > 0, 0.01, motion.stance[:, None] * 0.9) + 0.02
    hip = pelvis[:, None] + _vector(side * people.hips[:, None] * h, torch.zeros_like(h), torch.zeros_like(h))
    thigh_dir = _unit(_vector(side * splay, -torch.cos(thigh), torch.sin(thigh)))
    shin_dir = _unit(_vector(side * splay * 0.5, -torch.cos(thigh - bend), torch.sin(thigh - bend)))
    knee = hip + thigh_dir * (0.245 * h)[..., None]
    ankle = knee + shin_dir * (0.240 * h)[..., None]
    pitch = (thigh - bend) * 0.65
    toe_dir = _unit(_vector(side * 0.22, torch.sin(pitch) - 0.12, torch.cos(pitch)))
    return {"hip": hip, "knee": knee, "ankle": ankle, "toe": ankle + toe_dir * (0.095 * h)[..., None]}


def _arms(people: Identities, motion: Motion, shoulder: Tensor) -> dict[str, Tensor]:
    h = people.stature[:, None]
    side = torch.tensor([-1.0, 1.0], device=h.device)
    phase = motion.phase[:, None] + torch.tensor([0.0, torch.pi], device=h.device)
    swing = motion.walk[:, None] * people.arm_swing[:, None] * torch.sin(phase)
    #          swing  pockets  look   call  carry  hang  behind
    forward = torch.tensor([0.00, -0.22, 0.35, 0.55, 0.15, 0.02, -0.35], device=h.device)
    swings = torch.tensor([0.45, 0.06, 0.04, 0.03, 0.12, 0.15, 0.02], device=h.device)
    elbows = torch.tensor([0.28, 0.60, 1.55, 2.35, 1.25, 0.12, 0.70], device=h.device)
    inward = torch.tensor([0.06, 0.02, 0.45, 0.30, 0.20, 0.02, 0.55], device=h.device)
    abduct = torch.tensor([0.13, 0.28, 0.16, 0.40, 0.16, 0.10, 0.22], device=h.device)
    mode = motion.arm_mode
    upper = forward[mode] + swings[mode] * swing + motion.jitter[:, 4:6]
    bend = elbows[mode] + 0.35 * (swing * swings[mode]).clamp_min(0.0) + motion.jitter[:, 6:8].abs()
    out = abduct[mode] + 1.5 * people.bulk[:, None] + motion.jitter[:, 4:6] * 0.3
    upper_dir = _vector(side * torch.sin(out), -torch.cos(out) * torch.cos(upper), torch.cos(out) * torch.sin(upper))
    angle = torch.where(mode == BEHIND, upper - 0.15, upper + bend)
    across = torch.sin(out) * 0.6 - inward[mode]
    fore_dir = _unit(_vector(side * across, -torch.cos(angle), torch.sin(angle)))
    elbow = shoulder + upper_dir * (0.172 * h)[..., None]
    wrist = elbow + fore_dir * (0.150 * h)[..., None]
    return {"elbow": elbow, "wrist": wrist, "hand": wrist + fore_dir * (0.075 * h)[..., None]}


def make_skeleton(people: Identities, motion: Motion) -> Skeleton:
    """Pose the bodies. The pelvis is set so that the lower foot stands on the ground (Y = 0)."""
    h = people.stature
    zero, one = torch.zeros_like(h), torch.ones_like(h)
    legs = _legs(people, motion, _vector(zero, zero, zero))
    lowest = torch.minimum(legs["ankle"][..., 1], legs["toe"][..., 1] + 0.01 * h[:, None]).amin(1)
    pelvis = _vector(zero, 0.042 * h - lowest, zero)
    legs = {name: joint + pelvis[:, None] for name, joint in legs.items()}
    up = _unit(_vector(zero, torch.cos(motion.lean), torch.sin(motion.lean)))
    turn = motion.twist + 0.14 * motion.walk * torch.sin(motion.phase + torch.pi)
    left = _unit(_vector(torch.cos(turn), zero, -torch.sin(turn)))
    forward = torch.linalg.cross(left, up)
    neck = pelvis + up * (0.288 * h)[:, None]
    side = torch.tensor([-1.0, 1.0], device=h.device)
    spread = side * (people.shoulders * h)[:, None]
    shoulder = (neck - up * (0.020 * h)[:, None])[:, None] + left[:, None] * spread[..., None]
    gaze = turn * 0.3 + motion.head_turn
    head_forward = _unit(_vector(torch.sin(gaze), -torch.sin(motion.head_nod), torch.cos(gaze)))
    head_left = _unit(torch.linalg.cross(_vector(zero, one, zero), head_forward))
    head_up = torch.linalg.cross(head_forward, head_left)
    base = neck + up * (0.035 * h)[:, None] + forward * (0.012 * h)[:, None]
    return Skeleton(
        pelvis=pelvis,
        waist=pelvis + up * (0.09 * h)[:, None],
        chest=pelvis + up * (0.19 * h)[:, None],
        neck=neck,
        head=base + head_up * (0.070 * h)[:, None] + head_forward * (0.012 * h)[:, None],
        head_up=head_up,
        head_forward=head_forward,
        head_left=head_left,
        torso_left=left,
        torso_forward=forward,
        shoulder=shoulder,
        **_arms(people, motion, shoulder),
        **legs,
    )


def face_points(skeleton: Skeleton, stature: Tensor) -> Tensor:
    """Nose, right eye, left eye, right ear, left ear: `[B, 5, 3]` in body space."""
    #                       forward   up     left   (shares of stature)
    offsets = torch.tensor(
        [
            [0.062, -0.008, 0.0],
            [0.053, 0.010, -0.018],
            [0.053, 0.010, 0.018],
            [0.002, 0.002, -0.043],
            [0.002, 0.002, 0.043],
        ],
        device=stature.device,
    )
    scaled = offsets[None] * stature[:, None, None]
    axes = torch.stack([skeleton.head_forward, skeleton.head_up, skeleton.head_left], dim=1)
    return skeleton.head[:, None] + scaled @ axes


def openpose_joints(skeleton: Skeleton, stature: Tensor) -> Tensor:
    """The 18 joints in OpenPose order, `[B, 18, 3]` in body space."""
    s = skeleton
    face = face_points(s, stature)
    right, left = 0, 1
    joints = [
        face[:, 0], s.neck - 0.01 * s.torso_forward,
        s.shoulder[:, right], s.elbow[:, right], s.wrist[:, right],
        s.shoulder[:, left], s.elbow[:, left], s.wrist[:, left],
        s.hip[:, right], s.knee[:, right], s.ankle[:, right],
        s.hip[:, left], s.knee[:, left], s.ankle[:, left],
        face[:, 1], face[:, 2], face[:, 3], face[:, 4],
    ]  # fmt: skip
    return torch.stack(joints, dim=1)
