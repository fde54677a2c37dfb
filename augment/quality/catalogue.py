"""The metrics by name: what each is, its unit, which way is better, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        title: for people.
        unit: of its value.
        better: `higher`, `lower`, or `near 1`.
        source: the paper or code that defines it.
        pairs_only: it compares with the real image in the target pose.
    """

    title: str
    unit: str
    better: str
    source: str
    pairs_only: bool = False


_AUTHORS = "PATN authors' tool/"

METRICS: dict[str, Metric] = {
    "l1": Metric("L1", "images in [-1, 1]: 1 is 127.5 grey levels", "lower", _AUTHORS + "getMetrics_market.py", True),
    "ssim": Metric(
        "SSIM, as the authors", "-1 to 1", "higher",
        _AUTHORS + "getMetrics_market.py: Gaussian weights, data range of the generated image", True,
    ),
    "mask_ssim": Metric(
        "mask-SSIM, as the authors", "-1 to 1", "higher",
        _AUTHORS + "getMetrics_market.py; mask: produce_ma_mask of the target pose, or given", True,
    ),
    "ssim_standard": Metric("SSIM, standard", "-1 to 1", "higher", "Wang et al., TIP 2004, data range 255", True),
    "sharpness": Metric(
        "sharpness of the person", "gradient energy over the photo's", "near 1",
        "own: mean absolute gradients of luma without periods 2, 4, 8; above 1.05 is artefact", True,
    ),
    "sharpness_outside": Metric(
        "sharpness outside", "gradient energy over the photo's", "near 1", "own: as sharpness, around the person", True
    ),
    "grid": Metric(
        "grid", "power over its neighbourhood", "near 1",
        "own: highest peak of the mean spectrum at periods 2, 4, 8; after Odena et al., Distill 2016",
    ),
    "kid": Metric(
        "KID (MobileNetV2)", "squared discrepancy", "lower",
        "Binkowski et al., ICLR 2018, by torchmetrics; features of an ImageNet network that trains nothing",
    ),
    "imagenet_distance": Metric(
        "ImageNet distance (MobileNetV2)", "0 to 16", "lower",
        "own: LPIPS without its heads (Zhang et al., CVPR 2018), by a network that trains nothing", True,
    ),
    "retrieval_rank1": Metric(
        "retrieval, rank-1", "share of queries", "higher",
        "own: generated queries, real photos by other cameras, a re-ID network that saw real people only", True,
    ),
    "retrieval_map": Metric("retrieval, mAP", "0 to 1", "higher", "own: as retrieval_rank1", True),
    "lpips": Metric("LPIPS (AlexNet)", "distance", "lower", "Zhang et al., CVPR 2018, heads of torchmetrics", True),
    "is": Metric("Inception score", "exp(nats)", "higher", "Salimans et al., NIPS 2016; 10 splits as the authors"),
    "mask_is": Metric("mask-IS", "exp(nats)", "higher", "Ma et al., NIPS 2017; mask as in mask_ssim"),
    "fid": Metric("FID", "squared feature distance", "lower", "Heusel et al., NIPS 2017, against real images"),
    "pckh": Metric(
        "PCKh", "share of joints", "higher",
        _AUTHORS + "calPCKH_market.py: head box of nose, neck, eyes, ears; 0.5 of it along each axis",
    ),
    "ds": Metric("DS (person detector)", "score, 0 to 1", "higher", "Siarohin et al., CVPR 2018: highest person score"),
    "identity": Metric(
        "identity similarity", "cosine", "higher", "re-ID features of generated and condition image"
    ),
    "colour": Metric(
        "clothes' colour drift", "CIE76 delta E", "lower", "own: mean colours of body parts against the condition's"
    ),
    "diversity": Metric(
        "pose diversity", "torso lengths", "higher", "own: mean distance between two poses of an identity"
    ),
    "coverage": Metric(
        "pose coverage", "share of 108 poses", "higher", "own: library poses nearest to one of an identity's images"
    ),
}  # fmt: skip

ARITHMETIC = (
    ("l1",), ("ssim",), ("mask_ssim",), ("ssim_standard",), ("sharpness", "sharpness_outside"), ("grid",), ("colour",),
    ("diversity",), ("coverage",),
)  # fmt: skip
"""The metrics that no network looks for; those that share work stand together."""
