"""Gathers what is measured: an augmented folder, or a generator's images of test pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from augment.folder.layout import folder_plan, train_keypoints
from augment.folder.manifest import read_manifest
from augment.generators.transfer import check_precision
from augment.plan.donors import stable_hash
from augment.pose.geometry import scale_joints
from augment.pose.keypoints import Keypoints, load_annotations
from augment.pose.skeleton import usable
from augment.quality.edited import kept_outputs, own_rows
from augment.quality.metrics import Images, Material
from augment.quality.retrieval import Gallery
from augment.runs import Say
from augment.synth.world import NEWEST
from reid_eval.datasets import load_images, read_dataset
from reid_eval.datasets.images import image_size
from reid_eval.runtime import InputError, progress, resolve_device
from reid_eval.transforms import to_pictures

if TYPE_CHECKING:
    from augment.generators.base import PoseGenerator
    from augment.generators.patn.batch import PairBatch
    from augment.quality.known import KnownPairs

_BATCH = 8


def generated_outputs(out: Path) -> list[str]:
    """Paths of an augmented folder's generated images, in the order of its plan."""
    plan = folder_plan(out)
    return list(plan.loc[plan["action"] == "generate", "output"])


def folder_material(
    out: Path, original: Path | None = None, count: int | None = None, seed: int = 0, crowd: bool = True
) -> Material:
    """An augmented folder: its generated images against its real ones.

    Args:
        out: the folder, finished.
        original: the data set it was made of: its training poses are then what pose space looked like before; else
            those of the real images that are in the folder.
        count: so many of the generated images at most, chosen by hash; default: all. Pose space is always whole.
        seed: of the choice.
        crowd: also read all real images.

    Raises:
        InputError: unfinished or no augmented folder, or one without generated images.
    """
    size = read_manifest(out).job.generator_size
    plan = folder_plan(out)
    keypoints = train_keypoints(out)
    made, kept = plan[plan["action"] == "generate"], plan[plan["action"] == "keep"]
    if made.empty:
        raise InputError(f"{out} has no generated image to measure")
    every = made
    if count is not None and count < len(made):
        keys = [stable_hash(seed, "quality", name) for name in made["output"]]
        made = made.assign(key=keys).sort_values("key").head(count).drop(columns="key")
    outputs, conditions = made["output"].tolist(), kept_outputs(plan, made["condition"].tolist(), out)
    others = kept["output"].tolist() if crowd else []
    photos = list(dict.fromkeys([*others, *conditions]))  # a condition photo is one of the crowd: read once
    place = {path: row for row, path in enumerate(photos)}
    generated, real_images = (load_images(out, paths, size).transpose(0, 2, 3, 1) for paths in (outputs, photos))
    real = _poses(keypoints, kept["output"].tolist(), kept["pid"].to_numpy(np.int64))
    before = real if original is None else _original_poses(original)
    new = _poses(keypoints, every["output"].tolist(), every["pid"].to_numpy(np.int64))
    return Material(
        generated=generated,
        conditions=real_images[[place[path] for path in conditions]],
        crowd=real_images[: len(others)],
        poses=_scaled(out, outputs, keypoints, size),
        condition_poses=_scaled(out, conditions, keypoints, size),
        poses_before=before[0],
        pids_before=before[1],
        poses_after=np.concatenate([real[0], new[0]]),
        pids_after=np.concatenate([real[1], new[1]]),
    )


class Making(Protocol):
    """Who makes the images of pairs: this process, if nobody else."""

    def __call__(self, batches: Iterator[tuple[int, PairBatch]]) -> Iterator[tuple[int, Images, str]]:
        """Each batch as it is done, in any order: its number, uint8 RGB `[B, H, W, 3]`, a note for the progress bar.

        Args:
            batches: each with the number of its first pair; to be asked for as they are needed.
        """
        ...


