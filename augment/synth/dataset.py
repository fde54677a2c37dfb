"""Writes synthetic people as a data set in the Market-1501 layout, with keypoints and, if asked for, masks."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from PIL import Image

from augment.pose.keypoints import Keypoints, write_keypoints
from augment.runs import Say, cache_dir, cache_errors
from augment.synth.draws import hashed_uniforms
from augment.synth.pedestrians import PedestrianRenderer, Rendered
from augment.synth.world import NEWEST, WORLDS
from reid_eval.foreign import read_json, reason_of
from reid_eval.limits import LARGEST_INTEGER, MOST_SIDE
from reid_eval.runtime import InputError, progress, write_json
from reid_eval.writing import disk_errors

FACTS = "synth.json"
_VERSION = "renderer"  # the key of the world's version in synth.json
_BATCH = 64
_FILE_QUALITY = 95


@dataclass(frozen=True)
class SynthSettings:
    """What `patn-augment synth` draws. Identities 1 ... train_ids train, the next test_ids test.

    `world` is the version of how everything is drawn (`augment.synth.world`): another gives other pictures of the same
    people in the same poses. `images_per_id` images of a person are dealt to its cameras in turn; the first of each
    camera of a test identity is a query, the rest are gallery.
    """

    train_ids: int = 32
    test_ids: int = 16
    images_per_id: int = 12
    cameras: int = 6
    seed: int = 0
    size: tuple[int, int] = (128, 64)
    masks: bool = False
    world: int = NEWEST

    def check(self) -> None:
        """Raise InputError for numbers that give no usable data set."""
        wrong = [
            f"{name} is {value}, must be at least {low}"
            for name, value, low in (
                ("train_ids", self.train_ids, 1),
                ("test_ids", self.test_ids, 1),
                ("images_per_id", self.images_per_id, 2),
                ("cameras", self.cameras, 1),
            )
            if value < low
        ]
        wrong += [
            f"{name} is {value}, must be at most {most}"
            for name, value, most in (
                ("images_per_id", self.images_per_id, 1000),
                ("cameras", self.cameras, 10_000),
                ("seed", abs(self.seed), LARGEST_INTEGER),
                ("size", max(self.size), MOST_SIDE),
            )
            if value > most
        ]
        if self.train_ids + self.test_ids >= 1_000_000:
            wrong.append("train_ids and test_ids together must stay below a million")
        if min(self.size) < 1:
            wrong.append(f"size is {self.size[0]}x{self.size[1]}, height and width must be above 0")
        if min(self.cameras, self.images_per_id // 2) < 2:
            wrong.append("test identities need two cameras and four images, or no query has a match")
        if self.world not in WORLDS:
            wrong.append(f"world is {self.world}, must be one of {', '.join(map(str, WORLDS))}")
        if wrong:
            raise InputError("; ".join(wrong))


@dataclass(frozen=True)
class Shot:
    """One image to draw."""

    name: str
    split: str
    pid: int
    camid: int
    seq: int
    frame: int


def plan_shots(settings: SynthSettings) -> list[Shot]:
    """Which images the data set has: name, split and the four numbers that determine the picture."""
    sequels = _sequels(settings, range(1, settings.train_ids + settings.test_ids + 1))
    shots = [sequel.shot(rank) for sequel in sequels for rank in range(settings.images_per_id)]
    return sorted(shots, key=lambda shot: (shot.split, shot.name))


def further_shots(settings: SynthSettings, wanted: Mapping[int, Sequence[int | None]]) -> list[Shot]:
    """Images of training people that the data set does not have: the moments that come after its own.

    Args:
        settings: of the data set.
        wanted: pid to a camid for each further image of it, one of those that see the person; None for the next in
            turn, as the data set deals images to them.

    Raises:
        InputError: a pid that does not train, or a camera that never sees its person.
    """
    shots = []
    for sequel in _sequels(settings, sorted(wanted)):
        if sequel.pid > settings.train_ids:
            raise InputError(f"identity {sequel.pid} does not train: it is tested on, or nobody")
        # From the first round of its cameras of which the data set has nothing yet
        first = -(-settings.images_per_id // len(sequel.camids)) * len(sequel.camids)
        turns = Counter[int]()
        for number, camid in enumerate(wanted[sequel.pid]):
            at = number % len(sequel.camids) if camid is None else sequel.place_of(camid)
            shots.append(sequel.shot(first + turns[at] * len(sequel.camids) + at))
            turns[at] += 1
    return sorted(shots, key=lambda shot: (shot.split, shot.name))


@dataclass(frozen=True)
class _Sequel:
    """When and where a person is seen, without end."""

    pid: int
    camids: tuple[int, ...]
    start: int
    trains: bool

    def shot(self, rank: int) -> Shot:
        """The image of a rank, from 0."""
        camid, turn = self.camids[rank % len(self.camids)], rank // len(self.camids)
        seq, frame = turn // 4, turn % 4 * 5  # four frames of a walk, then the person comes by again
        split = "bounding_box_train" if self.trains else "bounding_box_test"
        if not self.trains and turn == 0 and len(self.camids) > 1:
            split = "query"
        name = f"{self.pid:04d}_c{camid}s{seq + 1}_{self.start + 600 * turn + frame:06d}_00.jpg"
        return Shot(name, split, self.pid, camid, seq, frame)

    def place_of(self, camid: int) -> int:
        """Rank of a camera among those that see the person."""
        if camid not in self.camids:
            raise InputError(f"camera {camid} never sees identity {self.pid}")
        return self.camids.index(camid)


def _sequels(settings: SynthSettings, pids: Sequence[int]) -> list[_Sequel]:
    numbers = torch.tensor(list(pids), dtype=torch.int64)
    draws = hashed_uniforms(settings.seed, "dataset", (numbers,), settings.cameras + 2)
    seen_by = min(settings.cameras, max(settings.images_per_id // 2, 1))
    found = []
    for pid, row in zip(pids, draws, strict=True):
        order = torch.argsort(row[: settings.cameras])[:seen_by] + 1
        found.append(_Sequel(pid, tuple(order.tolist()), 50 + int(row[-1] * 900), pid <= settings.train_ids))
    return found


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of a uint8 `[3, H, W]` image."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def jpeg_qualities(renderer: PedestrianRenderer, drawn: Rendered) -> list[int]:
    """What each image's file is compressed with: all there is in world 1; later worlds have done it while drawing."""
    if renderer.world.recording:
        return [_FILE_QUALITY] * len(drawn.camids)
    return [int(quality) for quality in renderer.cameras.quality[drawn.camids - 1].tolist()]


