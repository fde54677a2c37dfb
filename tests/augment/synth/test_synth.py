"""Synthetic pedestrians: seeds, batches, geometry against brute force, joints, the data set on disk, the stream."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import hashes
from PIL import Image

from augment.pairs.stream import StreamPairs
from augment.pose.keypoints import load_annotations
from augment.synth.dataset import FACTS, SynthSettings, embedded_dataset, plan_shots, write_dataset
from augment.synth.dataset import _draw_all as draw_all
from augment.synth.draws import Draws, hashed_uniforms
from augment.synth.pedestrians import PedestrianRenderer, Rendered
from augment.synth.raster import make_solids, rasterise
from augment.synth.stream import STREAM_FIRST_PID, PedestrianStream, StreamSettings
from reid_eval.datasets import check_images, read_dataset
from reid_eval.runtime import InputError

RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_HIP, LEFT_HIP = 2, 5, 8, 11


@pytest.fixture(scope="module")
def renderer() -> PedestrianRenderer:
    return PedestrianRenderer(seed=7, cameras=6)


def _rows(count: int) -> tuple[torch.Tensor, ...]:
    index = torch.arange(count)
    return index + 1, index % 6 + 1, index % 2, index % 5


@pytest.fixture(scope="module")
def drawn(renderer: PedestrianRenderer) -> Rendered:
    return renderer.render(*_rows(96))


def _equal(a: Rendered, b: Rendered) -> bool:
    return all(
        torch.equal(torch.nan_to_num(x.float(), -9.0), torch.nan_to_num(y.float(), -9.0))
        for x, y in zip(a, b, strict=True)
    )


def test_the_same_seed_gives_the_same_bytes(drawn: Rendered) -> None:
    again = PedestrianRenderer(seed=7, cameras=6).render(*_rows(96))
    assert _equal(drawn, again)


def test_another_seed_gives_other_people(drawn: Rendered) -> None:
    other = PedestrianRenderer(seed=8, cameras=6).render(*_rows(96))
    assert (other.image != drawn.image).flatten(1).any(1).all()


def test_an_image_does_not_depend_on_its_batch(renderer: PedestrianRenderer, drawn: Rendered) -> None:
    rows = [40, 3, 77, 12, 95]
    picked = renderer.render(*(column[rows] for column in _rows(96)))
    assert _equal(picked, Rendered(*(tensor[rows] for tensor in drawn)))
    small = PedestrianRenderer(seed=7, cameras=6, chunk=3).render(*(column[:10] for column in _rows(96)))
    assert _equal(small, Rendered(*(tensor[:10] for tensor in drawn)))


def test_a_camera_is_the_same_whatever_the_number_of_cameras(drawn: Rendered) -> None:
    rows = [i for i in range(96) if i % 6 + 1 <= 2][:8]
    few = PedestrianRenderer(seed=7, cameras=2).render(*(column[rows] for column in _rows(96)))
    assert torch.equal(few.image, drawn.image[rows])


def test_the_person_fills_a_plausible_share_of_the_box(drawn: Rendered) -> None:
    share = drawn.mask.float().mean((1, 2))
    assert drawn.image.shape == (96, 3, 128, 64)
    assert drawn.image.dtype == torch.uint8
    assert float(share.min()) > 0.08
    assert float(share.max()) < 0.70
    assert 0.18 < float(share.mean()) < 0.45


def test_joints_lie_on_the_person(drawn: Rendered) -> None:
    """Shoulders and hips project into the mask (grown by two pixels: joints sit inside, boxes round them)."""
    grown = torch.nn.functional.max_pool2d(drawn.mask[:, None].float(), 5, 1, 2)[:, 0] > 0
    joints = drawn.true_keypoints[:, [RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_HIP, LEFT_HIP]]
    seen = ~joints[..., 0].isnan()
    x, y = (joints.nan_to_num(0)[..., axis].round().long() for axis in (0, 1))
    inside = grown[torch.arange(96)[:, None], y, x]
    assert float(inside[seen].float().mean()) > 0.93  # the rest stands behind an occluder


def test_joints_stay_inside_and_some_are_missing_as_an_estimator_misses_them(drawn: Rendered) -> None:
    xy = drawn.keypoints
    missing = xy[..., 0].isnan()
    assert torch.equal(missing, xy[..., 1].isnan())
    assert float(xy[..., 0][~missing].min()) >= 0
    assert float(xy[..., 0][~missing].max()) <= 63
    assert float(xy[..., 1][~missing].max()) <= 127
    assert 0.05 < float(missing.float().mean()) < 0.35
    assert float(missing[:, 0].float().mean()) > 0.1  # noses are not seen from behind
    usable = ~missing[:, [RIGHT_SHOULDER, LEFT_SHOULDER, RIGHT_HIP, LEFT_HIP]].any(1)
    assert float(usable.float().mean()) > 0.75


def test_right_is_right(drawn: Rendered) -> None:
    """Whoever shows a nose between visible eyes faces the camera: the right shoulder is on the image's left."""
    xy = drawn.keypoints
    frontal = ~xy[:, [0, 14, 15, 16, 17], 0].isnan().any(1)
    shoulders = xy[frontal][:, [RIGHT_SHOULDER, LEFT_SHOULDER], 0]
    assert int(frontal.sum()) >= 5
    assert float((shoulders[:, 0] < shoulders[:, 1]).float().mean()) > 0.9


