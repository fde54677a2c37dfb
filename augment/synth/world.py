"""How people, places and cameras are drawn: the ranges behind a version of the drawn world.

A version never changes once it is here: data sets, records and weights name it. Another look is another version.
"""

from __future__ import annotations

from dataclasses import dataclass

from reid_eval.runtime import InputError

Range = tuple[float, float]


@dataclass(frozen=True)
class Recording:
    """What a camera, its recorder and whoever cuts the boxes do to a picture; ranges are drawn from uniformly.

    Attributes:
        blur: of the lens, times what version 1 has.
        black, white: levels in [0, 1] that become 0 and 255; of a camera.
        colour: saturation is multiplied by this; of a camera.
        scale: side of the cut-out before it is enlarged, share of the image's; of a camera.
        distance: factor on `scale`, anew in every image.
        noise: of the sensor at that scale, times what version 1 has.
        chroma_blur: Gaussian sigma in pixels of the image 64 pixels wide, colour differences only; of a camera.
        sharpen: weight of what an unsharp mask adds; of a camera.
        quality: of the JPEG, 4:2:0; of a camera.
    """

    blur: float
    black: Range
    white: Range
    colour: Range
    scale: Range
    distance: Range
    noise: float
    chroma_blur: Range
    sharpen: Range
    quality: Range


@dataclass(frozen=True)
class World:
    """One version of the drawn world.

    Attributes:
        version: its number.
        cloth, skin: amplitude of the noise on clothes and on skin, share of the colour.
        folds: depth of the folds at joints and of the soft ones between them, share of the colour.
        ground: brightness of the ground, factor.
        ground_grain: fine noise of the ground, factor.
        scene_contrast: contrast of a scene about its mean colour, factor; None leaves scenes as painted.
        scene_level: mean luma that a scene is then exposed to, in [0, 1].
        shared_places: share of (person, camera) whose every sequence shows the same piece of the scene.
        recording: what cameras do; None is version 1's blur, colour cast, exposure and noise alone.
    """

    version: int
    cloth: float
    skin: float
    folds: float
    ground: Range
    ground_grain: float
    scene_contrast: Range | None
    scene_level: Range
    shared_places: float
    recording: Recording | None


WORLD_1 = World(
    version=1,
    cloth=0.13,
    skin=0.03,
    folds=0.0,
    ground=(0.82, 1.15),
    ground_grain=1.0,
    scene_contrast=None,
    scene_level=(0.0, 1.0),
    shared_places=0.0,
    recording=None,
)
WORLD_2 = World(
    version=2,
    cloth=0.04,
    skin=0.015,
    folds=0.22,
    ground=(0.8, 1.2),
    ground_grain=0.5,
    scene_contrast=(1.0, 1.45),
    scene_level=(0.36, 0.58),
    shared_places=0.7,
    recording=Recording(
        blur=0.6,
        black=(0.02, 0.11),
        white=(0.78, 1.02),
        colour=(0.65, 1.0),
        scale=(0.3, 1.0),
        distance=(0.85, 1.15),
        noise=0.6,
        chroma_blur=(1.0, 2.0),
        sharpen=(0.0, 1.0),
        quality=(40.0, 95.0),
    ),
)
WORLDS = {world.version: world for world in (WORLD_1, WORLD_2)}
NEWEST = max(WORLDS)


def world_of(version: int) -> World:
    """The world of a version.

    Raises:
        InputError: there is none.
    """
    if version not in WORLDS:
        raise InputError(f"world is {version}, must be one of {', '.join(map(str, WORLDS))}", "world")
    return WORLDS[version]