def _save(
    root: Path, shots: list[Shot], drawn: Rendered, quality: list[int], masks: bool, pool: ThreadPoolExecutor
) -> None:
    images, cover = drawn.image.cpu().numpy(), drawn.mask.cpu().numpy()

    def save(i: int) -> None:
        path = root / shots[i].split / shots[i].name
        path.write_bytes(encode_jpeg(images[i], quality[i]))  # the folder is renamed into place as a whole
        if masks:
            target = root / "masks" / shots[i].split / (path.stem + ".png")
            Image.fromarray(cover[i].astype(np.uint8) * 255).save(target)

    list(pool.map(save, range(len(shots))))


def _draw_all(root: Path, settings: SynthSettings, device: torch.device | str) -> None:
    renderer = PedestrianRenderer(
        settings.seed, settings.size, cameras=settings.cameras, device=device, world=settings.world
    )
    shots = plan_shots(settings)
    for split in ("bounding_box_train", "bounding_box_test", "query"):
        (root / split).mkdir(parents=True)
        if settings.masks:
            (root / "masks" / split).mkdir(parents=True)
    joints = []
    with progress("Drawing pedestrians", len(shots)) as bar, ThreadPoolExecutor(4) as pool:
        for start in range(0, len(shots), _BATCH):
            batch = shots[start : start + _BATCH]
            columns = ([getattr(shot, key) for shot in batch] for key in ("pid", "camid", "seq", "frame"))
            drawn = renderer.render(*(torch.tensor(column) for column in columns))
            quality = jpeg_qualities(renderer, drawn)
            _save(root, batch, drawn, quality, settings.masks, pool)
            # One decimal is finer than any estimator and keeps the file readable.
            joints.append(np.round(drawn.keypoints.cpu().numpy(), 1))
            bar.advance(len(batch))
    xy = np.concatenate(joints)
    for split, wanted in (("train", ("bounding_box_train",)), ("test", ("query", "bounding_box_test"))):
        rows = [i for i, shot in enumerate(shots) if shot.split in wanted]
        table = Keypoints(tuple(shots[i].name for i in rows), xy[rows])
        write_keypoints(root / f"market-annotation-{split}.csv", table)


