"""From numbers to pedestrians: (pid, camera, sequence, frame) in, image, mask and joints out, batched on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.synth.body import Parts, make_parts
from augment.synth.cameras import Cameras, blur, crop_scenes, make_cameras
from augment.synth.draws import Draws, hashed_uniforms
from augment.synth.gait import Skeleton, make_motion, make_skeleton, openpose_joints
from augment.synth.identity import Identities, make_identities
from augment.synth.posture import Posture
from augment.synth.raster import Hits, Solids, make_solids, rasterise
from augment.synth.recording import draw_recorded, record
from augment.synth.scenes import SCENE_SIZE, fractal_noise
from augment.synth.shade import Light, shade
from augment.synth.view import View, direction, rotation_of
from augment.synth.workers import workers
from augment.synth.world import NEWEST, world_of

_T = TypeVar("_T")
_METRE = 60.0  # scene pixels to the metre where people walk
_NOISE_TILE = 256
_PASSERS_BY = 3


class Rendered(NamedTuple):
    """A batch of pedestrians.

    image: uint8 `[B, 3, H, W]` RGB. mask: bool `[B, H, W]`, the visible person. keypoints: float32 `[B, 18, 2]`,
    OpenPose order, (x, y) pixels with pixel centres at integers, NaN where an estimator would miss the joint.
    true_keypoints: the same without misses or jitter. pids, camids: int64 `[B]`.
    """

    image: Tensor
    mask: Tensor
    keypoints: Tensor
    true_keypoints: Tensor
    pids: Tensor
    camids: Tensor


class PedestrianRenderer:
    """Draws any person of the world `seed` in any of its cameras.

    Args:
        seed: names the world: identities, cameras, scenes and motions all follow from it.
        size: (height, width) of the images in pixels.
        cameras: how many cameras the world has; camids run from 1 and wrap around beyond it.
        device: where tensors live. The same seed gives the same bytes on the same device.
        supersample: rays per pixel side.
        world: version of how everything is drawn; see `augment.synth.world`. Bodies, poses, joints and masks are the
            same in all.
        chunk: images drawn in one pass; small chunks stay in a CPU's caches. Never changes the result.
    """

    def __init__(
        self,
        seed: int = 0,
        size: tuple[int, int] = (128, 64),
        *,
        cameras: int = 6,
        device: torch.device | str = "cpu",
        supersample: int = 2,
        chunk: int | None = None,
        world: int = NEWEST,
    ) -> None:
        self.seed, self.size, self.supersample = seed, size, supersample
        self.device = torch.device(device)
        self.chunk = chunk or (8 if self.device.type == "cpu" else 1024)
        self.world = world_of(world)
        self.cameras: Cameras = make_cameras(seed, cameras, self.device, self.world)
        tile = fractal_noise(0, "cloth", (_NOISE_TILE, _NOISE_TILE), octaves=5, base=6)
        grain = fractal_noise(0, "grain", (_NOISE_TILE, _NOISE_TILE), octaves=2, base=128)
        self._cloth, self._grain = tile.clamp(-2.5, 2.5).to(self.device), grain.clamp(-3, 3).to(self.device)
        self._alone(self._populate)

    def _alone(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Call `function` where its small operators are not shared out over cores; see `augment.synth.workers`."""
        if self.device.type != "cpu":
            return function(*arguments)
        return workers().submit(function, *arguments).result()

    @torch.no_grad()
    def _populate(self) -> None:
        """Let other people stand in the scenes: passers-by are what confuses real detectors and generators most."""
        size, self.size = self.size, (128, 64)  # scenes have one scale, whatever the size of the images
        numbers = torch.arange(1, len(self.cameras.pitch) + 1, device=self.device)
        scenes = self.cameras.scenes
        for rank in range(_PASSERS_BY):
            pids = 2_000_000_000 + numbers * _PASSERS_BY + rank
            zero = torch.zeros_like(pids)
            held, camera = Draws(self.seed, "passer-by", pids), numbers - 1
            people = make_identities(self.seed, pids)
            motion = make_motion(self.seed, people, pids, numbers, zero, zero)
            skeleton = make_skeleton(people, motion)
            parts = make_parts(people, skeleton, motion)
            view = self._look(held, Draws(self.seed, "passer-by box", pids), camera, zero, parts)
            view = view._replace(extent=torch.tensor([64.0, 128.0], device=self.device).expand(len(pids), 2) / _METRE)
            light = self._light(camera, view, held)
            colour, cover, _ = self._paint_people(people, skeleton, parts, view, light)
            top = (self.cameras.horizon.clamp_min(0.0) + 80).clamp_max(SCENE_SIZE[0] - 20.0)
            # Far ones first, so that near ones cover them.
            foot = top + (SCENE_SIZE[0] + 30 - top) * (rank + held.unit()) / _PASSERS_BY
            row = (foot - 122).clamp(0, SCENE_SIZE[0] - 128).to(torch.int64)
            column = (held.unit() * (SCENE_SIZE[1] - 64)).to(torch.int64)
            for i in range(len(pids)):
                box = scenes[i, :, row[i] : row[i] + 128, column[i] : column[i] + 64]
                box.mul_(1 - cover[i]).add_(colour[i].clamp(0, 1))
        self.size = size

    @torch.no_grad()
    def render(
        self, pids: Tensor, camids: Tensor, seqs: Tensor, frames: Tensor, *, posture: Posture | None = None
    ) -> Rendered:
        """Draw one image for each row of the int64 `[B]` tensors; the order and size of the batch do not matter.

        With a `posture`, `[B]`, people take that instead of their own, and nothing stands in front of them; person,
        place, light and camera are those of the rows.
        """
        inputs = [t.to(self.device, torch.int64) for t in (pids, camids, seqs, frames)]
        columns: list[Sequence[Tensor | Posture]] = [t.split(self.chunk) for t in inputs]
        if posture is not None:
            columns.append(posture.each(lambda value: value.to(self.device)).split(self.chunk))
        chunks: list[Any] = list(zip(*columns, strict=True))
        if self.device.type == "cpu":
            pieces = list(workers().map(lambda chunk: self._draw(*chunk), chunks))
        else:
            pieces = [self._draw(*chunk) for chunk in chunks]
        return Rendered(*(torch.cat(column) for column in zip(*pieces, strict=True)))

    @torch.no_grad()
    def posture(self, pids: Tensor, camids: Tensor, seqs: Tensor, frames: Tensor) -> Posture:
        """How the people of `render`'s images stand, how they are seen, and the box that is cut."""
        rows = [t.to(self.device, torch.int64) for t in (pids, camids, seqs, frames)]

        def find() -> Posture:
            people = make_identities(self.seed, rows[0])
            motion = make_motion(self.seed, people, *rows)
            parts = make_parts(people, make_skeleton(people, motion), motion)
            view = self._look(*self._draws(*rows), self._camera(rows[1]), rows[3], parts)
            key = (hashed_uniforms(self.seed, "posture", tuple(rows), 1)[:, 0] * (1 << 24)).to(torch.int64)
            return Posture(motion, view, people.stature, people.arm_swing, key)

        return self._alone(find)

    def _camera(self, camids: Tensor) -> Tensor:
        return (camids - 1) % self.cameras.pitch.shape[0]

    def _draws(self, pids: Tensor, camids: Tensor, seqs: Tensor, frames: Tensor) -> tuple[Draws, Draws]:
        """What stays over a sequence, and what changes from frame to frame."""
        held = Draws(self.seed, "sequence", pids, camids, seqs)
        return held, Draws(self.seed, "frame", pids, camids, seqs, frames, count=288)

    def _draw(
        self, pids: Tensor, camids: Tensor, seqs: Tensor, frames: Tensor, posture: Posture | None = None
    ) -> Rendered:
        camera = self._camera(camids)
        held, moment = self._draws(pids, camids, seqs, frames)
        people = make_identities(self.seed, pids)
        motion = make_motion(self.seed, people, pids, camids, seqs, frames)
        skeleton = make_skeleton(people, motion)
        parts = make_parts(people, skeleton, motion)
        view = self._look(held, moment, camera, frames, parts)
        grain = moment
        if posture is not None:  # only now, so that place and light draw the numbers that they drew for the photo
            people, view = posture.worn_by(people)
            motion = posture.motion
            skeleton = make_skeleton(people, motion)
            parts = make_parts(people, skeleton, motion)
            grain = Draws(self.seed, "grain of a posture", pids, camids, seqs, frames, posture.key, count=2)
        colour, cover, hits = self._paint_people(people, skeleton, parts, view, self._light(camera, view, held))
        rows = (pids, camids, seqs, frames)
        background = self._background(held, moment, camera, rows, view, skeleton)
        picture = colour + background * (1 - cover)
        occluder, blocked = self._occlude(moment, picture)
        if posture is None:
            picture = blocked
        else:
            occluder = torch.zeros_like(occluder)
        image = self._develop(picture, camera, moment, grain, rows)
        mask = (cover[:, 0] > 0.5) & ~occluder
        joints, _ = view.to_view(openpose_joints(skeleton, people.stature))
        true, seen = self._joints(joints, hits, view, occluder, people, moment)
        return Rendered(image, mask, seen, true, pids, camids)

    def _paint_people(
        self, people: Identities, skeleton: Skeleton, parts: Parts, view: View, light: Light
    ) -> tuple[Tensor, Tensor, Hits]:
        """Premultiplied colour `[B, 3, H, W]` and cover `[B, 1, H, W]` of the people alone, and the raw hits."""
        solids = self._solids(parts, view)
        x, y = self._grid(view, self.supersample)
        hits = rasterise(solids, x, y)
        spine = (view.to_view(skeleton.pelvis)[0], direction(view, skeleton.neck - skeleton.pelvis))
        colour = shade(parts, solids, hits, x, y, people, light, spine, self._cloth, self.world)
        cover = F.avg_pool2d(hits.mask[:, None].to(torch.float32), self.supersample)
        return F.avg_pool2d(colour, self.supersample), cover, hits

    def _look(self, held: Draws, moment: Draws, camera: Tensor, frames: Tensor, parts: Parts) -> View:
        """Choose the view and cut a detector's box around the person, a little wrong as detectors are."""
        yaw = held.between(-torch.pi, torch.pi) + moment.bell(0.0, 0.10) + held.bell(0.0, 0.05) * frames
        pitch = (self.cameras.pitch[camera] + held.bell(0.0, 0.04)).clamp(0.0, 0.75)
        rotation = rotation_of(yaw, pitch, moment.bell(0.0, 0.025))
        distance = self.cameras.distance[camera] * held.between(0.8, 1.3)
        loose = View(rotation, distance, torch.zeros_like(rotation[:, 0, :2]), torch.ones_like(rotation[:, 0, :2]))
        ends = torch.cat([parts.a, parts.b], dim=1)
        radii = torch.cat([parts.ra, parts.rb], dim=1)
        points, scale = loose.to_view(ends)
        reach = (radii * scale)[..., None]
        there = radii[..., None] > 0
        low = torch.where(there, points[..., :2] - reach, 1e3).amin(1)
        high = torch.where(there, points[..., :2] + reach, -1e3).amax(1)
        height = (high - low)[:, 1] * moment.between(1.03, 1.17)
        cut = moment.chance(0.07)
        height = torch.where(cut, height * moment.between(0.70, 0.95), height)
        width = torch.maximum(height * 0.5 * moment.between(0.86, 1.08), (high - low)[:, 0] * 0.80)
        centre = (low + high) / 2
        centre = centre + torch.stack([moment.bell(0.0, 0.03) * width, moment.bell(0.0, 0.014) * height], dim=1)
        lift = torch.where(cut, (high - low)[:, 1] * 0.5 - height * 0.47, torch.zeros_like(height))
        centre = centre + torch.stack([torch.zeros_like(lift), lift], dim=1)
        return View(rotation, distance, centre, torch.stack([width, height], dim=1))

    def _solids(self, parts: Parts, view: View) -> Solids:
        a, scale_a = view.to_view(parts.a)
        b, scale_b = view.to_view(parts.b)
        left = (view.rotation[:, None] * parts.left[..., None, :]).sum(-1)
        return make_solids(
            a,
            b,
            parts.ra * scale_a,
            parts.rb * scale_b,
            left,
            parts.flat,
            parts.split,
            parts.trim * scale_b,
            parts.trimmed,
            parts.cut,
        )

    def _grid(self, view: View, factor: int) -> tuple[Tensor, Tensor]:
        """View-space coordinates of the pixel columns `[B, 1, W]` and rows `[B, H, 1]`."""
        height, width = self.size[0] * factor, self.size[1] * factor
        u = (torch.arange(width, device=self.device) + 0.5) / width - 0.5
        v = 0.5 - (torch.arange(height, device=self.device) + 0.5) / height
        x = view.centre[:, 0, None] + u[None] * view.extent[:, 0, None]
        y = view.centre[:, 1, None] + v[None] * view.extent[:, 1, None]
        return x[:, None, :], y[:, :, None]

    def _light(self, camera: Tensor, view: View, held: Draws) -> Light:
        up = direction(view, torch.tensor([0.0, 1.0, 0.0], device=self.device).expand(len(camera), 3))
        azimuth = self.cameras.sun_azimuth[camera] + held.bell(0.0, 0.3)
        flat = torch.stack([azimuth.cos() * 0.75, torch.zeros_like(azimuth), azimuth.sin() * 0.75], dim=1)
        sun = flat + 0.66 * up
        strength = self.cameras.sun_strength[camera] * held.between(0.6, 1.0)
        return Light(up, sun / sun.norm(dim=1, keepdim=True), strength)

    def _background(
        self, held: Draws, moment: Draws, camera: Tensor, rows: tuple[Tensor, ...], view: View, skeleton: Skeleton
    ) -> Tensor:
        """Crop the camera's scene around the person's feet and lay the person's shadow on the ground."""
        start, stand, zoom, level = self._place(held, moment, camera, rows)
        feet = view.to_view(skeleton.ankle)[0].mean(1)
        x, y = self._grid(view, 1)
        u = start[:, None, None] + (x - feet[:, 0, None, None]) * zoom[:, None, None]
        v = stand[:, None, None] - (y - feet[:, 1, None, None] + 0.05) * zoom[:, None, None]
        crop = crop_scenes(self.cameras.scenes, camera, u, v) * level[:, None, None, None]
        steep = (self.cameras.pitch[camera].sin() * 0.9 + 0.08)[:, None, None]
        dx, dy = (x - feet[:, 0, None, None]) / 0.34, (y - feet[:, 1, None, None] + 0.06) / (0.34 * steep)
        shadow = torch.exp(-(dx * dx) - dy * dy) * 0.55
        sunny = self.cameras.sun_strength[camera][:, None, None]
        azimuth = self.cameras.sun_azimuth[camera]
        lean = (-azimuth.cos() * 0.9)[:, None, None]
        along = (x - feet[:, 0, None, None]) - lean * 0.6
        cast = torch.exp(-((along / 0.55) ** 2) - ((y - feet[:, 1, None, None] + 0.02) / (0.20 * steep + 0.02)) ** 2)
        return crop * (1 - torch.maximum(shadow, 0.5 * sunny * cast))[:, None]

    def _place(
        self, held: Draws, moment: Draws, camera: Tensor, rows: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Column and row of the scene where the person stands, scene pixels to the metre, brightness: `[B]` each."""
        height, width = SCENE_SIZE
        pids, camids, _, frames = rows
        top = (self.cameras.horizon[camera].clamp_min(0.0) + 75).clamp_max(height - 40.0)

        def drawn(draws: Draws, walks: bool) -> list[Tensor]:
            stand = top + (height + 10 - top) * draws.unit()
            start = width * draws.between(0.06, 0.94)
            if walks:
                start = start + frames * draws.between(-9.0, 9.0) + moment.bell(0.0, 1.5)
            return [start, stand, _METRE * draws.between(0.85, 1.15), draws.between(0.85, 1.12)]

        place = drawn(held, walks=True)
        if self.world.shared_places:
            known = Draws(self.seed, "place", pids, camids, count=8)
            shared = known.chance(self.world.shared_places)
            same = drawn(known, walks=False)
            place = [torch.where(shared, a, b) for a, b in zip(same, place, strict=True)]
        start, stand, zoom, level = place
        return start, stand, zoom, level

    def _occlude(self, moment: Draws, picture: Tensor) -> tuple[Tensor, Tensor]:
        """In one image of fourteen something stands in front: a post at a side or a box over the feet."""
        height, width = self.size
        row = (torch.arange(height, device=self.device) + 0.5)[None, :, None] / height
        column = (torch.arange(width, device=self.device) + 0.5)[None, None, :] / width
        happens, post, right = moment.chance(0.07), moment.chance(0.5), moment.chance(0.5)
        reach = moment.between(0.08, 0.24)[:, None, None]
        column = torch.where(right[:, None, None], 1 - column, column)
        low = torch.where(post, moment.between(-0.2, 0.2), moment.between(0.72, 0.9))[:, None, None]
        reach = torch.where(post[:, None, None], reach, reach * 3.2)
        where = happens[:, None, None] & (column < reach) & (row > low)
        colour = torch.stack([moment.between(0.08, 0.6)] * 3, dim=1) + torch.stack(
            [moment.bell(0.0, 0.05) for _ in range(3)], 1
        )
        shaded = colour[:, :, None, None] * (0.8 + 0.4 * column / reach)[:, None]
        return where, torch.where(where[:, None], shaded.clamp(0.02, 0.95), picture)

    def _develop(
        self, picture: Tensor, camera: Tensor, moment: Draws, noise: Draws, rows: tuple[Tensor, ...]
    ) -> Tensor:
        """Optics and electronics: blur, colour cast, exposure, gamma, noise, then what the world's recorders do."""
        cameras, recording = self.cameras, self.world.recording
        scale = self.size[0] / 128.0 * (recording.blur if recording else 1.0)
        picture = blur(picture, (cameras.blur[camera] + moment.between(-0.1, 0.35)) * scale)
        exposure = moment.bell(1.12, 0.07)[:, None, None, None]
        picture = (picture * cameras.gain[camera][:, :, None, None] * exposure).clamp(1e-3, 1.0)
        # Albedos are display-like values; a mild curve per camera stands for contrast.
        picture = picture ** cameras.gamma[camera][:, None, None, None]
        row = torch.arange(self.size[0], device=self.device)[None, :, None]
        column = torch.arange(self.size[1], device=self.device)[None, None, :]
        du, dv = ((noise.unit() * _NOISE_TILE).to(torch.int64)[:, None, None] for _ in range(2))
        grain = self._grain[(row + du) % _NOISE_TILE, (column + dv) % _NOISE_TILE]
        grain = cameras.noise[camera][:, None, None] * grain
        if recording:
            return record(picture, draw_recorded(recording, self.seed, camera, rows), recording.noise * grain)
        picture = picture + grain[:, None]
        return (picture * 255.0 + 0.5).clamp(0, 255).to(torch.uint8)

    def _joints(
        self, joints: Tensor, hits: Hits, view: View, occluder: Tensor, people: Identities, moment: Draws
    ) -> tuple[Tensor, Tensor]:
        """Project the joints; call missing what an estimator would miss behind the body, an object, or the border."""
        height, width = self.size
        share = (joints[..., :2] - view.centre[:, None]) / view.extent[:, None]
        pixels = torch.stack([(share[..., 0] + 0.5) * width - 0.5, (0.5 - share[..., 1]) * height - 0.5], dim=-1)
        item = torch.arange(len(joints), device=self.device)[:, None]
        f = self.supersample
        column = ((pixels[..., 0] + 0.5) * f).to(torch.int64).clamp(0, width * f - 1)
        row = ((pixels[..., 1] + 0.5) * f).to(torch.int64).clamp(0, height * f - 1)
        thickness = _THICKNESS.to(self.device) * people.stature[:, None] + 0.8 * people.bulk[:, None]
        hidden = hits.depth[item, row, column] > joints[..., 2] + thickness
        blocked = occluder[item, row // f, column // f]
        outside = (
            (pixels[..., 0] < 0) | (pixels[..., 0] > width - 1) | (pixels[..., 1] < 0) | (pixels[..., 1] > height - 1)
        )
        luck = torch.stack([moment.unit() for _ in range(18)], dim=1)
        missed = (hidden & (luck < _MISS_HIDDEN.to(self.device))) | (blocked & (luck < 0.7)) | (luck > 0.985)
        wobble = torch.stack([torch.stack([moment.bell(0.0, 0.5), moment.bell(0.0, 0.5)], 1) for _ in range(18)], 1)
        noisy = pixels + wobble * (height / 128.0)
        noisy = torch.stack([noisy[..., 0].clamp(0, width - 1), noisy[..., 1].clamp(0, height - 1)], dim=-1)
        true = pixels.masked_fill(outside[..., None], float("nan"))
        return true, noisy.masked_fill((missed | outside)[..., None], float("nan"))


# How far behind the visible surface a joint of each kind lies when nothing else is in front of it (share of stature),
# and how often an estimator gives up on it when something is. OpenPose guesses hips and knees, not noses.
_THICKNESS = torch.tensor(
    [
        0.03,
        0.09,
        0.065,
        0.055,
        0.045,
        0.065,
        0.055,
        0.045,
        0.11,
        0.065,
        0.05,
        0.11,
        0.065,
        0.05,
        0.03,
        0.03,
        0.035,
        0.035,
    ]
)
_MISS_HIDDEN = torch.tensor(
    [0.95, 0.02, 0.06, 0.30, 0.45, 0.06, 0.30, 0.45, 0.03, 0.12, 0.22, 0.03, 0.12, 0.22, 0.95, 0.95, 0.90, 0.90]
)
