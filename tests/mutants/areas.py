"""What is mutated, and which tests are asked."""

from __future__ import annotations

from dataclasses import dataclass

Functions = tuple[str, ...] | None


@dataclass(frozen=True)
class Area:
    """Modules (with qualified names of functions, or None for all of it) and test files, from the repository's root."""

    modules: dict[str, Functions]
    tests: tuple[str, ...]


AREAS: dict[str, Area] = {
    "plan": Area(
        {f"augment/plan/{name}.py": None for name in ("sampler", "donors", "file", "infer")},
        ("tests/augment/plan", "tests/augment/gate/test_redraw.py"),
    ),
    "ranking": Area(
        {"reid_eval/ranking.py": None, "reid_eval/chunked.py": None},
        ("tests/reid_eval/test_reid_ranking.py", "tests/reid_eval/test_reid_chunked.py"),
    ),
    "keypoints": Area(
        {"augment/pose/keypoints.py": None},
        tuple(f"tests/augment/pose/{name}.py" for name in ("test_keypoints", "test_plausible")),
    ),
    "checkpoint": Area(
        {
            "augment/generators/patn/train.py": (
                "train_generator", "_begin", "save_checkpoint", "load_checkpoint", "Scalars", "_Loop.__init__",
                "_Loop.run", "_Loop._out_of_time", "_Loop._look", "_Loop._stop_at_chance", "_random_state", "_advice",
                "_kept",
            ),
            "augment/generators/patn/state.py": (
                "TrainState", "build_state", "_start_from", "_load_adam",
            ),
            "augment/generators/patn/image_pool.py": ("ImagePool.state_dict", "ImagePool.load_state_dict"),
            "augment/generators/patn/settings.py": ("PATNTrainSettings.check_resumes",),
            "augment/runs.py": ("trim_log", "_is_done"),
            "reid_eval/torch_file.py": None,
        },
        ("tests/reid_eval/test_torch_file.py",
         *(f"tests/augment/generators/{name}.py" for name in
           ("test_train", "test_train_parts", "test_checkpoint", "test_any_depth"))),
    ),
    "manifest": Area(
        {"augment/folder/manifest.py": None, "augment/folder/plan_parquet.py": None},
        (*(f"tests/augment/folder/{name}.py" for name in
           ("test_manifest", "test_verify", "test_tars", "test_plan_parquet")),
         "tests/augment/plan/test_outputs.py"),
    ),
}  # fmt: skip