def facts(settings: SynthSettings) -> dict[str, object]:
    """What determines the data set, as written to its `synth.json`."""
    drawn = {**asdict(settings), "size": list(settings.size)}
    return {_VERSION: drawn.pop("world"), **drawn}


def read_settings(root: Path | str) -> SynthSettings:
    """What the data set in `root` was drawn with, from its `synth.json`.

    Raises:
        InputError: there is none, it is damaged, or another version of the renderer drew the data set.
    """
    path = Path(root) / FACTS
    try:
        found = read_json(path)
    except FileNotFoundError:
        raise InputError(f"{root} is no data set that was drawn: it has no {FACTS}", "root") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not readable as JSON ({reason_of(error)}): draw the data set again", "root"
        ) from error
    expected = facts(SynthSettings())
    if not isinstance(found, dict) or found.keys() != expected.keys():
        raise InputError(f"{path}: expected exactly the keys {', '.join(expected)}: draw the data set again", "root")
    world = found.pop(_VERSION)
    if type(world) is not int or world not in WORLDS:
        raise InputError(f"{root} was drawn by another version of the renderer: draw it again", "root")
    size, masks = found.pop("size"), found.pop("masks")
    whole = isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in [*size, *found.values()])
    if not whole or type(masks) is not bool or min(size) < 1:
        raise InputError(f"{path}: numbers must be whole, size two of them, masks true or false", "root")
    settings = SynthSettings(**found, size=(size[0], size[1]), masks=masks, world=world)
    settings.check()
    return settings


def write_dataset(out: Path | str, settings: SynthSettings, device: torch.device | str = "cpu") -> Path:
    """Draw a data set into the new folder `out`; it appears there only when it is complete.

    Raises:
        InputError: settings that give no usable data set, or `out` exists and is not empty.
    """
    settings.check()
    out = Path(out).resolve()
    _check_free(out)
    with disk_errors(out), _alone(out):
        _check_free(out)  # another process may have drawn it while we waited
        _draw_into(out, settings, device)
    return out


def embedded_path(settings: SynthSettings) -> Path:
    """Where `embedded_dataset` has, or will have, a data set."""
    digest = f"{settings.train_ids}-{settings.test_ids}-{settings.images_per_id}-{settings.cameras}-{settings.seed}"
    return cache_dir().resolve() / f"synthetic-v{settings.world}-{digest}"


def embedded_dataset(settings: SynthSettings | None = None, device: torch.device | str = "cpu") -> tuple[Path, bool]:
    """The data set that serves where the user names none: `(folder, was it there already)`, in the user's cache.

    Of several first commands at once one draws and the others wait for it.
    """
    settings = settings or SynthSettings()
    settings.check()
    path = embedded_path(settings)
    if _is_ready(path, settings):
        return path, True
    with cache_errors(path), _alone(path):
        if _is_ready(path, settings):
            return path, True
        shutil.rmtree(path, ignore_errors=True)
        _draw_into(path, settings, device)
    return path, False


def _check_free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty: name a new folder, or remove it first")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the lock of the folder `out`, beside it: only one process draws it at a time."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = out.parent / f".{out.name}.lock"
    with FileLock(lock):
        yield
        # Whoever still waits for it sees that the folder is complete. After an error the lock stays for the next run.
        with suppress(OSError):
            lock.unlink()


def _draw_into(out: Path, settings: SynthSettings, device: torch.device | str) -> None:
    """Draw into a folder beside `out` and rename it; whoever calls holds the lock."""
    work = out.parent / f".part-{out.name}"
    shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
    work.mkdir()
    try:
        _draw_all(work, settings, device)
        write_json(work / FACTS, facts(settings))
        if out.exists():
            out.rmdir()
        work.replace(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _is_ready(path: Path, settings: SynthSettings) -> bool:
    try:
        found = read_json(path / FACTS)
    except (OSError, ValueError):
        return False
    return bool(found == facts(settings))


def source_data(data: Path | None, say: Say) -> Path:
    """The data set to work on: the user's, or the embedded synthetic one, and say so."""
    if data is not None:
        return data
    say("No data set given: using the embedded synthetic data set (drawn pedestrians, nobody's photos).")
    path, ready = embedded_dataset()
    say(f"Data set: {path} ({'reused' if ready else 'drawn now'})")
    return path
