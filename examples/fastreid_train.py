"""Purpose: train and test with fast-reid (JDAI-CV/fast-reid), with generated images swapped in at a rate.

Needs:   a checkout of fast-reid on PYTHONPATH with its requirements, a GPU; DATASETS/Market-1501-v15.09.15, and the
         folder that `patn-augment generate` wrote of it.
Run:     FASTREID_DATASETS=DATASETS PATN_AUGMENTED=Market-1501-aug python examples/fastreid_train.py
         --config-file FASTREID/configs/Market1501/bagtricks_R50.yml OUTPUT_DIR runs/fastreid-mixed
Override: PATN_RATE=0.5; append KEY VALUE pairs, as for fast-reid's own tools/train_net.py

UNTESTED against fast-reid itself, which is no package and was not at hand: written after its `fastreid.data.build`,
`fastreid.data.common` and `fastreid.engine`; a test compiles this file, no more. To train on the augmented folder
itself, and on data sets that fast-reid does not know, see recipes/external/fastreid_train.py.
"""

from __future__ import annotations

import os
from typing import Any

from fastreid.config import get_cfg
from fastreid.data import build_reid_train_loader
from fastreid.data.common import CommDataset
from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.data.transforms import build_transforms
from fastreid.engine import DefaultTrainer, default_argument_parser, default_setup, launch
from fastreid.engine.train_loop import HookBase

from augment import AugmentedDataset

KEYS = ("images", "targets", "camids", "img_paths")


class NextDraw(HookBase):  # type: ignore[misc]
    """Tells the data set which epoch it is; loaders that read ahead follow a few batches late."""

    def before_epoch(self) -> None:
        """Called by the trainer."""
        self.trainer.mixed.set_epoch(self.trainer.epoch)


class Trainer(DefaultTrainer):  # type: ignore[misc]
    """fast-reid's, on a mixed training set; its items gain the key `generated`, which the losses may look at."""

    mixed: AugmentedDataset

    @classmethod
    def build_train_loader(cls, cfg: Any) -> Any:
        """Wrap the data set that fast-reid would read, and let it build the loader."""
        transforms = build_transforms(cfg, is_train=True)
        (name,) = cfg.DATASETS.NAMES
        real = DATASET_REGISTRY.get(name)(root=os.environ.get("FASTREID_DATASETS", "datasets"))
        photos = CommDataset(real.train, transforms, relabel=True)
        cls.mixed = AugmentedDataset(
            photos, os.environ["PATN_AUGMENTED"], rate=float(os.environ.get("PATN_RATE", "0.3")), keys=KEYS,
            transform=transforms, label=lambda pid: photos.pid_dict.get(f"{real.dataset_name}_{pid}"),
            camera=lambda camid: photos.cam_dict.get(f"{real.dataset_name}_{camid - 1}"),
        )  # fmt: skip
        return build_reid_train_loader(cfg, train_set=cls.mixed)


def main(arguments: Any) -> Any:
    """As tools/train_net.py trains."""
    cfg = get_cfg()
    cfg.merge_from_file(arguments.config_file)
    cfg.merge_from_list(arguments.opts)
    cfg.freeze()
    default_setup(cfg, arguments)
    trainer = Trainer(cfg)
    trainer.register_hooks([NextDraw()])
    trainer.resume_or_load(resume=arguments.resume)
    return trainer.train()


if __name__ == "__main__":
    given = default_argument_parser().parse_args()
    launch(main, given.num_gpus, given.num_machines, given.machine_rank, given.dist_url, args=(given,))
