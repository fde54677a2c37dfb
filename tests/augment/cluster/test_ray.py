"""A plan on a Ray cluster: workers and drivers that are killed change no byte; errors come once and name the image."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from drawn import draw_dataset, hashes
from mortal import Slow
from toy import Toy

from augment.api import augment_folder, plan_folder, read_planned
from augment.cluster import ray_pool
from augment.cluster.ray_pool import Cluster
from augment.cluster.ray_rendering import RayRendering
from augment.commands.main import main
from augment.folder import render as rendering
from augment.generators.base import output_seed
from augment.generators.open import open_generator
from augment.generators.patn.engines import PLAIN
from augment.plan.file import write_plan
from reid_eval.runtime import InputError, RunError

ray = pytest.importorskip("ray")
FAR = 240.0
"""Seconds until a wait is given up: far more than it takes."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("people"), {2: 30, 7: 20}, {101: 4})


@pytest.fixture(scope="module")
def plan(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 200 images to make."""
    path = tmp_path_factory.mktemp("plan") / "plan.csv"
    write_plan(path, plan_folder(root, ratio=4.0, mode="add", seed=3).table)
    return path


@pytest.fixture(scope="module")
def whole(root: Path, plan: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one process makes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    augment_folder(read_planned(plan, root), out, Toy())
    return hashes(out)


def on_ray(spec: str, workers: int = 2) -> RayRendering:
    return RayRendering(Cluster(workers=workers), spec)


def test_a_worker_that_is_killed_in_the_middle(
    address: str, root: Path, plan: Path, whole: dict[str, str], tmp_path: Path, marks: Path
) -> None:
    generator = open_generator("mortal:dies_once", "cpu")
    manifest = augment_folder(
        read_planned(plan, root), tmp_path / "out", generator, rendering=on_ray("mortal:dies_once")
    )
    assert manifest is not None
    assert int((marks / "once").read_text()) > 0
    assert hashes(tmp_path / "out") == whole


def test_a_driver_that_is_killed_and_runs_of_other_kinds_that_go_on(
    address: str, root: Path, plan: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    """The driver is killed after a while; then another is stopped by Ctrl-C; a shard goes on, and a run on Ray ends."""
    out = tmp_path / "out"
    words = [sys.executable, "-m", "augment", "generate", root, "--plan", plan, "--out", out, "--resume"]
    words += ["--weights", "mortal:slow", "--ray", address, "--ray-workers", "2"]
    made = 0
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        # The workers of a killed driver end their pieces: what is made from here on is this one's.
        wait_for(lambda: ray.available_resources().get("CPU") == 2)
        made = generated(out)
        driver = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c)
        wait_for(lambda before=made, of=driver: generated(out) > before or of.poll() is not None)
        assert driver.poll() is None, driver.stderr and driver.stderr.read()
        driver.send_signal(number)
        told = driver.communicate(timeout=FAR)[1]
        assert driver.returncode == code, told
        assert "Traceback" not in told
        made = generated(out)
        assert 0 < made < 200
    wait_for(lambda: ray.available_resources().get("CPU") == 2)  # nobody is at work any more
    planned = read_planned(plan, root)
    assert augment_folder(planned, out, Slow(), resume=True, shard=(0, 4)) is None
    assert made < generated(out) < 200
    manifest = augment_folder(planned, out, Slow(), resume=True, rendering=on_ray("mortal:slow"))
    assert manifest is not None
    assert hashes(out) == whole


def hear_ctrl_c() -> None:
    """A shell has its background jobs ignore SIGINT, and so would the driver if these tests are one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def generated(out: Path) -> int:
    return len(list(out.glob("bounding_box_train/[!.]*_gen*.jpg")))


def wait_for(what: object) -> None:
    end = time.monotonic() + FAR
    while not what():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.1)


