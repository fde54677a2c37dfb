"""Where the generated images of `AugmentedDataset` come from: an augmented folder, or a generator on the fly."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from augment.folder.manifest import read_manifest
from augment.generators.transfer import PoseTransfer
from augment.pose.keypoints import Keypoints
from augment.pose.library import frame_of
from reid_eval.datasets import read_dataset
from reid_eval.datasets.images import decode_image, read_image
from reid_eval.runtime import InputError, first_five


class Drawn(NamedTuple):
    """A generated image, and what of its item changes with it; None for what stays."""

    image: Image.Image
    camid: Any = None
    path: str | None = None


class ImageSource(Protocol):
    """Where generated images come from."""

    def draw(self, index: int, pid: Any, camid: Any, number: int) -> Drawn | None:
        """A generated image for an item.

        Args:
            index: of the item.
            pid: its label in the wrapped set.
            camid: its camera in the wrapped set, None if it has none.
            number: random bits, the same whenever (seed, epoch, index) are: the only source of chance.

        Returns:
            None where there is no generated image of this person.
        """
        ...


class GeneratedFolder:
    """The generated images of an augmented folder, by person."""

    def __init__(
        self,
        root: Path | str,
        label: Callable[[int], Any] | None = None,
        camera: Callable[[int], Any] | None = None,
    ) -> None:
        """Read the folder's names; `label` and `camera` as for `AugmentedDataset`.

        Raises:
            InputError: it cannot be read, or holds no generated image.
        """
        data = read_dataset(root)
        self.root = data.root
        table = data.train
        made = table[table["source"] == "generated"].reset_index(drop=True)
        if not len(made):
            raise InputError(f"{root}: no generated image in its training split; make it with `patn-augment generate`")
        cameras = table["camid"].tolist() if data.has_cameras else []
        self._known = _Known(table["pid"].tolist(), cameras, made["pid"].tolist(), label, camera)
        self._paths: list[str] = made["path"].tolist()
        self._camids: list[int] = made["camid"].tolist()

    def draw(self, index: int, pid: Any, camid: Any, number: int) -> Drawn | None:
        """One of the person's generated images, with the camera of the photo it was made from.

        Raises:
            InputError: the folder knows no such person or camera, or an image cannot be read.
        """
        row = self._known.row(self.root, index, pid, number)
        if row is None:
            return None
        taken = self._known.camera(self.root, index, camid, self._camids[row])
        path = self.root / self._paths[row]
        return Drawn(_read(path), taken, str(path))


class GeneratedTars:
    """The generated images of a folder of tars, by person; each is read from the middle of its tar."""

    def __init__(
        self,
        root: Path | str,
        label: Callable[[int], Any] | None = None,
        camera: Callable[[int], Any] | None = None,
    ) -> None:
        """Read the plan; `label` and `camera` as for `AugmentedDataset`.

        Raises:
            InputError: it cannot be read, or holds no generated image.
        """
        from augment.folder.plan_parquet import TAR_PLAN, read_tar_plan
        from augment.folder.tar_shards import is_tar_name

        self.root = Path(root)
        table = read_tar_plan(self.root / TAR_PLAN)
        table = table[table["action"] != "drop"]
        if wrong := [name for name in table["shard"].unique().tolist() if not is_tar_name(name)]:
            raise InputError(f"{self.root / TAR_PLAN}: {wrong[0][:80]!r} is not the name of a tar in the folder")
        made = table[table["action"] == "generate"].sort_values("output", ignore_index=True)  # as a folder lists them
        if not len(made):
            raise InputError(f"{root}: no generated image in its training split; make it with `patn-augment generate`")
        cameras = table["camid"].tolist() if read_manifest(self.root).job.layout != "folders" else []
        self._known = _Known(table["pid"].tolist(), cameras, made["pid"].tolist(), label, camera)
        self._camids = made["camid"].tolist()
        self._places = [made[name].tolist() for name in ("shard", "offset", "size", "output")]

    def draw(self, index: int, pid: Any, camid: Any, number: int) -> Drawn | None:
        """One of the person's generated images, with the camera of the photo it was made from.

        Raises:
            InputError: the folder knows no such person or camera, or an image cannot be read.
        """
        from augment.folder.tar_shards import read_picture

        row = self._known.row(self.root, index, pid, number)
        if row is None:
            return None
        taken = self._known.camera(self.root, index, camid, self._camids[row])
        shard, offset, size, name = (column[row] for column in self._places)
        path = self.root / shard
        pixels = decode_image(read_picture(path, offset, size), f"{path}: {name}")
        return Drawn(Image.fromarray(pixels), taken, f"{path}/{name}")


class _Known:
    """People and cameras of a folder, under the names of the wrapped set."""

    def __init__(
        self,
        pids: Sequence[int],
        camids: Sequence[int],
        made: Sequence[int],
        label: Callable[[int], Any] | None,
        camera: Callable[[int], Any] | None,
    ) -> None:
        # people and cameras of real images, too: who has no generated image stays real, who is unknown is an error
        rename = label or _same
        self.pids: dict[Hashable, list[int]] = {rename(pid): [] for pid in sorted(set(pids))}
        for row, pid in enumerate(made):
            self.pids[rename(pid)].append(row)
        there = sorted(set(camids))
        self.cameras = {camid: (camera or _same)(camid) for camid in there} if there else None

    def row(self, root: Path, index: int, pid: Any, number: int) -> int | None:
        """A generated image of a person, None without one."""
        rows = self.pids.get(pid)
        if rows is None:
            known = first_five(list(self.pids))
            raise InputError(f"item {index} has pid {pid!r}, {root} has {known}: give label, from its pids to yours")
        return rows[number % len(rows)] if rows else None

    def camera(self, root: Path, index: int, camid: Any, own: int) -> Any:
        """A camera of the folder, as the wrapped set calls it; None where that has none."""
        if camid is None or self.cameras is None:
            return None
        if camid not in self.cameras.values():
            known = first_five(list(self.cameras.values()))
            raise InputError(f"item {index} has camid {camid!r}, {root} has {known}: give camera, likewise")
        return self.cameras[own]


def open_images(
    root: Path | str, label: Callable[[int], Any] | None = None, camera: Callable[[int], Any] | None = None
) -> ImageSource:
    """The generated images of a folder, plain or of tars; `label` and `camera` as for `AugmentedDataset`.

    Raises:
        InputError: it cannot be read, or holds no generated image.
    """
    from augment.folder.plan_parquet import TAR_PLAN

    kind = GeneratedTars if (Path(root) / TAR_PLAN).is_file() else GeneratedFolder
    return kind(root, label, camera)


class MadeOnTheFly:
    """Redraws an item's own photo in a pose of a pool."""

    def __init__(
        self,
        transfer: PoseTransfer,
        keypoints: Keypoints,
        photos: Sequence[Path | str],
        poses: Keypoints | None = None,
        pose_size: tuple[int, int] | None = None,
    ) -> None:
        """Match photos and joints; arguments as for `AugmentedDataset.on_the_fly`.

        Raises:
            InputError: no photo or no pose is usable.
        """
        self.transfer, self.pose_size = transfer, pose_size
        self.photos = [Path(photo) for photo in photos]
        self.keypoints, self.poses = keypoints, keypoints if poses is None else poses
        self._rows = keypoints.rows([PurePath(photo).as_posix() for photo in photos])
        self._pool = np.flatnonzero(self.poses.usable)
        if not ((self._rows >= 0) & np.append(keypoints.usable, False)[self._rows]).any():
            raise InputError(f"none of {len(photos)} photos has joints with both shoulders and both hips in keypoints")
        if not len(self._pool):
            raise InputError(f"none of the {len(self.poses)} poses to take has both shoulders and both hips")

    def draw(self, index: int, pid: Any, camid: Any, number: int) -> Drawn | None:  # noqa: ARG002
        """The item's photo in another pose than its own; None if its joints will not do.

        Raises:
            InputError: the photo cannot be read, or the generator fails.
        """
        row = int(self._rows[index])
        if row < 0 or not self.keypoints.usable[row]:
            return None
        place = number % len(self._pool)
        if self.poses is self.keypoints and self._pool[place] == row:
            place = (place + 1) % len(self._pool)
        pose = int(self._pool[place])
        made = self.transfer(
            _read(self.photos[index]),
            self.keypoints.xy[row],
            self.poses.xy[pose],
            target_size=frame_of(self.poses.names[pose]) or self.pose_size,
            seed=number,
        )
        return Drawn(made)


def _same(number: int) -> int:
    return number


def _read(path: Path) -> Image.Image:
    return Image.fromarray(read_image(path))
