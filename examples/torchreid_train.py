"""Purpose: train and test with torchreid, with generated images swapped in at a rate, its data set left as it is.

Needs:   pip install torchreid gdown tensorboard; a data set folder, and the one that `patn-augment generate` wrote.
Run:     python examples/torchreid_train.py Market-1501 Market-1501-aug --out runs/torchreid-mixed
Override: --model resnet50 --height 256 --width 128 --epochs 60 --batch-size 32 --workers 4 --rate 0.3

To train on the augmented folder itself, which torchreid reads as it is, see recipes/external/torchreid_train.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torchreid.reid import data, engine, models, optim

from augment import AugmentedDataset
from reid_eval.datasets import read_dataset


class Folder(data.ImageDataset):
    """Any folder that `reid_eval` reads, as a data set of torchreid: labels and cameras count from 0."""

    def __init__(self, root: str = "", **options: Any) -> None:
        found = read_dataset(root)
        self.label_of = {pid: label for label, pid in enumerate(sorted(set(found.train["pid"].tolist())))}
        train, query, gallery = (
            [(str(found.root / row.path), row.pid, row.camid - 1) for row in table.itertuples() if row.pid != -1]
            for table in (found.train, found.query, found.gallery)
        )
        super().__init__([(p, self.label_of[i], c) for p, i, c in train], query, gallery, **options)


class Engine(engine.ImageSoftmaxEngine):
    """torchreid's, which also tells the data set which epoch it is."""

    def train(self, **options: Any) -> None:
        """One epoch."""
        self.train_loader.dataset.set_epoch(self.epoch)
        super().train(**options)


def main(arguments: list[str] | None = None) -> None:
    """Train, then test; torchreid prints rank-k and mAP."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="the data set")
    parser.add_argument("augmented", type=Path, help="the same, augmented")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0.3, help="share of images to swap")
    parser.add_argument("--model", default="osnet_x0_25", help="a name of torchreid's zoo")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    o = parser.parse_args(arguments)
    gpu = torch.cuda.is_available()
    data.register_image_dataset("folder", Folder)
    manager = data.ImageDataManager(
        root=str(o.folder), sources="folder", height=o.height, width=o.width, transforms=["random_flip"],
        batch_size_train=o.batch_size, workers=o.workers, use_gpu=gpu,
    )  # fmt: skip
    loader = manager.train_loader
    mixed = AugmentedDataset(
        loader.dataset, o.augmented, rate=o.rate, transform=manager.transform_tr,
        label=loader.dataset.label_of.get, camera=lambda camid: camid - 1,
    )  # fmt: skip
    options = {"batch_size": o.batch_size, "num_workers": o.workers, "drop_last": True}
    manager.train_loader = torch.utils.data.DataLoader(mixed, sampler=loader.sampler, **options)
    model = models.build_model(o.model, manager.num_train_pids, pretrained=False, use_gpu=gpu)
    model = model.to("cuda" if gpu else "cpu")
    optimizer = optim.build_optimizer(model)
    runner = Engine(manager, model, optimizer, optim.build_lr_scheduler(optimizer, stepsize=20), use_gpu=gpu)
    runner.run(save_dir=str(o.out / "log"), max_epoch=o.epochs, print_freq=50, ranks=[1])


if __name__ == "__main__":
    main()
