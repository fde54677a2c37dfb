from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from drawn import draw_dataset, hashes
from PIL import Image
from toy import Toy

from augment.folder.carry import Source
from augment.folder.generate import RenderSettings, generate, verify
from augment.folder.manifest import MANIFEST, read_manifest
from augment.folder.render import CHUNK
from augment.plan.sampler import make_plan, plan_dataset
from augment.pose import Keypoints, load_annotations, merge, read_keypoints
from reid_eval.datasets import ReidData, read_dataset
from reid_eval.runtime import InputError


@pytest.fixture(scope="module")
def keypoints(tiny_root: Path) -> Keypoints:
    return load_annotations(tiny_root, size=(128, 64))


@pytest.fixture(scope="module")
def plan(tiny_data: ReidData, keypoints: Keypoints) -> pd.DataFrame:
    """Adds 38 images: five chunks, the last of them filled up."""
    return plan_dataset(tiny_data, keypoints, ratio=2.0, mode="add", seed=5)[0]


def run(data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, out: Path, **options: Any) -> Any:
    given = {"arguments": {"ratio": 2.0, "seed": 5}}
    generator, source = options.pop("generator", None) or Toy(), Source(data, keypoints, options.pop("library", None))
    drawn = {name: options.pop(name) for name in ("precision", "jpeg_quality", "batch_size") if name in options}
    return generate(source, plan, generator, out, settings=RenderSettings(**drawn), **{**given, **options})


