"""Any program as an estimator: image paths as JSON lines in, joints as JSON lines out.

So that ViTPose, AlphaPose or MediaPipe can live in an environment of their own. For each image the program gets a line
`{"image": PATH}` on its standard input, and answers with a line `{"image": PATH, "joints": [[x, y, score], ...]}`, in
any order: 17 joints of COCO or 18 of OpenPose, (x, y) in pixels of that file with pixel centres at integers, or an
empty list where it finds nobody. Images are written for it enlarged and with room around the person.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Sequence

import numpy as np
from PIL import Image as PILImage

from augment.estimators.base import ENLARGED_HEIGHT, Found, Image
from augment.estimators.conversions import best_person, enlarge, keep_credible, shrink, stacked, to_openpose
from augment.pose.skeleton import JOINT_COUNT
from reid_eval.runtime import InputError
from reid_eval.writing import scratch_folder

_COCO_COUNT = 17
_THRESHOLD = 0.3


class Command:
    """An estimator that is a program; it is started once a batch.

    Args:
        command: what to run, split as a shell would, without a shell.
        threshold: the lowest score of a joint.
        height: small images are enlarged to this height.

    Raises:
        InputError: no command; the program cannot be started, fails, or answers something else.
    """

    name = "command"

    def __init__(self, command: str, threshold: float = _THRESHOLD, height: int = ENLARGED_HEIGHT) -> None:
        self.words, self.threshold, self.height = shlex.split(command), threshold, height
        if not self.words:
            raise InputError("estimator command: is empty: write command:PROGRAM ARGUMENTS")

    def __call__(self, images: Sequence[Image]) -> Found:
        """See `Estimator`."""
        large = [enlarge(image, self.height) for image in images]
        with scratch_folder("patn-poses-") as folder:
            paths = [str(folder / f"{number:06d}.png") for number in range(len(large))]
            for path, one in zip(paths, large, strict=True):
                PILImage.fromarray(one.image).save(path, compress_level=1)
            answers = self._ask(paths) if paths else {}
        people = [(shrink(xy, one), s) for (xy, s), one in zip(map(answers.__getitem__, paths), large, strict=True)]
        return keep_credible(*stacked(people), self.threshold, [image.shape for image in images])

    def _ask(self, paths: Sequence[str]) -> dict[str, Found]:
        lines = "".join(json.dumps({"image": path}) + "\n" for path in paths)
        try:
            done = subprocess.run(self.words, input=lines, capture_output=True, text=True, check=False)
        except OSError as error:
            raise InputError(f"estimator command: cannot start {self.words[0]}: {error.strerror}") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(f"estimator command: {self.words[0]} ended with {done.returncode}: {last}")
        answers = dict(_parse(line) for line in done.stdout.splitlines() if line.startswith("{"))
        lost = [path for path in paths if path not in answers]
        if lost:
            raise InputError(f"estimator command: {self.words[0]} gave no line for {len(lost)} of {len(paths)} images")
        return answers


def _parse(line: str) -> tuple[str, Found]:
    """One answer as (path, OpenPose joints)."""
    try:
        answer = json.loads(line)
        joints = np.array(answer["joints"], dtype=np.float32).reshape(len(answer["joints"]), 3)
        path = str(answer["image"])
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f'estimator command: {line[:80]!r} is not {{"image": PATH, "joints": [[x, y, score], ...]}}'
        ) from None
    if len(joints) not in (0, _COCO_COUNT, JOINT_COUNT):
        raise InputError(f"estimator command: {len(joints)} joints for {path}: give 17 (COCO) or 18 (OpenPose)")
    if not len(joints):
        return path, best_person([])
    xy, scores = joints[:, :2], joints[:, 2]
    return path, (to_openpose(xy, scores) if len(joints) == _COCO_COUNT else (xy, scores))
