"""Inception score and Fréchet distance: the formulas, and the network both are defined with."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from augment.quality.extras import need, not_downloaded, read_state
from reid_eval.runtime import InputError, progress

SPLITS = 10
_BATCH = 32


class InceptionOutputs(NamedTuple):
    """`features` float64 `[N, 2048]` (pool3), `probabilities` float64 `[N, 1008]` (softmax of logits without bias)."""

    features: NDArray[np.float64]
    probabilities: NDArray[np.float64]


def inception_score(probabilities: NDArray[np.floating], splits: int = SPLITS) -> tuple[float, float]:
    """Salimans et al., NIPS 2016: exp of the mean divergence of each image's classes from the mean of all.

    Args:
        probabilities: `[N, C]`, rows sum to 1.
        splits: the score is taken of so many equal parts, in the order of the images, as the authors' code does.

    Returns:
        Mean and standard deviation over the parts; 1 (nothing told apart) to C; higher is better.

    Raises:
        InputError: fewer images than parts.
    """
    count = len(probabilities)
    if count < splits:
        raise InputError(f"the Inception score in {splits} parts needs as many images, got {count}")
    p = np.maximum(np.asarray(probabilities, np.float64), 1e-16)
    scores = []
    for number in range(splits):
        part = p[number * count // splits : (number + 1) * count // splits]
        scores.append(np.exp((part * (np.log(part) - np.log(part.mean(0, keepdims=True)))).sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def frechet_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Heusel et al., NIPS 2017: squared distance between Gaussians fitted to two sets of features.

    `|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`; the trace of the root is the sum of the roots of the
    eigenvalues of `C_a C_b`, which are those of the symmetric `C_a^(1/2) C_b C_a^(1/2)`.

    Args:
        a: `[N, D]`. With N not well above D the covariances are poor and the distance is biased upwards.
        b: `[M, D]`.

    Raises:
        InputError: fewer than two rows, or different widths.
    """
    if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1]:
        raise InputError(f"the Frechet distance needs two sets of two or more features, got {a.shape} and {b.shape}")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    ca, cb = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(ca)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ cb @ root)
    cross = np.sqrt(np.maximum(inner, 0)).sum()
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(max(shift + np.trace(ca) + np.trace(cb) - 2 * cross, 0.0))


class Inception:
    """The TensorFlow Inception of 2015-12-05 that IS, FID and the authors' code use, ported in torch-fidelity.

    Args:
        weights: torch-fidelity's `weights-inception-2015-12-05-6726825d.pth`; None downloads it with its own code.
        device: where to run.

    Raises:
        Unavailable: torch-fidelity is not installed, or the weights cannot be downloaded.
        InputError: the file does not fit.
    """

    def __init__(self, weights: Path | None = None, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.network: Any = _build(weights).to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> InceptionOutputs:
        """Look at uint8 RGB `[N, H, W, 3]`."""
        features, chances = [], []
        with progress("Inception", len(images)) as bar:
            for start in range(0, len(images), _BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH])).permute(0, 3, 1, 2)
                pooled, logits = self.network(batch.to(self.device))
                features.append(pooled.double().cpu())
                chances.append(logits.double().softmax(1).cpu())
                bar.advance(len(batch))
        if not features:
            return InceptionOutputs(np.empty((0, 2048)), np.empty((0, 1008)))
        return InceptionOutputs(torch.cat(features).numpy(), torch.cat(chances).numpy())


def _build(weights: Path | None) -> Any:
    module = need("torch_fidelity.feature_extractor_inceptionv3", "quality")

    def make(path: str | None) -> Any:
        return module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], path)

    if weights is None:
        try:
            return make(None)
        except Exception as error:  # no network, proxy errors, wrong hash
            raise not_downloaded("Inception", "inception", error) from error
    state = read_state(weights)
    with tempfile.TemporaryDirectory() as folder:  # torch-fidelity would run code that a file brings along
        safe = Path(folder) / "inception.pth"
        torch.save(state, safe)
        try:
            return make(str(safe))
        except (RuntimeError, AttributeError, TypeError) as error:
            first = str(error).splitlines()[0]
            raise InputError(f"{weights} does not fit torch-fidelity's Inception: {first}") from None
