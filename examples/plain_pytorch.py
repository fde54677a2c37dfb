"""Purpose: train a network to tell people apart in plain PyTorch, with generated images swapped in at a rate.

Needs:   a data set folder, and the one that `patn-augment generate FOLDER --out AUGMENTED` wrote of it.
Run:     python examples/plain_pytorch.py Market-1501 Market-1501-aug
Override: --model resnet50 --size 256 128 --epochs 60 --batch-size 64 --workers 4 --rate 0.3 --weight 0.5
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torchvision.models import get_model
from torchvision.transforms import v2

from augment import AugmentedDataset
from reid_eval.datasets import read_dataset


class Photos(torch.utils.data.Dataset):
    """Anybody's data set: `(image, label, camera)`, labels counted from 0."""

    def __init__(self, root: Path, transform: v2.Compose) -> None:
        self.data, self.transform = read_dataset(root), transform
        self.label_of = {pid: label for label, pid in enumerate(sorted(set(self.data.train["pid"].tolist())))}

    def __len__(self) -> int:
        return len(self.data.train)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        row = self.data.train.iloc[index]
        image = Image.open(self.data.root / row["path"]).convert("RGB")
        return self.transform(image), self.label_of[row["pid"]], int(row["camid"])


def small(people: int) -> nn.Module:
    """Three convolutions, for a try on a CPU."""
    sizes = ((3, 16), (16, 32), (32, 64))
    layers = [one for a, b in sizes for one in (nn.Conv2d(a, b, 3, 2), nn.BatchNorm2d(b), nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, people))


def main(arguments: list[str] | None = None) -> None:
    """Train; print an epoch's loss and how many of its images were generated."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="the data set")
    parser.add_argument("augmented", type=Path, help="the same, augmented")
    parser.add_argument("--rate", type=float, default=0.3, help="share of images to swap")
    parser.add_argument("--weight", type=float, default=1.0, help="of a generated image in the loss")
    parser.add_argument("--model", default="small", help="small, or a name that torchvision has")
    parser.add_argument("--size", type=int, nargs=2, default=[128, 64], metavar=("H", "W"))
    for name, value in (("epochs", 2), ("batch-size", 8), ("workers", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    o = parser.parse_args(arguments)
    steps = [v2.Resize(o.size), v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    photos = Photos(o.folder, v2.Compose([*steps, v2.Normalize([0.5], [0.5])]))
    mixed = AugmentedDataset(photos, o.augmented, rate=o.rate, transform=photos.transform, label=photos.label_of.get)
    loader = torch.utils.data.DataLoader(mixed, o.batch_size, shuffle=True, num_workers=o.workers, drop_last=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    people = len(photos.label_of)
    model = small(people) if o.model == "small" else get_model(o.model, num_classes=people)
    optimizer = torch.optim.AdamW(model.to(device).parameters())
    for epoch in range(o.epochs):
        mixed.set_epoch(epoch)  # another draw each epoch, the same whenever this is run
        total = made = 0.0
        for images, labels, _, generated in loader:
            losses = nn.functional.cross_entropy(model(images.to(device)), labels.to(device), reduction="none")
            loss = (losses * torch.where(generated, o.weight, 1.0).to(device)).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total, made = total + loss.item(), made + generated.sum().item()
        print(f"epoch {epoch}: loss {total / len(loader):.3f}, {made:.0f} generated images")


if __name__ == "__main__":
    main()
