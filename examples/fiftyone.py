"""Purpose: look at an augmented folder in FiftyOne: each generated image grouped with its photo and its pose donor.

Needs:   pip install fiftyone (not a dependency of this project); a folder that `patn-augment generate` wrote.
Run:     python examples/fiftyone.py Market-1501-p0.5
Override: --name market-p05 --most 2000 --no-app

A group has the slices photo, result and donor. Every sample has its person, camera, joints and, where the folder was
made through a gate, `pose_error` and `colour_drift` to sort by. Tag what is bad with `reject`, and take those rows out
of augmentation/plan.csv; `patn-augment report FOLDER` does that with ticks, without FiftyOne.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from augment.folder.layout import GATE_LOG, folder_plan, train_keypoints
from augment.folder.manifest import read_manifest
from augment.gate.redraw import read_log
from augment.pose import JOINTS
from augment.pose.skeleton import LIMBS


def fiftyone() -> Any:
    """The library, not this file, whose name is the same."""
    here = str(Path(__file__).resolve().parent)
    kept, sys.path = sys.path, [place for place in sys.path if str(Path(place or ".").resolve()) != here]
    try:
        import fiftyone as library
    except ImportError:
        raise SystemExit("fiftyone is not installed: pip install fiftyone") from None
    finally:
        sys.path = kept
    return library


def groups(folder: Path, most: int | None) -> list[dict[str, Any]]:
    """Each generated image with its photo and donor: slice to path in the folder, and what is known of them."""
    read_manifest(folder)  # says in a line what is wrong with an unfinished folder
    plan, log = folder_plan(folder), folder / GATE_LOG
    verdicts = read_log(log) if log.is_file() else {}
    place = dict(zip(plan["image"], plan["output"], strict=True))
    found = []
    for row in plan[plan["action"] == "generate"].head(most or len(plan)).itertuples():
        slices = {"photo": place[row.condition], "result": row.output, "donor": place.get(row.pose)}
        verdict = verdicts.get(row.output)
        numbers = {} if verdict is None else {"pose_error": verdict.pose_error, "colour_drift": verdict.colour_drift}
        found.append(
            {
                "slices": {name: path for name, path in slices.items() if path},
                "facts": {"pid": int(row.pid), "camid": int(row.camid), "pose_of": row.pose, **numbers},
            }
        )
    return found


def fill(dataset: Any, folder: Path, most: int | None, fo: Any) -> int:
    """Add the groups to an empty dataset; how many."""
    dataset.add_group_field("group", default="result")
    dataset.default_skeleton = fo.KeypointSkeleton(labels=list(JOINTS), edges=[list(limb) for limb in LIMBS])
    joints, samples = train_keypoints(folder), []
    every = groups(folder, most)
    for one in every:
        group = fo.Group()
        for name, path in one["slices"].items():
            facts = one["facts"] if name == "result" else {}
            sample = fo.Sample(filepath=str((folder / path).resolve()), group=group.element(name), **facts)
            sample["person"] = fo.Classification(label=str(one["facts"]["pid"]) if name != "donor" else "donor")
            (row,) = joints.rows([path])
            if row >= 0:
                with Image.open(folder / path) as image:
                    points = ((joints.xy[row] + 0.5) / image.size).tolist()  # shares of width and height, NaN missing
                sample["joints"] = fo.Keypoints(keypoints=[fo.Keypoint(label="person", points=points)])
            samples.append(sample)
    dataset.add_samples(samples)
    return len(every)


def main(arguments: list[str] | None = None) -> None:
    """Make the dataset; open the app on it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="an augmented folder")
    parser.add_argument("--name", help="of the dataset; default: the folder's")
    parser.add_argument("--most", type=int, help="generated images at most")
    parser.add_argument("--no-app", action="store_true", help="keep the dataset, open nothing")
    o = parser.parse_args(arguments)
    fo = fiftyone()
    dataset = fo.Dataset(o.name or o.folder.resolve().name, persistent=True)
    print(f"{fill(dataset, o.folder, o.most, fo)} generated images in the dataset {dataset.name}")
    if not o.no_app:
        fo.launch_app(dataset).wait()


if __name__ == "__main__":
    main()