def pairs_material(
    generator: PoseGenerator, known: KnownPairs, count: int, precision: str = "float32", making: Making | None = None
) -> Material:
    """A generator's images of `count` test pairs, beside the real images in those poses.

    Args:
        generator: of the pairs' size, on their device.
        known: the pairs.
        count: how many.
        precision: of the generator, `float32` or `bf16`.
        making: who makes such a generator's images; None: this process.
    """
    rows: dict[int, dict[str, Any]] = {}

    def batches() -> Iterator[tuple[int, PairBatch]]:
        for first in range(0, count, _BATCH):
            batch = known.pairs.sample(first // _BATCH, min(_BATCH, count - first))
            rows[first] = _known_of(batch)
            yield first, batch

    with progress("Generating", count, "pairs") as bar:
        for first, made, note in (making or _Here(generator, precision))(batches()):
            rows[first]["generated"] = made
            bar.advance(len(made), note)
    joined = {name: np.concatenate([rows[first][name] for first in sorted(rows)]) for name in rows[0]}
    fed = (joined.pop("condition_rows"), joined.pop("target_rows"))
    photos = known.images.transpose(0, 2, 3, 1)
    gallery = Gallery(photos, known.pids, known.camids, *fed, training=known.training)
    return Material(crowd=joined["real"], gallery=gallery, **joined)


def _known_of(batch: PairBatch) -> dict[str, Any]:
    row = {
        "conditions": to_pictures(batch.image),
        "real": to_pictures(batch.target_image),
        "poses": batch.target_keypoints.cpu().numpy(),
        "condition_poses": batch.condition_keypoints.cpu().numpy(),
        **cast("dict[str, list[int]]", batch.fed),
    }
    if batch.target_mask is not None:
        row["people"] = batch.target_mask[:, 0].cpu().numpy()
    return row


class _Here:
    """This process."""

    def __init__(self, generator: PoseGenerator, precision: str) -> None:
        self.generator, self.precision = generator, precision

    def __call__(self, batches: Iterator[tuple[int, PairBatch]]) -> Iterator[tuple[int, Images, str]]:
        for first, batch in batches:
            yield first, made_of(self.generator, batch, first, self.precision), ""


def made_of(generator: PoseGenerator, batch: PairBatch, first: int, precision: str) -> Images:
    """The generated images of a batch on the generator's device, uint8 RGB `[B, H, W, 3]`.

    Args:
        generator: of the batch's size.
        batch: the pairs.
        first: number of its first pair, for seeds.
        precision: `float32` or `bf16`.
    """
    from augment.quality.errors import transfer

    with torch.autocast(generator.device.type, torch.bfloat16, enabled=precision == "bf16"):
        return to_pictures(transfer(generator, batch, first))


def generated_pairs(
    weights: str,
    data: Path | None,
    count: int,
    name: str,
    say: Say,
    precision: str = "float32",
    world: int = NEWEST,
    spread: Callable[[PoseGenerator], Making] | None = None,
) -> tuple[Material, dict[str, Any]]:
    """A generator's images of test pairs, and facts about them.

    Args:
        weights: the generator.
        data: pairs of its test split; None is synthetic people in a world that no shipped weights were trained in.
        count: pairs.
        name: of the device.
        say: told where the pairs come from.
        precision: of the generator, `float32` or `bf16`.
        world: version of how synthetic people are drawn.
        spread: says of the generator who makes its images; None: this process.
    """
    from augment.generators.open import generator_sha256, open_generator
    from augment.quality.known import UNSEEN, known_pairs

    device = resolve_device(name)
    generator = open_generator(weights, device)
    known = known_pairs(generator.size, data, device, say, count, world)
    making = None if spread is None else spread(generator)
    material = pairs_material(generator, known, count, check_precision(precision), making)
    drawn = {"data": "unseen synthetic people", "seed": UNSEEN.seed, "world": world}
    facts = {"weights": generator.name, "weights_sha256": generator_sha256(generator), "precision": precision}
    return material, {**facts, **({"data": data.name} if data else drawn)}


def draw_pose_space(material: Material, target: Path) -> None:
    """PNG of which poses identities have before and after, for the material of a folder."""
    from augment.quality.coverage import save_pose_space

    m = material
    assert m.poses_before is not None
    assert m.pids_before is not None
    assert m.poses_after is not None
    assert m.pids_after is not None
    save_pose_space((m.poses_before, m.pids_before), (m.poses_after, m.pids_after), target)


def _scaled(root: Path, paths: list[str], keypoints: Keypoints, size: tuple[int, int]) -> NDArray[np.float32]:
    rows = own_rows(keypoints, paths, root)
    known = [(path, keypoints.xy[row]) for path, row in zip(paths, rows, strict=True)]
    return np.stack([scale_joints(xy, image_size(root / path), size) for path, xy in known])


def _poses(
    keypoints: Keypoints, paths: list[str], pids: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Usable poses of people (pid above 0) among images, and their pids."""
    rows = keypoints.rows(paths)
    good = (rows >= 0) & (pids > 0)
    xy, pids = keypoints.xy[rows[good]], pids[good]
    fine = usable(xy)
    return xy[fine], pids[fine]


def _original_poses(root: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    train = read_dataset(root).train
    return _poses(load_annotations(root), train["path"].tolist(), train["pid"].to_numpy(np.int64))
