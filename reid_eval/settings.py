"""What determines a training, and the presets. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from reid_eval.runtime import InputError

CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "adam"),
    "schedule": ("step", "cosine"),
    "amp": ("auto", "bf16", "off"),
    "distance": ("cosine", "euclidean"),
    "neck": ("none", "bnneck"),
    "sampler": ("shuffle", "pk"),
    "generated_label": ("hard", "lsr", "lsro"),
}
LOSSES = ("id", "triplet")
LATER = (
    "neck", "losses", "triplet_margin", "triplet_weight", "sampler", "images_per_id", "generated_label",
    "generated_smoothing", "generated_weight", "generated_share", "rerank",
)  # fmt: skip
"""Settings that came after the first records: `facts` tells them only where they differ from their default."""


@dataclass(frozen=True)
class TrainSettings:
    """Everything that determines a run, apart from the images.

    Epochs are passes over the data set that sets the budget: the original one, in a comparison.
    """

    backbone: str = "resnet50"
    """`resnet50`, `inception_v2` or `torchreid:NAME`."""
    init: str = "scratch"
    """`scratch`, `imagenet`, or the path of a weights file."""
    last_stride: int = 2
    neck: str = "none"
    """`bnneck` puts batch normalisation without a bias between features and classifier; its output is what is ranked,
    its input what the triplet loss sees (Luo et al., CVPRW 2019)."""
    size: tuple[int, int] = (128, 64)
    """(H, W) in pixels; images are resized to it."""
    epochs: int = 60
    max_steps: int = 0
    """Stop growing with the data set: at most so many optimisation steps, over which the schedule stretches; 0: off."""
    batch_size: int = 32
    optimizer: str = "sgd"
    """`sgd` (Nesterov, momentum 0.9) or `adam`."""
    lr: float = 0.05
    trunk_lr_factor: float = 1.0
    """The trunk learns at `lr` times this where `init` is not `scratch`; the classifier always at `lr`."""
    weight_decay: float = 5e-4
    schedule: str = "step"
    """`step` multiplies the rate by `lr_gamma` at each epoch of `lr_steps`; `cosine` falls to 0 at the end."""
    lr_steps: tuple[int, ...] = ()
    lr_gamma: float = 0.1
    warmup_epochs: float = 0.0
    """The rate rises linearly over so many epochs."""
    flip: bool = True
    """Mirror every second image on average."""
    pad: int = 0
    """Shift images by up to so many pixels either way, black at the border; 0 for none."""
    erasing: float = 0.0
    """Probability of random erasing (Zhong et al., AAAI 2020)."""
    label_smoothing: float = 0.0
    """Share of a label's mass that is spread over all identities (Szegedy et al., CVPR 2016)."""
    losses: tuple[str, ...] = ("id",)
    """`id` (cross-entropy over identities), `triplet` (batch-hard, Hermans et al., 2017), or both, summed."""
    triplet_margin: float = 0.3
    triplet_weight: float = 1.0
    sampler: str = "shuffle"
    """`shuffle`, or `pk`: batches of P identities with K = `images_per_id` images each, P = batch_size / K."""
    images_per_id: int = 4
    generated_label: str = "hard"
    """Label of generated images: `hard` (as of real ones), `lsr` (smoothed by `generated_smoothing`) or `lsro` (uniform
    over all identities, Zheng, Zheng & Yang, ICCV 2017; such images are no part of triplets)."""
    generated_smoothing: float = 0.1
    generated_weight: float = 1.0
    """Of a generated image in the losses; real ones have 1. The mean is weighted."""
    generated_share: float = 0.0
    """Share of generated images in every batch, with `pk` of every identity's K; 0: free, as many as come."""
    bn_batches: int = 0
    """After training, measure batch normalisation's statistics anew over so many batches; 0 keeps the running ones,
    which lag behind a short training (Wu & Johnson, Rethinking "Batch" in BatchNorm, 2021)."""
    seed: int = 0
    device: str = "auto"
    amp: str = "auto"
    """`auto`: bfloat16 where the device computes it fast; `bf16`; `off`."""
    eval_flip: bool = True
    """Average the features of an image and of its mirror image."""
    eval_batch_size: int = 128
    distance: str = "cosine"
    rerank: bool = False
    """Rank by k-reciprocal encoding (Zhong et al., CVPR 2017; k1 20, k2 6, lambda 0.3)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(self.size))
        object.__setattr__(self, "lr_steps", tuple(self.lr_steps))
        object.__setattr__(self, "losses", tuple(self.losses))
        faults = _faults(self)
        if faults:
            raise InputError(f"training settings: {'; '.join(faults)}")

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain values that JSON keeps."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def facts(self) -> dict[str, Any]:
        """What bears on the scores, for a hash: without the device, and without later settings left at their default.

        A setting that is added with its old behaviour as default thus changes no hash.
        """
        plain = {field.name: field.default for field in fields(self) if field.name in LATER}
        told = {key: value for key, value in self.to_dict().items() if key != "device"}
        return {key: value for key, value in told.items() if key not in LATER or getattr(self, key) != plain[key]}

    def without_generated(self) -> TrainSettings:
        """Settings that speak of generated images at their defaults: all the same to a training without any."""
        plain: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name.startswith("generated_")}
        return replace(self, **plain)


def _faults(settings: TrainSettings) -> list[str]:
    faults = []
    for key, known in CHOICES.items():
        if getattr(settings, key) not in known:
            faults.append(f"{key} is {getattr(settings, key)!r}, choose from {', '.join(known)}")
    for key, least in (
        ("epochs", 1),
        ("batch_size", 2),
        ("eval_batch_size", 1),
        ("pad", 0),
        ("max_steps", 0),
        ("bn_batches", 0),
        ("images_per_id", 2),
        ("triplet_margin", 0),
        ("triplet_weight", 0),
        ("generated_weight", 0),
    ):
        if getattr(settings, key) < least:
            faults.append(f"{key} is {getattr(settings, key)}, expected at least {least}")
    for key in ("erasing", "label_smoothing", "generated_smoothing", "generated_share"):
        if not 0 <= getattr(settings, key) <= 1:
            faults.append(f"{key} is {getattr(settings, key)}, expected 0 to 1")
    for key in ("lr", "trunk_lr_factor"):
        if getattr(settings, key) <= 0:
            faults.append(f"{key} is {getattr(settings, key)}, expected more than 0")
    if len(settings.size) != 2 or min(settings.size) < 32:
        faults.append(f"size is {settings.size}, expected (H, W) of at least 32 each")
    if unknown := sorted(set(settings.losses) - set(LOSSES)):
        faults.append(f"losses are {', '.join(unknown)}, choose from {', '.join(LOSSES)}")
    if not settings.losses or len(set(settings.losses)) < len(settings.losses):
        faults.append(f"losses are {list(settings.losses)}, expected one or more of {', '.join(LOSSES)}, each once")
    if settings.sampler == "pk" and settings.batch_size % settings.images_per_id:
        faults.append(f"batch_size {settings.batch_size} is no multiple of images_per_id {settings.images_per_id}")
    return faults


PRESETS: dict[str, TrainSettings] = {
    # For a look within minutes on two CPU cores, not for a paper: small images, few steps, from scratch.
    "quick": TrainSettings(
        size=(128, 64),
        epochs=12,
        max_steps=240,
        batch_size=16,
        optimizer="adam",
        lr=5e-4,
        schedule="cosine",
        warmup_epochs=1.0,
        pad=4,
        bn_batches=8,
    ),
    # The baseline of the years of PATN: Zheng, Yang & Hauptmann, Person Re-identification: Past, Present and Future,
    # 2016 (IDE: classify identities, compare the pooled features), with the numbers of Zheng's public code
    # (layumi/Person_reID_baseline_pytorch): 256x128, batch 32, SGD 0.05, trunk at a tenth of it when pretrained,
    # tenfold decay after 40 of 60 epochs, pad 10 and crop, flip.
    "ide": TrainSettings(
        size=(256, 128),
        epochs=60,
        batch_size=32,
        lr=0.05,
        trunk_lr_factor=0.1,
        lr_steps=(40,),
        pad=10,
    ),
    # Luo et al., Bag of Tricks and a Strong Baseline for Deep Person Re-identification, CVPRW 2019, with the numbers of
    # their code (michuanhaohao/reid-strong-baseline, softmax_triplet.yml); all tricks but the centre loss, which that
    # file leaves out too. recipes/reid_bot.yaml says where each number is from.
    "bot": TrainSettings(
        last_stride=1,
        neck="bnneck",
        size=(256, 128),
        epochs=120,
        batch_size=64,
        optimizer="adam",
        lr=3.5e-4,
        lr_steps=(40, 70),
        warmup_epochs=10.0,
        pad=10,
        erasing=0.5,
        label_smoothing=0.1,
        losses=("id", "triplet"),
        sampler="pk",
        eval_flip=False,
    ),
}


def settings_from(preset: str = "quick", overrides: Mapping[str, Any] | None = None) -> TrainSettings:
    """A preset with some of its keys changed; a value of None leaves the preset's.

    Raises:
        InputError: unknown preset, unknown keys (the message lists the known ones), or values out of range.
    """
    if preset not in PRESETS:
        raise InputError(f"preset {preset!r}: choose from {', '.join(PRESETS)}")
    changes = {key: value for key, value in (overrides or {}).items() if value is not None}
    known = [field.name for field in fields(TrainSettings)]
    unknown = sorted(set(changes) - set(known))
    if unknown:
        raise InputError(f"unknown training settings {', '.join(unknown)}; the known ones are {', '.join(known)}")
    defaults = PRESETS[preset]
    wrong = [f"{key} is {value!r}" for key, value in changes.items() if not _same_kind(value, getattr(defaults, key))]
    if wrong:
        raise InputError(f"training settings of the wrong type: {'; '.join(wrong)}")
    return replace(defaults, **changes)


def preset_name(settings: TrainSettings) -> str:
    """The preset that `settings` equal but for backbone, weights, seed, device and precision; `custom` for none."""
    free = ("backbone", "init", "seed", "device", "amp")
    for name, preset in PRESETS.items():
        if replace(preset, **{key: getattr(settings, key) for key in free}) == settings:
            return name
    return "custom"


def _same_kind(value: Any, example: Any) -> bool:
    if isinstance(example, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(example, bool)
    if isinstance(example, float):
        return isinstance(value, (int, float))
    if isinstance(example, tuple):
        kind = str if example and isinstance(example[0], str) else int
        return isinstance(value, (tuple, list)) and all(isinstance(item, kind) for item in value)
    return isinstance(value, type(example))
