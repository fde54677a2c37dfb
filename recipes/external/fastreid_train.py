"""Purpose: train and test with fast-reid (JDAI-CV/fast-reid) on an augmented folder.

Needs:   a checkout of fast-reid on PYTHONPATH with its requirements, a GPU; a folder that patn-augment wrote.
Run:     PATN_FOLDER=Market-1501-p0.5 python recipes/external/fastreid_train.py --config-file
         recipes/external/fastreid_bagtricks.yml OUTPUT_DIR runs/fastreid-p0.5
Override: append KEY VALUE pairs, as for fast-reid's own tools/train_net.py

UNTESTED against fast-reid itself: it is no package and was not at hand. Written after its tools/train_net.py and
fastreid/data/datasets; a test here runs the registration against a stand-in for its registry. Its own Market1501 class
reads the folder as well (as DATASETS/Market-1501-v15.09.15), up to 1,501 identities and six cameras; the class below
knows no such bounds and leaves names to `reid_eval.datasets`.
"""

from __future__ import annotations

import os
from typing import Any

from fastreid.data.datasets import DATASET_REGISTRY
from fastreid.data.datasets.bases import ImageDataset

from reid_eval.datasets import read_dataset

Item = tuple[str, Any, Any]


@DATASET_REGISTRY.register()
class PatnFolder(ImageDataset):  # type: ignore[misc]
    """The data set at the path in the environment's PATN_FOLDER, of any layout that `reid_eval` knows."""

    _junk_pids = (0, -1)
    dataset_name = "patn"

    def __init__(self, root: str = "datasets", **options: Any) -> None:
        data = read_dataset(os.environ.get("PATN_FOLDER", root))

        def items(split: str) -> list[Item]:
            table = data.split(split)
            rows = zip(table["path"], table["pid"].tolist(), table["camid"].tolist(), strict=True)
            # As in fast-reid's classes: junk is left out, cameras count from 0, training labels carry the set's name.
            found = [(str(data.root / path), pid, camid - 1) for path, pid, camid in rows if pid != -1]
            return [(p, f"patn_{i}", f"patn_{c}") for p, i, c in found] if split == "train" else found

        super().__init__(items("train"), items("query"), items("gallery"), **options)


def main(arguments: Any) -> Any:
    """As tools/train_net.py: train, or test with --eval-only."""
    from fastreid.config import get_cfg
    from fastreid.engine import DefaultTrainer, default_setup
    from fastreid.utils.checkpoint import Checkpointer

    cfg = get_cfg()
    cfg.merge_from_file(arguments.config_file)
    cfg.merge_from_list(arguments.opts)
    cfg.freeze()
    default_setup(cfg, arguments)
    if arguments.eval_only:
        model = DefaultTrainer.build_model(cfg)
        Checkpointer(model).load(cfg.MODEL.WEIGHTS)
        return DefaultTrainer.test(cfg, model)
    trainer = DefaultTrainer(cfg)
    trainer.resume_or_load(resume=arguments.resume)
    return trainer.train()


if __name__ == "__main__":
    from fastreid.engine import default_argument_parser, launch

    given = default_argument_parser().parse_args()
    launch(
        main,
        given.num_gpus,
        num_machines=given.num_machines,
        machine_rank=given.machine_rank,
        dist_url=given.dist_url,
        args=(given,),
    )