def test_an_image_that_a_generator_fails_at_is_named_once(
    root: Path, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's part, here: what it says, and that it says it of the image and not of its chunk."""
    from augment.cluster.ray_rendering import _render, build_worker, pieces
    from augment.folder.carry import PlainRendering, Work
    from augment.folder.generate import RenderSettings
    from augment.generators.open import generator_sha256

    generator = open_generator("mortal:dislikes_one", "cpu")
    planned = read_planned(plan, root)
    work = Work(planned.source, planned.table, generator, tmp_path, RenderSettings().on(generator), (0, 1))
    piece = next(iter(pieces(PlainRendering.chunks(work))))
    name = "/".join(piece[1][5].output.parts[-2:])
    monkeypatch.setenv("MORTAL_SEED", str(output_seed(name)))
    do = build_worker(
        _render, "mortal:dislikes_one", {"device": "cpu"}, PLAIN, generator_sha256(generator), work.settings
    )
    worker = ray_pool._Worker(lambda: do, ray_pool.package_versions())
    answer = worker.do(piece)
    assert answer.error == f"{name}: this one is not to my liking"
    assert not answer.of_input
    monkeypatch.setenv("MORTAL_SEED", "none")
    assert worker.do(piece).value == (56, 8)  # the chunk before it was written
    assert worker.do(piece).value == (0, 64)


def test_a_photo_that_cannot_be_read_stops_the_run_once(address: str, plan: Path, root: Path, tmp_path: Path) -> None:
    planned = read_planned(plan, root)
    photo = planned.table[planned.table["action"] == "generate"]["condition"].iloc[100]
    before = (root / photo).read_bytes()
    (root / photo).write_bytes(before[:40])
    try:
        with pytest.raises(InputError, match=f"{photo}: cannot read this image") as caught:
            augment_folder(planned, tmp_path / "out", Toy(), rendering=on_ray("mortal:toy"))
    finally:
        (root / photo).write_bytes(before)
    assert "\n" not in str(caught.value)


def test_an_image_that_kills_its_workers_stops_the_run(
    address: str, plan: Path, root: Path, tmp_path: Path, marks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_pool, "MOST_RETRIES", 0)
    monkeypatch.setattr(ray_pool, "MOST_RESTARTS", 0)
    (marks / "once").write_text("")
    with pytest.raises(RunError, match=r"workers died again and again over|no worker is left"):
        augment_folder(read_planned(plan, root), tmp_path / "out", Toy(), rendering=on_ray("mortal:dies_always"))
    assert 1 <= len((marks / "once").read_text()) <= 4


def test_a_tar_is_made_by_a_worker_from_its_job_alone(root: Path, plan: Path, tmp_path: Path) -> None:
    """The worker's part, here, in another folder than the driver's, and from a job that was pickled."""
    from augment.cluster.ray_rendering import _make_tar, absolute_tar, build_worker
    from augment.folder.carry import Work
    from augment.folder.generate import RenderSettings
    from augment.folder.tar_folder import TarJobs
    from augment.generators.open import generator_sha256

    generator = open_generator("mortal:toy", "cpu")
    planned = read_planned(plan, root)
    augment_folder(planned, tmp_path / "here", Toy(), tars=90)
    work = Work(planned.source, planned.table, generator, tmp_path / "there", RenderSettings().on(generator), (0, 1))
    do = build_worker(_make_tar, "mortal:toy", {"device": "cpu"}, PLAIN, generator_sha256(generator), work.settings)
    jobs = TarJobs(work, 90)
    made = [do(pickle.loads(pickle.dumps(absolute_tar(job)))) for job in jobs]
    assert made == [90, 90, 70, 2, 2]
    for number in range(len(jobs)):
        name = jobs.name(number)
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_tars_on_two_workers(address: str, root: Path, plan: Path, tmp_path: Path) -> None:
    planned = read_planned(plan, root)
    augment_folder(planned, tmp_path / "here", Toy(), tars=90)
    augment_folder(planned, tmp_path / "ray", Toy(), tars=90, rendering=on_ray("mortal:toy"))
    assert hashes(tmp_path / "ray") == hashes(tmp_path / "here")


def test_a_worker_with_another_generator_or_other_versions() -> None:
    from augment.cluster.ray_rendering import _render, build_worker
    from augment.folder.generate import RenderSettings

    settings = RenderSettings().on(Toy())
    with pytest.raises(InputError, match="another generator in this worker"):
        build_worker(_render, "entry:copy", {"device": "cpu"}, PLAIN, "0" * 64, settings)
    answer = ray_pool._Worker(lambda: print, {"torch": "1.0"}).ready()
    assert answer.of_input
    assert "torch 1.0" in str(answer.error)


@pytest.mark.parametrize(
    ("values", "what"), [({"workers": 0}, "0 workers"), ({"cpus": 0}, "0 CPUs"), ({"gpus": -1}, "-1 GPUs")]
)
def test_what_a_cluster_cannot_be(values: dict[str, float], what: str) -> None:
    with pytest.raises(InputError, match=what):
        Cluster(**values)  # type: ignore[arg-type]


def test_no_room_for_a_worker(address: str) -> None:
    with (
        pytest.raises(InputError, match="the cluster has 2 CPUs and 0 GPUs, a worker asks for 1 and 1"),
        ray_pool.ray_pool(Cluster(gpus=1), Toy),
    ):
        pass


def test_without_the_extra(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    planned = plan_folder(root, ratio=0.5)
    with pytest.raises(InputError, match=r"pip install 'patn-augment\[ray\]'"):
        augment_folder(planned, tmp_path / "out", Toy(), rendering=on_ray("entry:copy"))


@pytest.mark.parametrize(
    "words", [["--ray-workers", "2"], ["--ray", "local", "--gate"], ["--ray", "local", "--device", "cuda"]]
)
def test_options_that_do_not_go_together(words: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["generate", str(root), "--ratio", "0.5", "--weights", "entry:copy", *words])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("Error: --")


def test_a_few_chunks_are_held_however_long_the_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Chunks are asked for as they are needed: never more ahead than are read and written beside."""
    from augment.folder.generate import RenderSettings
    from reid_eval.runtime import ProgressBar

    asked, done = [], []

    class Bar(ProgressBar):
        def advance(self, count: int = 1, note: str = "") -> None:
            done.append(count)
            assert len(asked) <= len(done) + 1 + 2 * rendering.AHEAD  # read ahead, and still being written

    def chunks() -> Iterator[list[int]]:
        for number in range(50):
            asked.append(number)
            yield [number]

    monkeypatch.setattr(rendering, "_missing", lambda found, bar: found)
    monkeypatch.setattr(rendering, "load_task", lambda task, size: task)
    monkeypatch.setattr(rendering, "compute", lambda generator, chunk, settings: [])
    settings = RenderSettings(batch_size=1).on(Toy())
    rendering.render(chunks(), Toy(), settings, Bar("x", 50, "images"))
    assert len(done) == 50
