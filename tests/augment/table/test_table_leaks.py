"""The leak check: what weights say of their training, down the whole chain, against what a plan drops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from augment.generators.copy import CopyGenerator
from augment.generators.warp import WarpGenerator
from augment.generators.weights import WeightsFile, names_digest, read_weights
from augment.table.leaks import UNTRAINED, History, Label, Seen, described_history, find_leak, weights_history
from augment.table.study import Study
from augment.table.table_grid import table_grid
from augment.table.training_sets import TrainingSets
from reid_eval.datasets import ReidData
from reid_eval.datasets.tables import make_table

STREAM = "synthetic pedestrians, augment.synth, world 3 (endless stream)"


@pytest.fixture
def plan(tiny_data: ReidData) -> pd.DataFrame:
    paths = tiny_data.train["path"].tolist()
    actions = ["drop" if number < 5 else "keep" for number in range(len(paths))]
    return pd.DataFrame({"action": actions, "image": paths})


def test_leaks_are_found_by_name(tiny_data: ReidData, plan: pd.DataFrame) -> None:
    dropped, kept = (plan.loc[plan["action"] == action, "image"].tolist() for action in ("drop", "keep"))
    everything = dropped + kept
    stem: Callable[[str], str] = lambda path: Path(path).stem  # noqa: E731
    query = stem(tiny_data.query["path"][0])
    for seen, label, reason in (
        (Seen(names=frozenset()), "leakage-free", "none of the dropped images"),
        (Seen(names=frozenset(map(stem, kept))), "leakage-free", "none of the dropped images"),
        (Seen(names=frozenset(map(stem, everything))), "leaky", "5 of the 5 dropped images"),
        (Seen(names=frozenset([stem(dropped[0]), query])), "leaky", "1 of the 5 dropped images and 1 of the 12 test"),
        (Seen(digest=names_digest(kept)), "leakage-free", "exactly the kept images"),
        (Seen(digest=names_digest(everything)), "leaky", "all 5 dropped images"),
        (Seen(digest="0" * 64), "unknown", "do not say"),
        (Seen(split=("train", tiny_data.root.name)), "leaky", "all 5 dropped images"),
        (Seen(split=("gallery", tiny_data.root.name)), "leaky", "gallery split, which is tested on"),
        (Seen(split=("train", "Other")), "unknown", "do not say"),
        (Seen(), "unknown", "do not say"),
    ):
        leak = find_leak(History((seen,)), plan, tiny_data)
        assert leak.label == label, (seen, leak)
        assert reason in leak.reason
    whole = plan.assign(action="keep")
    assert find_leak(History((Seen(digest=names_digest(everything)),)), whole, tiny_data).label == "leakage-free"


def weights(**info: Any) -> WeightsFile:
    return WeightsFile("w", {"info": info}, {}, "own sha")


def stages(path: Path | None = None, **info: Any) -> tuple[Seen, ...]:
    history = weights_history(weights(**info), "w", path)
    return history.stages


def test_weights_tell_what_they_saw(tmp_path: Path) -> None:
    assert stages(data=STREAM) == (Seen(names=frozenset()),)
    assert stages(data="the train split of Market-1501") == (Seen(split=("train", "Market-1501")),)
    assert stages(data="whatever the authors' latest_net_netG.pth was trained on") == (Seen(),)
    assert stages(training_images=["a/1.jpg", "2.png"]) == (Seen(names=frozenset({"a/1.jpg", "2.png"})),)
    assert stages(training_images={"sha256": "ab", "count": 2}) == (Seen(digest="ab"),)
    path = tmp_path / "w.safetensors"
    path.with_name("w.training_images.txt").write_text("a/1.jpg\n\n2.jpg\n")
    assert stages(path, data=STREAM) == (Seen(names=frozenset({"a/1.jpg", "2.jpg"})),)


def test_fine_tuned_weights_leak_what_their_start_saw(tiny_data: ReidData, plan: pd.DataFrame, tmp_path: Path) -> None:
    dropped, kept = (plan.loc[plan["action"] == action, "image"].tolist() for action in ("drop", "keep"))
    path = tmp_path / "w.safetensors"

    def leak(listed: list[str] | None = None, **info: Any) -> tuple[Label, str]:
        beside = path.with_name("w.training_images.txt")
        beside.unlink(missing_ok=True)
        if listed is not None:
            beside.write_text("\n".join(listed))
        found = find_leak(weights_history(weights(**info), "w", path), plan, tiny_data)
        return found.label, found.reason

    clean: dict[str, Any] = {"data": "the train split of x", "training_images": digest(kept)}
    assert leak(**clean, init=None)[0] == "leakage-free"
    assert leak(**clean, settings={"init_weights": ""})[0] == "leakage-free"
    all_seen = {"weights": "all", "sha256": "0", "training_images": digest(dropped + kept), "init": None}
    label, reason = leak(**clean, init=all_seen)
    assert label == "leaky"
    assert reason == "it started from all: trained on the whole training split: all 5 dropped images"
    # ... and where that is two trainings back
    assert leak(data=STREAM, init={"weights": "middle", "data": STREAM, "init": all_seen})[0] == "leaky"
    assert leak(data=STREAM, init={"weights": "middle", "data": STREAM, "init": None})[0] == "leakage-free"
    # What cannot be proven is unknown
    for info in (
        {**clean},
        {**clean, "settings": {"init_weights": "runs/lost/generator.safetensors"}},
        {**clean, "init": {"weights": "lost", "sha256": "0"}},
        {**clean, "init": {"weights": "middle", "data": STREAM}},
        {**clean, "init": "lost"},
        {**clean, "init": {"weights": "patn-synth-tiny", "sha256": "another version's"}},
    ):
        label, reason = leak(**info)
        assert label == "unknown", info
    assert "is not known" in leak(**clean, settings={"init_weights": "lost"})[1]
    # Weights that ship are known by name and hash
    shipped = read_weights("patn-synth-tiny").sha256
    assert leak(**clean, init={"weights": "patn-synth-tiny", "sha256": shipped})[0] == "leakage-free"
    # The list beside the file is of the whole chain, as far as that is known
    assert leak(kept, data="lost in time")[0] == "leakage-free"
    assert leak(kept, **clean, init={**all_seen, "training_images": digest(kept[:3])})[0] == "leakage-free"
    assert leak([*kept, dropped[0]], **clean, init=None)[0] == "leaky"
    assert leak(kept, **clean, init={"weights": "lost", "sha256": "0"})[0] == "unknown"
    assert leak(kept, **clean, settings={"init_weights": "lost"})[0] == "unknown"


def digest(names: list[str]) -> dict[str, Any]:
    return {"sha256": names_digest(names), "count": len(names)}


def test_weights_that_ship_know_all_their_stages(tiny_data: ReidData, plan: pd.DataFrame) -> None:
    for name, stages in (("patn-synth", 4), ("patn-synth-tiny", 3)):
        history = weights_history(read_weights(name), name, None)
        assert len(history.stages) == stages
        assert find_leak(history, plan, tiny_data).label == "leakage-free"


@pytest.fixture
def same_names() -> ReidData:
    """One folder an identity, and a 0.jpg in each of them."""

    def rows(folder: str, pids: range) -> pd.DataFrame:
        return make_table([(f"{folder}/{pid:04d}/{n}.jpg", pid, 1, 0, n, "real") for pid in pids for n in range(4)])

    tables = (rows("train", range(1, 5)), rows("query", range(7, 9)), rows("gallery", range(7, 9)))
    return ReidData(Path("people"), "folders", *tables)


def test_leaks_where_every_folder_has_a_0_jpg(same_names: ReidData) -> None:
    paths = same_names.train["path"].tolist()
    plan = pd.DataFrame({"action": ["keep", "keep", "drop", "drop"] * 4, "image": paths})
    dropped, kept = (plan.loc[plan["action"] == action, "image"].tolist() for action in ("drop", "keep"))

    def label(seen: Seen, plan: pd.DataFrame = plan) -> Label:
        return find_leak(History((seen,)), plan, same_names).label

    def names(*listed: str) -> Seen:
        return Seen(names=frozenset(listed))

    # 0.jpg and 1.jpg are kept of everybody: by base names alone, images 2 and 3 of others could not be told apart.
    assert label(names(*paths)) == "leaky"
    assert label(names(*kept)) == "leakage-free"
    assert label(names("other/0099/dog.jpg")) == "leakage-free"
    assert label(names(*(path.removeprefix("train/") for path in kept))) == "leakage-free"
    assert label(names(*(path.removeprefix("train/") for path in paths))) == "leaky"
    assert label(names(*(path.replace("train", "bounding_box_train") for path in dropped[:1]))) == "leaky"
    one_of_each = pd.DataFrame({"action": ["keep", "drop", "drop", "drop"] * 3 + ["drop", "keep"] * 2, "image": paths})
    assert label(names("0.jpg"), one_of_each) == "unknown"  # whose?
    assert label(names("0008/0.jpg")) == "leaky"  # of query or gallery: tested on either way
    assert label(names("elsewhere/0055/2.jpg")) == "unknown"  # a copy under another name, maybe
    # Digests are of paths here, or prove nothing
    assert label(Seen(digest=names_digest(kept))) == "leakage-free"
    assert label(Seen(digest=names_digest(paths))) == "leaky"
    assert label(Seen(digest=names_digest(["0", "1", "2", "3"]))) == "unknown"
    single = pd.DataFrame({"action": ["keep"] + ["drop"] * 15, "image": paths})
    assert label(Seen(digest=names_digest(["train/0003/0.jpg"])), single) == "unknown"  # as `train/0001/0.jpg` would


def test_generators_without_weights_say_whether_they_learn(tiny_data: ReidData, plan: pd.DataFrame) -> None:
    for control in (CopyGenerator(), WarpGenerator()):
        assert described_history(control.describe()) == UNTRAINED
    assert find_leak(UNTRAINED, plan, tiny_data).label == "leakage-free"
    for told in ({}, {"trained_on": "everything"}):
        assert find_leak(described_history(told), plan, tiny_data).label == "unknown"


def test_a_leak_is_named_in_the_table(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert table_grid(study).label("patn") == "patn (leakage-free)"
    split = History((Seen(split=("train", study.reid.root.name)),))
    real = study.sets.generator(study.row("patn"), study.columns[0], 0)  # type: ignore[arg-type]
    monkeypatch.setattr(TrainingSets, "generator", lambda *_: replace(real, history=split))
    grid = table_grid(study)
    assert grid.label("patn") == "patn (leaky)"
    [leak] = [note for note in grid.notes if note.startswith("LEAK: the generator of `patn` (patn-synth-tiny)")]
    assert "is leaky at p = 0.5: trained on the whole training split" in leak