def test_views_come_from_all_sides(drawn: Rendered) -> None:
    signed = (drawn.true_keypoints[:, LEFT_SHOULDER] - drawn.true_keypoints[:, RIGHT_SHOULDER])[:, 0]
    signed = signed[~signed.isnan()]
    assert float((signed > 5).float().mean()) > 0.2  # front
    assert float((signed < -5).float().mean()) > 0.2  # back
    assert float((signed.abs() <= 5).float().mean()) > 0.1  # side


def test_backgrounds_are_not_flat(drawn: Rendered) -> None:
    gray = drawn.image.float().mean(1)
    spread = torch.stack([g[~m].std() for g, m in zip(gray, drawn.mask, strict=True)])
    assert float(spread.min()) > 2.0
    assert float(spread.median()) > 8.0


def test_other_sizes(renderer: PedestrianRenderer) -> None:
    big = PedestrianRenderer(seed=7, size=(256, 176), cameras=1).render(*(c[:2] for c in _rows(2)))
    assert big.image.shape == (2, 3, 256, 176)
    assert bool(big.mask.flatten(1).any(1).all())


# --- rasteriser against brute force -----------------------------------------------------------------------------


def _brute_force(a: np.ndarray, b: np.ndarray, ra: float, rb: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Depth of a sphere swept from a to b, by trying a thousand spheres; -inf where none is."""
    depth = np.full((len(y), len(x)), -np.inf)
    for t in np.linspace(0, 1, 1001):
        centre, radius = a + t * (b - a), ra + t * (rb - ra)
        gap = radius**2 - (x[None, :] - centre[0]) ** 2 - (y[:, None] - centre[1]) ** 2
        with np.errstate(invalid="ignore"):
            depth = np.fmax(depth, np.where(gap > 0, centre[2] + np.sqrt(gap), -np.inf))
    return depth


@pytest.mark.parametrize(
    ("a", "b", "ra", "rb", "exact"),
    [
        ((-0.3, 0.1, 0.2), (0.4, -0.2, 0.2), 0.15, 0.15, True),
        ((0.0, -0.5, 0.0), (0.0, 0.5, 0.0), 0.19, 0.19, True),
        ((-0.3, 0.3, 0.0), (0.3, -0.3, 0.1), 0.12, 0.15, False),
        ((0.0, 0.1, -0.2), (0.35, 0.0, 0.2), 0.2, 0.1, False),
    ],
)
def test_one_capsule_against_brute_force(a: tuple, b: tuple, ra: float, rb: float, exact: bool) -> None:
    """Exact where the axis lies across the view and the radius is constant; else the silhouette is, to a pixel."""
    x, y = np.linspace(-1, 1, 81), np.linspace(1, -1, 91)
    one = lambda v: torch.tensor(v, dtype=torch.float32).view(1, 1, -1)  # noqa: E731
    number = lambda v: torch.full((1, 1), v)  # noqa: E731
    solids = make_solids(
        one(a),
        one(b),
        number(ra),
        number(rb),
        one((1.0, 0.2, 0.3)),
        number(1.0),
        number(2.0),
        number(0.0),
        (False,),
        (0,),
    )
    hits = rasterise(solids, torch.tensor(x).float().view(1, 1, -1), torch.tensor(y).float().view(1, -1, 1))
    truth = _brute_force(np.array(a), np.array(b), ra, rb, x, y)
    mask, expected = hits.mask[0].numpy(), np.isfinite(truth)
    assert (mask != expected).mean() < (0.004 if exact else 0.012)
    error = np.abs(hits.depth[0].numpy() - truth)[mask & expected]
    if exact:  # but for the rim, where depth falls off vertically
        assert np.quantile(error, 0.97) < 5e-3
    else:  # an axis that leans towards the camera: the nearest sphere is not quite the foremost
        assert np.median(error) < 0.06


def test_an_open_end_is_cut_and_absent_parts_are_not_drawn() -> None:
    x, y = torch.linspace(-1, 1, 41).view(1, 1, -1), torch.linspace(1, -1, 61).view(1, -1, 1)
    ends = torch.tensor([[[0.0, 0.4, 0.0], [0.0, 0.0, 0.5]]]), torch.tensor([[[0.0, -0.4, 0.0], [0.1, 0.0, 0.5]]])
    radii = torch.tensor([[0.3, 0.0]])
    left = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    ones, zeros = torch.ones(1, 2), torch.zeros(1, 2)
    closed, cut = (
        rasterise(make_solids(*ends, radii, radii, left, ones, 2 * ones, zeros, (False, False), (c, 0)), x, y)
        for c in (0, 1)
    )
    below = (y < -0.41).expand(1, 61, 41)
    assert bool(closed.mask[below].any())
    assert not bool(cut.mask[below].any())
    assert torch.equal(closed.mask[~below], cut.mask[~below])
    assert not bool((closed.part == 1)[closed.mask].any())


# --- draws ----------------------------------------------------------------------------------------------------


def test_a_million_identities_are_different() -> None:
    pids = torch.arange(1, 1_000_001)
    pairs = (hashed_uniforms(3, "identity", (pids,), 2) * (1 << 24)).to(torch.int64)
    assert len(torch.unique(pairs[:, 0] * (1 << 24) + pairs[:, 1])) == len(pids)


def test_draws_are_uniform_and_independent_of_the_batch() -> None:
    keys = torch.arange(20_000)
    draws = Draws(1, "test", keys, count=8)
    first, second = draws.unit(), draws.unit()
    assert abs(float(first.mean()) - 0.5) < 0.01
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.03
    assert float(Draws(1, "test", keys[77:78], count=8).unit()) == float(first[77])
    assert abs(float(Draws(2, "bell", keys, count=8).bell(3.0, 2.0).std()) - 2.0) < 0.05
    counts = torch.bincount(Draws(4, "choice", keys, count=2).choice([1.0, 3.0]))
    assert abs(counts[1] / len(keys) - 0.75) < 0.02


# --- the data set ----------------------------------------------------------------------------------------------

SMALL = SynthSettings(train_ids=3, test_ids=2, images_per_id=6, cameras=3, seed=5, masks=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("synth") / "world", SMALL)


def test_the_data_set_reads_as_market(folder: Path) -> None:
    data = read_dataset(folder)
    assert data.layout == "market1501"
    assert sorted(data.train["pid"].unique()) == [1, 2, 3]
    assert data.train.groupby("pid").size().tolist() == [6, 6, 6]
    assert len(data.query) + len(data.gallery) == 12
    for query in data.query.itertuples():
        others = data.gallery[(data.gallery["pid"] == query.pid) & (data.gallery["camid"] != query.camid)]
        assert len(others), f"{query.path} has no match in another camera"
    assert check_images(data) == 30
    keypoints = load_annotations(folder, size=(128, 64))
    assert (keypoints.rows([*data.train["path"], *data.query["path"], *data.gallery["path"]]) >= 0).all()
    masks = sorted(path.name for path in (folder / "masks").rglob("*.png"))
    assert len(masks) == 30


def test_the_data_set_has_the_same_bytes_again(folder: Path, tmp_path: Path) -> None:
    assert hashes(write_dataset(tmp_path / "again", SMALL)) == hashes(folder)


def test_the_masks_cover_the_person(folder: Path) -> None:
    path = sorted((folder / "masks" / "bounding_box_train").glob("*.png"))[0]
    mask = np.asarray(Image.open(path))
    assert set(np.unique(mask)) == {0, 255}
    assert mask.shape == (128, 64)


def test_facts_are_written(folder: Path) -> None:
    facts = json.loads((folder / FACTS).read_text())
    assert (facts["train_ids"], facts["seed"], facts["size"]) == (3, 5, [128, 64])


def test_a_folder_with_something_in_it_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="is not empty: name a new folder"):
        write_dataset(folder, SMALL)


def test_settings_that_give_no_data_set_are_refused() -> None:
    with pytest.raises(InputError, match="cameras is 0, must be at least 1"):
        SynthSettings(cameras=0).check()
    with pytest.raises(InputError, match="two cameras and four images"):
        SynthSettings(cameras=1).check()
    with pytest.raises(InputError, match="below a million"):
        SynthSettings(train_ids=999_999, test_ids=1).check()


def test_names_are_unique() -> None:
    shots = plan_shots(SynthSettings(train_ids=20, test_ids=10, images_per_id=40))
    assert len({(shot.split, shot.name) for shot in shots}) == len(shots) == 1200


def test_the_embedded_data_set_is_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path))
    settings = SynthSettings(train_ids=1, test_ids=1, images_per_id=4, cameras=2)
    path, ready = embedded_dataset(settings)
    assert not ready
    assert embedded_dataset(settings) == (path, True)
    (path / FACTS).write_text("{}")  # another version's
    assert embedded_dataset(settings) == (path, False)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "neither locks nor parts are left"


def test_two_first_runs_at_once_draw_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATN_AUGMENT_CACHE", str(tmp_path))
    drawn = []

    def slowly(*arguments: Any) -> None:
        drawn.append(arguments)
        time.sleep(0.2)
        draw_all(*arguments)

    monkeypatch.setattr("augment.synth.dataset._draw_all", slowly)
    settings = SynthSettings(train_ids=1, test_ids=1, images_per_id=4, cameras=2)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: embedded_dataset(settings), range(2)))
    assert len(drawn) == 1
    (path,) = tmp_path.iterdir()
    assert sorted(answers) == [(path, False), (path, True)]
    assert len(read_dataset(path).train) == 4


def test_two_runs_into_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*arguments: Any) -> None:
        time.sleep(0.2)
        draw_all(*arguments)

    def write(_: int) -> str:
        try:
            return write_dataset(tmp_path / "set", SynthSettings(1, 1, 4, 2)).name
        except InputError as error:
            return str(error)

    monkeypatch.setattr("augment.synth.dataset._draw_all", slowly)
    with ThreadPoolExecutor(2) as pool:
        first, second = sorted(pool.map(write, range(2)))
    assert "set is not empty: name a new folder" in first
    assert second == "set"


_KILLED_RUN = """
import sys, time
import augment.synth.dataset as dataset

dataset._draw_all = lambda *_: print("draws", flush=True) or time.sleep(60)
dataset.write_dataset(sys.argv[1], dataset.SynthSettings())
"""


def test_a_killed_run_leaves_a_part_that_the_next_one_sweeps(tmp_path: Path) -> None:
    out = tmp_path / "set"
    run = subprocess.Popen([sys.executable, "-c", _KILLED_RUN, str(out)], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "draws\n"
    run.kill()
    run.wait()
    assert [entry.name for entry in tmp_path.glob(".part-*")] == [".part-set"]
    write_dataset(out, SynthSettings(train_ids=1, test_ids=1, images_per_id=4, cameras=2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_an_error_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("augment.synth.dataset._draw_all", fail)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", SynthSettings())
    assert list(tmp_path.glob(".part-*")) == []
    assert not (tmp_path / "set").exists()


# --- the stream -------------------------------------------------------------------------------------------------


def test_the_stream_is_a_function_of_the_step() -> None:
    settings = StreamSettings(seed=1, identities=4, images_per_id=4, cameras=3)
    pairs = StreamPairs(settings, steps_per_generation=2)
    batches = [pairs.sample(step, 3) for step in range(5)]
    again = StreamPairs(settings, steps_per_generation=2).sample(3, 3)
    assert torch.equal(batches[3].image, again.image)
    assert torch.equal(batches[3].target_image, again.target_image)
    assert not torch.equal(batches[0].image, batches[2].image)
    assert batches[0].target_mask is not None
    assert batches[0].target_mask.shape == (3, 1, 128, 64)
    assert float(batches[0].image.min()) >= -1
    assert float(batches[0].image.max()) <= 1


def test_generations_of_the_stream_are_new_people_outside_of_data_sets() -> None:
    stream = PedestrianStream(StreamSettings(identities=5, images_per_id=3, cameras=4))
    first, second = (set(stream.schedule(g)[0].tolist()) for g in (0, 1))
    assert not first & second
    assert min(first) >= STREAM_FIRST_PID
    _, camids, _, _ = stream.schedule(0)
    assert int(camids.min()) >= 1
    assert int(camids.max()) <= 4


def test_rendering_leaves_the_number_of_threads_alone() -> None:
    """Otherwise a training that draws its own data would run on one core."""
    code = (
        "import threading, torch\n"
        "torch.set_num_threads(2)\n"
        "from augment.synth.pedestrians import PedestrianRenderer\n"
        "one = torch.ones(1, dtype=torch.int64)\n"
        "PedestrianRenderer(cameras=1).render(one, one, one, one)\n"
        "found = [torch.get_num_threads()]\n"
        "thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))\n"
        "thread.start(); thread.join()\n"
        "assert found == [2, 2], found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
