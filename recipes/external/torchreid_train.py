"""Purpose: train and test with torchreid (Zhou & Xiang, 2019) on an augmented folder, beside the original's figures.

Needs:   pip install torchreid gdown tensorboard; a Market-1501 folder or one that `patn-augment generate` wrote.
Run:     python recipes/external/torchreid_train.py Market-1501-p0.5 --out runs/torchreid-p0.5
Override: python recipes/external/torchreid_train.py Market-1501-p0.5 --out runs/osnet --model osnet_x1_0 --epochs 150

torchreid knows Market-1501 as ROOT/market1501/Market-1501-v15.09.15, so the folder is linked there under --out; it
reads the files as they are, generated ones among them. It tests on the query and gallery that the folder has. Data
sets of more than 1,501 identities or six cameras need a data set class of their own there.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def link(folder: Path, out: Path) -> Path:
    """The root that torchreid wants, with `folder` in it under the name that it knows."""
    place = out / "data" / "market1501" / "Market-1501-v15.09.15"
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        place.unlink()
    place.symlink_to(folder.resolve(), target_is_directory=True)
    return out / "data"


def train(options: argparse.Namespace) -> None:
    """Train, then test; torchreid prints rank-k and mAP."""
    import torch
    from torchreid.reid import data, engine, models, optim

    on_gpu = torch.cuda.is_available()
    manager = data.ImageDataManager(
        root=str(link(options.folder, options.out)),
        sources="market1501",
        height=options.height,
        width=options.width,
        batch_size_train=options.batch_size,
        batch_size_test=100,
        transforms=["random_flip", "random_crop"],
        workers=options.workers,
        use_gpu=on_gpu,
    )
    model = models.build_model(
        options.model, manager.num_train_pids, loss="softmax", pretrained=options.imagenet, use_gpu=on_gpu
    )
    model = model.cuda() if on_gpu else model
    optimizer = optim.build_optimizer(model, optim="adam", lr=3e-4)
    scheduler = optim.build_lr_scheduler(optimizer, lr_scheduler="single_step", stepsize=max(1, options.epochs // 3))
    runner = engine.ImageSoftmaxEngine(manager, model, optimizer, scheduler, use_gpu=on_gpu, label_smooth=True)
    runner.run(save_dir=str(options.out / "log"), max_epoch=options.epochs, print_freq=50, ranks=options.ranks)


def main(arguments: list[str] | None = None) -> None:
    """Read the options, train."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="Market-1501 layout")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="resnet50", help="a name of torchreid's zoo")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 5, 10, 20], help="within the gallery's size")
    parser.add_argument("--imagenet", action="store_true", help="start from ImageNet weights, which are downloaded")
    train(parser.parse_args(arguments))


if __name__ == "__main__":
    main()
