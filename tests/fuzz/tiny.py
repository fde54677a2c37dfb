"""Settings of the smallest training of an estimator."""

from __future__ import annotations

from augment.estimators.posenet.training_settings import PoseTrainSettings

POSES = PoseTrainSettings(
    network="posenet_tiny", identities=2, images_per_id=2, cameras=1, pool=2, steps_per_generation=2, steps=2,
    batch_size=4, log_every=1, checkpoint_every=1,
)  # fmt: skip
