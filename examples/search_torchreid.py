"""Purpose: put generated views in front of a torchreid network and let torchreid score the search.

Needs:   torch 2.5, pip install torchreid gdown tensorboard; a data set with joints (default: the embedded one).
Run:     python examples/search_torchreid.py --data Market-1501 --model osnet_x1_0 --weights osnet_x1_0_market1501.pth
Override: --height 256 --width 128 --poses 4 --generator patn-synth --epochs 5 --out runs/search-torchreid
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchreid.reid import data, engine, metrics, models, optim, utils
from torchvision.transforms.functional import to_pil_image

from augment import load_generator
from augment.generators.open import pick_weights
from augment.pose.keypoints import empty_keypoints, load_annotations
from augment.search.embed import embed
from augment.search.normalized import PoseNormalized
from augment.search.views import PRETRAINED_WEIGHT, WEIGHT, shipped_views
from augment.synth.dataset import source_data
from reid_eval.datasets import read_dataset


class Folder(data.ImageDataset):
    """Any folder that `reid_eval` reads, as a data set of torchreid: labels and cameras count from 0."""

    def __init__(self, root: str = "", **options: Any) -> None:
        found = read_dataset(root)
        label_of = {pid: label for label, pid in enumerate(sorted(set(found.train["pid"].tolist())))}
        train, query, gallery = (
            [(str(found.root / row.path), row.pid, row.camid - 1) for row in table.itertuples() if row.pid != -1]
            for table in (found.train, found.query, found.gallery)
        )
        super().__init__([(p, label_of[i], c) for p, i, c in train], query, gallery, **options)


data.register_image_dataset("searched", Folder)


def load_weights(model: torch.nn.Module, path: str) -> None:
    """By torchreid; its engine stores rank-1 as a numpy number, which torch refuses unless told to expect it."""
    kinds = [np.float32(0).__reduce__()[0], np.dtype, type(np.dtype(np.float32)), type(np.dtype(np.float64))]
    with torch.serialization.safe_globals(kinds), warnings.catch_warnings():
        warnings.filterwarnings("error", "The pretrained weights")  # where no layer fits it only warns, and goes on
        utils.load_pretrained_weights(model, path)


def scores(found: Any) -> tuple[float, float]:
    """Rank-1 and mAP in percent, by torchreid: cosine distance, Market-1501's protocol, without junk."""
    query, gallery = ((found.splits == split) & (found.pids != -1) for split in ("query", "gallery"))
    features = torch.from_numpy(found.features)
    distances = metrics.compute_distance_matrix(features[query], features[gallery], "cosine").numpy()
    labels = [array[rows] for array in (found.pids, found.camids) for rows in (query, gallery)]
    ranks, mean_precision = metrics.evaluate_rank(distances, *labels, use_cython=False)
    return 100 * float(ranks[0]), 100 * float(mean_precision)


def main(arguments: list[str] | None = None) -> None:
    """Search with photos alone and with views; print a line of scores and cost for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="the data set; default: the embedded one")
    parser.add_argument("--model", default="osnet_x0_25", help="a name of torchreid's zoo")
    parser.add_argument("--weights", help="of that model; from torchreid's model zoo or engine; default: train briefly")
    parser.add_argument("--generator", help="default: the best that ships for the device")
    parser.add_argument("--out", default="runs/search-torchreid", help="for the network that is trained")
    for name, value in (("poses", 4), ("height", 128), ("width", 64), ("epochs", 5), ("batch-size", 16)):
        parser.add_argument(f"--{name}", type=int, default=value)
    o = parser.parse_args(arguments)
    root, device = source_data(o.data, print), "cuda" if torch.cuda.is_available() else "cpu"
    options = {"height": o.height, "width": o.width, "batch_size_train": o.batch_size, "workers": 0}
    manager = data.ImageDataManager(root=str(root), sources="searched", transforms=["random_flip"], **options)
    torch.manual_seed(0)
    model = models.build_model(o.model, manager.num_train_pids, pretrained=False).to(device)
    if o.weights:
        load_weights(model, o.weights)
    else:
        optimizer = optim.build_optimizer(model, lr=0.001)
        rate = optim.build_lr_scheduler(optimizer, stepsize=20)
        runner = engine.ImageSoftmaxEngine(manager, model, optimizer, rate)
        runner.run(save_dir=o.out, max_epoch=o.epochs, print_freq=50, ranks=[1], normalize_feature=True)
    model.eval()

    @torch.inference_mode()
    def extract(images: torch.Tensor) -> torch.Tensor:
        """uint8 `[B, 3, H, W]` to features `[B, D]`, each image through torchreid's own preprocessing."""
        return model(torch.stack([manager.preprocess_pil_img(to_pil_image(one)) for one in images]).to(device))

    found, joints = read_dataset(root), load_annotations(root)
    some = replace(found, train=found.train[:: 1 + len(found.train) // 512])  # of all training people, to calibrate on
    generator = load_generator(pick_weights(o.generator, device), device)
    trained = f"weights of {o.weights}" if o.weights else f"trained here for {o.epochs} epochs only, so no good network"
    print(f"{o.model}, {trained}; views by {generator.name}")
    for text, poses in (("photo alone", empty_keypoints()), (f"views: {o.poses}", shipped_views(o.poses))):
        search = PoseNormalized(extract, generator, poses, weight=PRETRAINED_WEIGHT if o.weights else WEIGHT)
        if poses.names:
            embed(some, joints, search, splits=("train",))  # keeps what all people have in common
        start = time.perf_counter()
        made = embed(found, joints, search, splits=("query", "gallery"))
        speed = len(made.names) / (time.perf_counter() - start)
        print("{:<12} rank-1 {:5.1f}  mAP {:5.1f}  {:6.1f} images/s".format(text, *scores(made), speed))


if __name__ == "__main__":
    main()
