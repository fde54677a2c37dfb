"""MediaPipe Pose as a program of its own: image paths in, joints out, as JSON lines.

It imports nothing of patn-augment, so that it runs in an environment of its own (MediaPipe pins an old numpy):

    python -m venv mp && mp/bin/pip install mediapipe==0.10.21
    patn-augment poses ROOT --estimator "command:mp/bin/python mediapipe_program.py"

A line in: {"image": PATH}. A line out: {"image": PATH, "joints": [[x, y, score], ...]}, the 17 joints of COCO in pixels
of that image, or {"image": PATH, "joints": []} where nobody was found. MediaPipe 0.10.21 carries its models in its
wheel and needs no network.
"""

from __future__ import annotations

import json
import sys
from typing import Any

# BlazePose's places of the 17 joints of COCO.
COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)


def open_model() -> Any:
    """MediaPipe's pose solution for single images; the middle model, the only one besides the small in the wheel."""
    import mediapipe as mp

    return mp.solutions.pose.Pose(static_image_mode=True, model_complexity=1, min_detection_confidence=0.3)


def joints_of(model: Any, rgb: Any) -> list[list[float]]:
    """The 17 joints of COCO as (x, y, visibility), pixels; empty where nobody was found."""
    found = model.process(rgb).pose_landmarks
    if found is None:
        return []
    height, width = rgb.shape[:2]
    points = [found.landmark[place] for place in COCO]
    return [[p.x * width - 0.5, p.y * height - 0.5, p.visibility] for p in points]


def main() -> None:
    """Read lines until they end."""
    import cv2

    model = open_model()
    for line in sys.stdin:
        path = json.loads(line)["image"]
        rgb = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        print(json.dumps({"image": path, "joints": joints_of(model, rgb)}), flush=True)


if __name__ == "__main__":
    main()
