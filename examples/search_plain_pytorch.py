"""Purpose: search with generated views in front of any torch module, in plain PyTorch.

Needs:   nothing else; a data set folder with joints (default: the embedded one).
Run:     python examples/search_plain_pytorch.py --data Market-1501 --model my_network.pt2 --size 256 128
Override: --poses 4 --generator patn-synth --calibrate 256 --show 3

--model takes a program of `torch.export.save` (images `[B, 3, H, W]` of any B to features `[B, D]`; open only what you
trust), or a state dict of torchvision's resnet50. Without it that network has random weights: for a look at the code.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchvision.models import resnet50

from augment import load_generator
from augment.generators.open import pick_weights
from augment.pose.keypoints import load_annotations
from augment.search.extractors import torch_extractor
from augment.search.fusion import fuse
from augment.search.normalized import PoseNormalized
from augment.search.views import PRETRAINED_WEIGHT, shipped_views
from augment.synth.dataset import source_data
from reid_eval.datasets import read_dataset
from reid_eval.datasets.images import read_image


def network(file: Path | None) -> nn.Module:
    """Images, normalised as ImageNet's, to features."""
    if file and file.suffix == ".pt2":
        return torch.export.load(file).module()
    torch.manual_seed(0)  # of the random weights
    model = resnet50(weights=None)
    model.fc = nn.Identity()
    if file:
        state = torch.load(file, map_location="cpu", weights_only=True)
        state = {name.removeprefix("module."): value for name, value in state.items()}
        model.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    return model.eval()


def main(arguments: list[str] | None = None) -> None:
    """Search each query in the gallery; print rank-1 with photos alone and with views, and some results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="the data set; default: the embedded one")
    parser.add_argument("--model", type=Path, help="a .pt2 program, or resnet50's weights; default: random weights")
    parser.add_argument("--size", type=int, nargs=2, default=[128, 64], metavar=("H", "W"), help="that it takes")
    parser.add_argument("--generator", help="default: the best that ships for the device")
    parser.add_argument("--poses", type=int, default=4, help="how many of the poses that ship")
    parser.add_argument("--calibrate", type=int, default=64, help="on so many training images")
    parser.add_argument("--show", type=int, default=3, help="so many queries")
    o = parser.parse_args(arguments)
    root, device = source_data(o.data, print), "cuda" if torch.cuda.is_available() else "cpu"
    data, keypoints = read_dataset(root), load_annotations(root)
    extractor = torch_extractor(network(o.model).to(device), tuple(o.size), device=device)
    generator = load_generator(pick_weights(o.generator, device), device)
    search = PoseNormalized(extractor, generator, shipped_views(o.poses), weight=PRETRAINED_WEIGHT)

    def photos_and_joints(paths: list[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """uint8 `[H, W, 3]` each, and `[N, 18, 2]`: (x, y) pixels, NaN where a joint is not known."""
        rows = keypoints.rows(paths)
        joints = np.where((rows >= 0)[:, None, None], keypoints.xy[rows], np.nan)
        return [read_image(data.root / path) for path in paths], joints

    # What all people's features have in common is measured on people who are not searched for, and taken away.
    training = data.train["path"].tolist()
    search.calibrate(*photos_and_joints(training[:: max(1, len(training) // o.calibrate)]))
    gallery = data.gallery[data.gallery["pid"] != -1]  # -1 is junk
    tables = (data.query, gallery)
    same, own_camera = (
        np.equal.outer(data.query[name].to_numpy(), gallery[name].to_numpy()) for name in ("pid", "camid")
    )
    own_camera &= data.has_cameras
    counts = (same & ~own_camera).any(1)  # queries that have a match to be found
    start = time.perf_counter()
    parts = [search.parts(*photos_and_joints(table["path"].tolist())) for table in tables]
    print(f"{sum(map(len, tables)) / (time.perf_counter() - start):.1f} images/s with {o.poses} views")
    for weight in (0.0, PRETRAINED_WEIGHT):  # 0: the photo alone; search(photos, joints) does both steps at once
        queries, known = (fuse(part, weight, search.calibration) for part in parts)
        likeness = np.where(same & own_camera, -np.inf, queries @ known.T)  # of length 1: cosines
        best = likeness.argmax(1)
        right = same[np.arange(len(best)), best]
        print(f"weight {weight:g}: rank-1 {100 * right[counts].mean():.1f}")
    for row in range(min(o.show, len(best))):
        nearest = np.argsort(-likeness[row])[:3]
        print(data.query["path"][row], "->", *(gallery["path"].iloc[at] for at in nearest))
    if not o.model:
        print("The network has random weights: these figures are of no use; give --model FILE.")


if __name__ == "__main__":
    main()
