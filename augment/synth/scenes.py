"""Procedural places: what stands and lies behind a synthetic pedestrian. One wide picture per camera.

A scene is drawn once in image space with a true ground plane (tiles and kerbs shrink towards the horizon), walls,
plants and street furniture, then cropped for every image, as a real camera's still background is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.synth.draws import Draws, hashed_uniforms
from augment.synth.world import World

SCENE_SIZE = (320, 512)  # pixels; about 64 to the metre where people walk
_LUMA = torch.tensor([0.299, 0.587, 0.114])
FAMILIES = ("street", "plaza", "lawn", "hall", "campus", "yard")

_GROUND = {
    "street": [(0.45, 0.45, 0.46), (0.36, 0.36, 0.38)],
    "plaza": [(0.62, 0.58, 0.53), (0.55, 0.48, 0.43)],
    "lawn": [(0.28, 0.38, 0.16), (0.52, 0.48, 0.42)],
    "hall": [(0.66, 0.65, 0.62), (0.50, 0.50, 0.52)],
    "campus": [(0.56, 0.52, 0.48), (0.33, 0.40, 0.22)],
    "yard": [(0.50, 0.46, 0.42), (0.40, 0.40, 0.42)],
}
_WALL = torch.tensor(
    [[0.58, 0.46, 0.38], [0.70, 0.66, 0.58], [0.46, 0.46, 0.48], [0.78, 0.76, 0.72], [0.30, 0.34, 0.40]]
)
_PAINT = torch.tensor([[0.80, 0.80, 0.78], [0.78, 0.68, 0.25], [0.30, 0.30, 0.32]])
_OBJECT = torch.tensor(
    [
        [0.10, 0.10, 0.12],
        [0.50, 0.12, 0.12],
        [0.16, 0.25, 0.46],
        [0.75, 0.75, 0.75],
        [0.75, 0.52, 0.14],
        [0.18, 0.30, 0.18],
        [0.35, 0.24, 0.16],
    ]
)


def fractal_noise(seed: int, stream: str, size: tuple[int, int], octaves: int = 5, base: int = 3) -> Tensor:
    """`[H, W]` smooth noise, mean 0, standard deviation about 1; a pure function of (seed, stream, size)."""
    total = torch.zeros(size)
    for octave in range(octaves):
        cells = base * 2**octave
        grid = hashed_uniforms(seed, f"{stream}/{octave}", (torch.zeros(1, dtype=torch.int64),), cells * cells)
        layer = F.interpolate(grid.view(1, 1, cells, cells) - 0.5, size=size, mode="bicubic", align_corners=True)[0, 0]
        total += layer * 0.6**octave
    return total / total.std().clamp_min(1e-6)


class _Painter:
    """One scene under construction: an RGB canvas `[3, H, W]` and the ground coordinates of each pixel."""

    def __init__(self, seed: int, number: int, world: World) -> None:
        self.seed, self.number, self.world = seed, number, world
        self.draws = Draws(seed, "scene", torch.tensor([number]), count=400)
        height, width = SCENE_SIZE
        self.v, self.u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        self.canvas = torch.zeros(3, height, width)
        self.family = FAMILIES[(number - 1) % len(FAMILIES)]
        steep = self.family in ("lawn", "yard", "plaza")
        self.horizon = self.number_between(-500.0, -120.0) if steep else self.number_between(40.0, 130.0)
        below = (self.v - self.horizon).clamp_min(2.0)
        self.far = 260.0 / below * 4.0  # metres away, roughly
        self.across = (self.u - width / 2) / below * 4.0
        self.is_ground = (self.v > self.horizon).float()

    def number_between(self, low: float, high: float) -> float:
        return float(self.draws.between(low, high)[0])

    def happens(self, probability: float) -> bool:
        return bool(self.draws.chance(probability)[0])

    def colour(self, table: Tensor, spread: float = 0.15) -> Tensor:
        colour = self.draws.row(table)[0] * self.number_between(1 - spread, 1 + spread)
        return colour[:, None, None]

    def noise(self, name: str, octaves: int = 5, base: int = 3) -> Tensor:
        return fractal_noise(self.seed, f"scene {self.number} {name}", SCENE_SIZE, octaves, base)

    def paint(self, colour: Tensor, alpha: Tensor) -> None:
        self.canvas = self.canvas + (colour - self.canvas) * alpha

    def ground(self) -> None:
        first, second = (torch.tensor(c)[:, None, None] for c in _GROUND[self.family])
        tint = self.number_between(*self.world.ground)
        grain, fine = self.noise("grain", octaves=3, base=70), self.world.ground_grain
        self.canvas = first * tint * (1 + 0.05 * self.noise("patches") + 0.04 * fine * grain)
        angle = self.number_between(-1.4, 1.4)
        line = self.across * torch.cos(torch.tensor(angle)) * 2.0 + self.far * torch.sin(torch.tensor(angle))
        edge = line - self.number_between(-1.2, 1.2) + 0.05 * self.noise("edge")
        self.paint(second * tint * (1 + 0.06 * self.noise("second") + 0.06 * fine * grain), torch.sigmoid(edge * 40))
        kerb = torch.exp(-((edge * 14) ** 2))
        self.paint(torch.tensor([0.68, 0.66, 0.62])[:, None, None] * tint, kerb * 0.8)
        if self.family in ("plaza", "hall", "campus"):
            self._tiles()
        for _ in range(3):
            if self.happens(0.4):
                self._painted_line()

    def _tiles(self) -> None:
        step = self.number_between(0.25, 0.6)
        for coordinate in (self.across / step, self.far / step):
            distance = (torch.remainder(coordinate, 1.0) - 0.5).abs() * 2
            slope = (coordinate[1:, :] - coordinate[:-1, :]).abs().mean()
            line = (distance > 1 - (0.06 + float(slope.clamp(max=0.3)))).float()
            self.paint(torch.tensor(0.30), line * 0.22 * (self.far < 12).float())

    def _painted_line(self) -> None:
        angle, where = torch.tensor(self.number_between(0.0, torch.pi)), self.number_between(-1.5, 1.5)
        line = self.across * torch.cos(angle) * 2 + (self.far - 3.5) * torch.sin(angle) - where
        self.paint(self.colour(_PAINT), torch.exp(-((line * self.number_between(12, 30)) ** 2)) * 0.75)

    def backdrop(self) -> None:
        if self.horizon < 10:
            return
        above = torch.sigmoid((self.horizon - self.v) * 1.5)
        wall = self.colour(_WALL) * (1 + 0.05 * self.noise("wall"))
        self.paint(wall, above)
        across, up = self.number_between(30, 90), self.number_between(30, 70)
        pane = (torch.remainder(self.u / across, 1.0) - 0.5).abs() < self.number_between(0.15, 0.4)
        pane &= (torch.remainder((self.v - self.horizon) / up, 1.0) - 0.5).abs() < 0.33
        if self.happens(0.7):
            self.paint(
                torch.tensor([0.16, 0.19, 0.23])[:, None, None] * (1 + 0.3 * self.noise("glass")),
                pane.float() * above * 0.85,
            )
        if self.happens(0.6):
            self.plants(above)

    def plants(self, where: Tensor) -> None:
        leaves = self.noise("leaves", octaves=7, base=4)
        green = torch.tensor([0.16, 0.25, 0.09])[:, None, None] * (
            1 + 0.45 * self.noise("leaf light", octaves=7, base=20)
        )
        self.paint(green.clamp(0.02, 1), torch.sigmoid((leaves - self.number_between(-0.2, 0.8)) * 12) * where)

    def objects(self) -> None:
        """Cars, bins, posts, signs, cones: shaded boxes and posts that stand on the ground, far ones first."""
        feet = sorted(self.number_between(max(self.horizon, 0.0) + 10, SCENE_SIZE[0] * 1.05) for _ in range(9))
        for foot in feet:
            if self.happens(0.75):
                self._box(foot)

    def _box(self, foot: float) -> None:
        kind = int(self.draws.choice([1.0, 2.0, 1.2, 1.2])[0])  # car, bin or cone, post, sign
        wide = self.number_between(*[(60, 120), (10, 26), (2.5, 6), (12, 30)][kind]) / 2
        tall = self.number_between(*[(35, 60), (18, 45), (90, 200), (60, 110)][kind])
        centre = self.number_between(0, SCENE_SIZE[1])
        colour = self.colour(_OBJECT, 0.3)
        u, up = self.u - centre, foot - self.v
        shrink = 1.0 - (0.5 * (up / tall).clamp(0, 1) if kind == 1 and self.happens(0.4) else 0.0)
        soft = (
            torch.sigmoid((wide * shrink - u.abs()) * 1.5) * torch.sigmoid((tall - up) * 1.5) * torch.sigmoid(up * 1.5)
        )
        shade = 1.0 - 0.35 * (u / wide).clamp(-1, 1) * self.number_between(-1, 1) - 0.2 * (1 - up / tall).clamp(0, 1)
        shadow = torch.exp(-((u / (wide * 1.4)) ** 2) - (up / 6) ** 2)
        self.paint(torch.tensor(0.12), 0.45 * shadow)
        if kind == 3:
            post = torch.sigmoid((1.5 - u.abs()) * 2) * torch.sigmoid(up * 2) * torch.sigmoid((tall - up) * 2)
            self.paint(torch.tensor(0.35), post)
            soft = soft * torch.sigmoid(up - tall + 22)
        self.paint(colour * shade, soft)
        if kind == 0:
            glass = torch.sigmoid((wide * 0.8 - u.abs()) * 1.5) * torch.sigmoid(
                (tall * 0.3 - (up - tall * 0.75).abs() * 2) * 1.5
            )
            self.paint(torch.tensor([0.14, 0.17, 0.20])[:, None, None], glass * 0.9)

    def finish(self) -> Tensor:
        if self.happens(0.5):
            dark = torch.sigmoid((self.noise("shadow", octaves=4, base=2) - 0.7) * 9)
            self.canvas = self.canvas * (1 - 0.42 * dark)
        sweep = self.number_between(-0.12, 0.12) * (self.u / SCENE_SIZE[1] - 0.5) * 2
        self.canvas = self.canvas * (1 + sweep)
        if self.world.scene_contrast is not None:
            factor = self.number_between(*self.world.scene_contrast)
            mean = self.canvas.mean((1, 2), keepdim=True)
            level = self.number_between(*self.world.scene_level) / float(mean[:, 0, 0] @ _LUMA)
            self.canvas = (mean + (self.canvas - mean) * factor) * level
        return self.canvas.clamp(0.01, 1.0)


def paint_scene(seed: int, number: int, world: World) -> tuple[Tensor, float]:
    """Draw the scene of camera `number` (from 1): `[3, 320, 512]` RGB in [0, 1] and the row of its horizon."""
    painter = _Painter(seed, number, world)
    painter.ground()
    painter.backdrop()
    painter.objects()
    return painter.finish(), painter.horizon