@pytest.fixture(scope="module")
def whole(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder as one uninterrupted run makes it."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run(tiny_data, keypoints, plan, out)
    return out


def test_the_folder_holds_what_the_plan_says(whole: Path, plan: pd.DataFrame, tiny_data: ReidData) -> None:
    data = read_dataset(whole)
    assert data.layout == "market1501"
    assert sorted(data.train["path"]) == sorted(plan.loc[plan["action"] != "drop", "output"])
    assert data.train["source"].value_counts().to_dict() == {"generated": 38, "real": 19}
    pd.testing.assert_frame_equal(data.query, tiny_data.query)
    pd.testing.assert_frame_equal(data.gallery, tiny_data.gallery)
    made = plan[plan["action"] == "generate"]
    camids = data.train.set_index("path")["camid"]
    assert (made["output"].map(camids).to_numpy() == made["camid"].to_numpy()).all()
    for output in made["output"]:
        with Image.open(whole / output) as image:
            assert (image.size, image.mode, image.format) == ((64, 128), "RGB", "JPEG")
            assert np.asarray(image).std() > 5


def test_replace_keeps_the_totals_and_leaves_dropped_images_out(
    tiny_data: ReidData, keypoints: Keypoints, tmp_path: Path
) -> None:
    plan, _ = plan_dataset(tiny_data, keypoints, ratio=0.5)
    manifest = run(tiny_data, keypoints, plan, tmp_path / "out")
    data = read_dataset(tmp_path / "out")
    assert data.train.groupby("pid").size().to_dict() == tiny_data.train.groupby("pid").size().to_dict()
    dropped = set(plan.loc[plan["action"] == "drop", "image"])
    assert len(dropped) == 9  # 5 of 9 and 3 of 6, and of the four images of identity 11 only one can be spared
    assert not dropped & set(data.train["path"])
    assert manifest.counts["train_dropped"] == manifest.counts["train_generated"] == 9
    assert len(manifest.reports["train_without_usable_keypoints"]) == 2


def test_keypoints_of_every_image_are_written(whole: Path, plan: pd.DataFrame, keypoints: Keypoints) -> None:
    train = read_keypoints(whole / "market-annotation-train.csv", size=(128, 64))
    assert len(train) == 57
    for row in plan[plan["action"] == "generate"].to_dict("records"):
        made, donor = train.rows([row["output"]])[0], keypoints.rows([row["pose"]])[0]
        np.testing.assert_array_equal(train.xy[made], keypoints.xy[donor])
    assert len(read_keypoints(whole / "market-annotation-test.csv")) == 12


def test_the_result_is_what_the_network_gives(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, tmp_path: Path
) -> None:
    """Brute force: one image at a time, no threads, PNG so that nothing is lost."""
    from augment.pose.heatmaps import pose_maps

    plan = make_plan(tiny_data.train, keypoints, ratio=0.3, suffix=".png")
    run(tiny_data, keypoints, plan, tmp_path / "out")
    for row in plan[plan["action"] == "generate"].to_dict("records"):
        photo = np.array(Image.open(tiny_data.root / row["condition"]))
        image = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
        maps = [
            pose_maps(torch.from_numpy(keypoints.xy[keypoints.rows([row[column]])]), (128, 64))
            for column in ("condition", "pose")
        ]
        expected = ((Toy().transfer(image, *maps)[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        made = np.array(Image.open(tmp_path / "out" / row["output"]))
        assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("batch_size", [1, 11, 200])
def test_the_same_bytes_whatever_the_batch_size(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, whole: Path, tmp_path: Path, batch_size: int
) -> None:
    generator = Toy()
    run(tiny_data, keypoints, plan, tmp_path / "out", batch_size=batch_size, generator=generator)
    assert hashes(tmp_path / "out") == hashes(whole)
    assert generator.batches == {CHUNK}


def test_interrupted_and_resumed_gives_the_same_bytes(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(tiny_data, keypoints, plan, out, batch_size=8, generator=Toy(stop=3))
    with pytest.raises(InputError, match=r"is unfinished: run the same generation once more"):
        verify(out)
    with pytest.raises(InputError, match=r"holds this job already, unfinished: resume it"):
        run(tiny_data, keypoints, plan, out)
    next(out.glob("bounding_box_train/*_gen*.jpg")).write_bytes(b"\xff\xd8 cut short")  # lost power
    generator = Toy()
    run(tiny_data, keypoints, plan, out, resume=True, generator=generator)
    assert hashes(out) == hashes(whole)
    assert 1 <= generator.calls < 5


def test_killed_and_resumed_gives_the_same_bytes(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, tiny_root: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    script = f"""
        import os, signal
        from toy import Toy
        from reid_eval.datasets import read_dataset
        from augment.folder.carry import Source
        from augment.folder.generate import RenderSettings, generate
        from augment.plan.sampler import plan_dataset
        from augment.pose import load_annotations
        Toy.die = lambda self: os.kill(os.getpid(), signal.SIGKILL)
        data, keypoints = read_dataset({str(tiny_root)!r}), load_annotations({str(tiny_root)!r})
        plan, _ = plan_dataset(data, keypoints, ratio=2.0, mode="add", seed=5)
        generate(Source(data, keypoints), plan, Toy(stop=2), {str(out)!r}, settings=RenderSettings(batch_size=8),
                 arguments={{"ratio": 2.0, "seed": 5}})
    """
    root = Path(__file__).resolve().parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests/augment'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(script)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (out / "bounding_box_train").mkdir(exist_ok=True)
    (out / "bounding_box_train" / ".part-x.jpg").write_bytes(b"half")
    run(tiny_data, keypoints, plan, out, resume=True)
    assert hashes(out) == hashes(whole)


def test_shards_make_the_same_folder_and_the_last_one_finishes_it(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert [run(tiny_data, keypoints, plan, out, shard=(i, 3)) is None for i in (2, 0, 1)] == [True, True, False]
    assert hashes(out) == hashes(whole)
    with pytest.raises(InputError, match="shard 3 of 3"):
        run(tiny_data, keypoints, plan, out, shard=(3, 3))


def test_a_finished_folder_is_left_as_it_is(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, whole: Path
) -> None:
    generator = Toy()
    assert run(tiny_data, keypoints, plan, whole, resume=True, generator=generator) == read_manifest(whole)
    assert generator.calls == 0
    with pytest.raises(InputError, match="holds this job already, finished"):
        run(tiny_data, keypoints, plan, whole)


def test_another_job_may_not_go_on_in_the_folder(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, whole: Path
) -> None:
    with pytest.raises(InputError, match=r"other settings \(weights_sha256: [0-9a-f]{12}\.\.\., now "):
        run(tiny_data, keypoints, plan, whole, generator=Toy(version=2), resume=True)
    with pytest.raises(
        InputError, match=r"\(precision: float32, now bf16; jpeg_quality: 95, now 90; ratio: 2.0, now 3"
    ):
        run(tiny_data, keypoints, plan, whole, precision="bf16", jpeg_quality=90, arguments={"ratio": 3.0, "seed": 5})
    other, _ = plan_dataset(tiny_data, keypoints, ratio=0.5)
    with pytest.raises(InputError, match=r"\(plan_sha256: "):
        run(tiny_data, keypoints, other, whole, resume=True)


def test_a_folder_of_something_else_is_not_touched(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"is not empty and no augmented folder \(thesis.tex\)"):
        run(tiny_data, keypoints, plan, tmp_path, resume=True)
    assert hashes(tmp_path).keys() == {"thesis.tex"}
    with pytest.raises(InputError, match="is a file: name a folder"):
        run(tiny_data, keypoints, plan, tmp_path / "thesis.tex")


@pytest.mark.parametrize("link", ["hard", "symlink"])
def test_links_stand_for_copies(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, whole: Path, tmp_path: Path, link: str
) -> None:
    out = tmp_path / "out"
    run(tiny_data, keypoints, plan, out, link=link)
    query = sorted((out / "query").iterdir())[0]
    assert query.samefile(tiny_data.root / "query" / query.name)
    assert query.is_symlink() == (link == "symlink")
    assert verify(out).ok
    same = {name: digest for name, digest in hashes(out).items() if name != MANIFEST}
    assert same == {name: digest for name, digest in hashes(whole).items() if name != MANIFEST}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"link": "soft"}, "link 'soft': choose from copy, hard, symlink"),
        ({"batch_size": 0}, "batch size 0: expected 1 or more"),
        ({"jpeg_quality": 101}, "JPEG quality 101: expected 1 to 100"),
        ({"precision": "fp8"}, "precision 'fp8': choose from float32, bf16, int8"),
        ({"precision": "int8"}, "precision int8 needs an engine"),
        ({"shard": (2, 2)}, "shard 2 of 2: expected 0 <= index < count"),
    ],
)
def test_options_out_of_range(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        run(tiny_data, keypoints, plan, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_corrupt_image_is_named(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", {1: 4}, {101: 3})
    data, keypoints = read_dataset(root), load_annotations(root)
    plan, _ = plan_dataset(data, keypoints, ratio=1.0, mode="add")
    (root / "bounding_box_train" / "0001_c1s1_000003_00.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"0001_c1s1_000003_00.jpg: cannot read this image \(0 bytes\).*delete it"):
        run(data, keypoints, plan, tmp_path / "out")


def test_damaged_weights_are_found_out(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, tmp_path: Path
) -> None:
    generator = Toy()
    generator.conv.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="values that are not finite"):
        run(tiny_data, keypoints, plan, tmp_path / "out", generator=generator)


def test_bf16_is_close_and_says_so(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, whole: Path, tmp_path: Path
) -> None:
    manifest = run(tiny_data, keypoints, plan, tmp_path / "out", precision="bf16")
    assert manifest.job.precision == "bf16"
    gaps = [
        np.abs(np.array(Image.open(tmp_path / "out" / name), int) - np.array(Image.open(whole / name), int)).mean()
        for name in plan.loc[plan["action"] == "generate", "output"]
    ]
    assert max(gaps) < 3


def test_a_generator_of_another_size_gets_resized_photos_and_joints(
    tiny_data: ReidData, keypoints: Keypoints, tmp_path: Path
) -> None:
    seen: list[tuple[int, ...]] = []
    peaks: list[torch.Tensor] = []

    class Wide(Toy):
        size = (64, 48)

        def transfer(self, image: torch.Tensor, source: torch.Tensor, target: torch.Tensor, *_: Any) -> torch.Tensor:
            seen.append(tuple(image.shape))
            peaks.append(target[0, 2].flatten().argmax())
            return image

    plan, _ = plan_dataset(tiny_data, keypoints, ratio=0.5)
    manifest = run(tiny_data, keypoints, plan, tmp_path / "out", generator=Wide())
    assert manifest.job.generator_size == (64, 48)
    assert set(seen) == {(CHUNK, 3, 64, 48)}
    first = plan[plan["action"] == "generate"].iloc[0]
    x, y = keypoints.xy[keypoints.rows([first["pose"]])[0], 2]
    assert abs(int(peaks[0]) % 48 - x * 48 / 64) <= 1
    assert abs(int(peaks[0]) // 48 - y / 2) <= 1
    with Image.open(tmp_path / "out" / first["output"]) as image:
        assert image.size == (64, 128)


def test_poses_of_a_library_and_of_images_of_another_size(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", {1: 4}, {101: 3})
    data, keypoints = read_dataset(root), load_annotations(root)
    library = Keypoints(("walk.jpg",), keypoints.xy[:1])
    plan, _ = plan_dataset(data, keypoints, ratio=1.0, mode="add", pose_source="library", library=library)
    run(data, keypoints, plan, tmp_path / "a", library=library)
    train = load_annotations(tmp_path / "a")
    rows = train.rows(plan.loc[plan["action"] == "generate", "output"].tolist())
    np.testing.assert_array_equal(train.xy[rows], np.stack([library.xy[0]] * 4))

    small = root / "bounding_box_train" / "0001_c1s1_000001_00.jpg"
    Image.open(small).resize((32, 64)).save(small)
    half = Keypoints((small.name,), keypoints.xy[keypoints.rows([small.name])] / 2)
    rest = [name for name in keypoints.names if name != small.name]
    mixed = merge([half, keypoints.take([keypoints.index[name] for name in rest])])
    plan, _ = plan_dataset(data, mixed, ratio=3.0, mode="add", pose_source="identity", exclude_same_image=True)
    run(data, mixed, plan, tmp_path / "b")
    train = load_annotations(tmp_path / "b")
    made = plan[plan["action"] == "generate"]
    onto = made[made["pose"].str.endswith(small.name)].iloc[0]
    xy = train.xy[train.rows([onto["output"]])[0]]
    np.testing.assert_allclose(xy, half.xy[0] * 2 + 0.5, atol=0.51)
    shrunk = made[made["condition"].str.endswith(small.name)].iloc[0]
    with Image.open(tmp_path / "b" / shrunk["output"]) as image:
        assert image.size == (32, 64)


def test_one_folder_an_identity_stays_so(tmp_path: Path) -> None:
    flat = draw_dataset(tmp_path / "flat", {1: 4, 2: 4}, {101: 3})
    root, poses = tmp_path / "data", []
    table = load_annotations(flat)
    for person, pid in (("ann", 1), ("bob", 2)):
        (root / "train" / person).mkdir(parents=True)
        for number, path in enumerate(sorted((flat / "bounding_box_train").glob(f"{pid:04d}*"))):
            path.rename(root / "train" / person / f"{number}.jpg")
            poses.append(table.take(table.rows([path.name]), [f"train/{person}/{number}.jpg"]))
    data, keypoints = read_dataset(root), merge(poses)
    plan = make_plan(data.train, keypoints, ratio=0.0)
    plan["output"] = [f"bounding_box_train/{i}.jpg" for i in range(8)]
    with pytest.raises(InputError, match="does not fit the layout folders"):
        run(data, keypoints, plan, tmp_path / "out")
    plan, _ = plan_dataset(data, keypoints, ratio=0.5)
    run(data, keypoints, plan, tmp_path / "out")
    again = read_dataset(tmp_path / "out")
    assert again.layout == "folders"
    assert again.train.groupby("pid").size().to_dict() == {1: 4, 2: 4}
    rows = load_annotations(tmp_path / "out").rows(again.train["path"].tolist())
    assert (rows >= 0).all()


def test_equal_names_in_query_and_gallery(tmp_path: Path) -> None:
    root = draw_dataset(tmp_path / "data", {1: 4}, {101: 3})
    data = read_dataset(root)
    twin = root / "bounding_box_test" / Path(data.query["path"][0]).name
    twin.write_bytes((root / data.query["path"][0]).read_bytes())
    data, keypoints = read_dataset(root), load_annotations(root)
    plan, _ = plan_dataset(data, keypoints, ratio=0.5)
    run(data, keypoints, plan, tmp_path / "a")
    assert read_keypoints(tmp_path / "a" / "market-annotation-test.csv").names.count(twin.name) == 1
    other = Keypoints((f"bounding_box_test/{twin.name}",), keypoints.xy[1:2])
    run(data, merge([keypoints, other]), plan, tmp_path / "b")
    again = load_annotations(tmp_path / "b")
    query, gallery = again.rows([f"query/{twin.name}"])[0], again.rows([f"bounding_box_test/{twin.name}"])[0]
    np.testing.assert_array_equal(again.xy[gallery], other.xy[0])
    assert not np.array_equal(again.xy[query], again.xy[gallery], equal_nan=True)


def test_the_manifest_tells_nothing_of_time_or_place(whole: Path, tiny_root: Path) -> None:
    text = (whole / MANIFEST).read_text()
    assert str(tiny_root) not in text
    assert str(whole.parent) not in text
    manifest = read_manifest(whole)
    assert manifest.job.arguments == {"ratio": 2.0, "seed": 5, "generator": Toy().describe()}
    assert manifest.versions["torch"]
    assert set(manifest.files) == {*hashes(whole)} - {MANIFEST}


def test_torchreid_trains_an_epoch_on_the_folder(whole: Path, tmp_path: Path) -> None:
    torchreid = pytest.importorskip("torchreid")
    (tmp_path / "market1501").mkdir()
    (tmp_path / "market1501" / "Market-1501-v15.09.15").symlink_to(whole)
    manager = torchreid.data.ImageDataManager(
        root=str(tmp_path), sources="market1501", height=64, width=32, batch_size_train=8, workers=0, use_gpu=False
    )
    assert manager.num_train_pids == 3
    assert len(manager.train_loader.dataset) == 57
    model = torchreid.models.build_model("osnet_x0_25", num_classes=3, pretrained=False)
    optimizer = torchreid.optim.build_optimizer(model)
    scheduler = torchreid.optim.build_lr_scheduler(optimizer)
    engine = torchreid.engine.ImageSoftmaxEngine(manager, model, optimizer, scheduler, use_gpu=False)
    engine.run(save_dir=str(tmp_path / "log"), max_epoch=1, print_freq=100, ranks=[1])
    assert list((tmp_path / "log").rglob("model.pth.tar-1"))


def test_shards_that_start_at_one_instant_do_not_refuse_each_other(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one begins after this one has seen no job, and before it looks for foreign files."""
    import augment.folder.generate as module

    out, look, other = tmp_path / "out", module.folder_files, []

    def late(folder: Path) -> Any:
        if not other:
            other.append(None)
            other.append(run(tiny_data, keypoints, plan, out, shard=(1, 2)))
        return look(folder)

    out.mkdir()
    monkeypatch.setattr(module, "folder_files", late)
    assert run(tiny_data, keypoints, plan, out, shard=(0, 2)) is not None
    assert other == [None, None]
    assert verify(out).ok


def test_one_of_two_that_are_no_shards_is_refused(
    tiny_data: ReidData, keypoints: Keypoints, plan: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import augment.folder.generate as module

    out, begin = tmp_path / "out", module.begin_job

    def late(folder: Path, job: Any) -> bool:
        begin(folder, job)
        return begin(folder, job)

    monkeypatch.setattr(module, "begin_job", late)
    with pytest.raises(InputError, match="holds this job already, unfinished"):
        run(tiny_data, keypoints, plan, out)


class Broken(Toy):
    """Fails at once."""

    def transfer(self, *_: Any) -> Any:
        raise InputError("the generator is broken")


@pytest.mark.parametrize("there", [False, True], ids=["new", "empty"])
@pytest.mark.parametrize("end", ["failure", "Ctrl-C"])
def test_what_was_not_begun_leaves_nothing(tiny_data: ReidData, tmp_path: Path, there: bool, end: str) -> None:
    """Else the same command, given again without the mistake, meets an unfinished folder of nothing."""
    keypoints = load_annotations(tiny_data.root)
    plan, _ = plan_dataset(tiny_data, keypoints, ratio=0.5)
    out = tmp_path / "out"
    if there:
        out.mkdir()
    with pytest.raises((InputError, KeyboardInterrupt)):
        generate(Source(tiny_data, keypoints), plan, Broken() if end == "failure" else Toy(stop=0), out)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["out"] * there
    assert generate(Source(tiny_data, keypoints), plan, Toy(), out) is not None


def test_what_was_begun_stays(tiny_data: ReidData, tmp_path: Path) -> None:
    keypoints = load_annotations(tiny_data.root)
    plan, _ = plan_dataset(tiny_data, keypoints, ratio=0.5)
    with pytest.raises(KeyboardInterrupt):
        generate(
            Source(tiny_data, keypoints), plan, Toy(stop=1), tmp_path / "out", settings=RenderSettings(batch_size=8)
        )
    assert (tmp_path / "out/augmentation/unfinished.json").is_file()
    assert list(tmp_path.rglob("*_gen*.jpg"))


def test_one_of_several_parts_leaves_the_mark(tiny_data: ReidData, tmp_path: Path) -> None:
    keypoints = load_annotations(tiny_data.root)
    plan, _ = plan_dataset(tiny_data, keypoints, ratio=0.5)
    with pytest.raises(InputError, match="broken"):
        generate(Source(tiny_data, keypoints), plan, Broken(), tmp_path / "out", shard=(0, 2))
    assert (tmp_path / "out/augmentation/unfinished.json").is_file()
