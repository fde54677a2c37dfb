"""What `patn-augment poses` does between reading options and printing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from augment.estimators.build import COMMAND, EstimatorOptions, build_estimator
from augment.estimators.estimate import check_found, estimate_folder, share_found, skeleton_sheet
from augment.pose.keypoints import Keypoints, find_annotations, read_keypoints, write_keypoints
from augment.pose.library import frame_of, shipped_library, with_between, with_mirrored
from reid_eval.runtime import InputError, resolve_device, sha256_file, write_json

Say = Callable[[str], None]


def find_poses(
    root: Path,
    name: str,
    out: Path | None,
    say: Say,
    *,
    weights: Path | None = None,
    prototxt: Path | None = None,
    threshold: float | None = None,
    height: int = 512,
    batch_size: int | None = None,
    png: Path | None = None,
    target: Path | None = None,
    resume: bool = False,
    device: str = "auto",
) -> Path:
    """Find the joints of a folder's images, write file, sheet and shares. Returns the annotation file.

    Raises:
        InputError: see `estimate_folder` and `build_estimator`; a file that is there already.
    """
    program = name.startswith(COMMAND)
    kind = "command" if program else name
    out = out or _default_out(root, kind)
    if out.exists() and not resume:
        raise InputError(f"{out} is there already: give another --out, or remove it")
    facts = {
        "estimator": name,
        "weights_sha256": sha256_file(weights) if weights else None,
        "threshold": threshold,
        "height": height,
    }
    estimator = build_estimator(name, EstimatorOptions(weights, prototxt, threshold, height, resolve_device(device)))
    png = png or out.with_suffix(".sheet.png")
    if out.exists():
        say(f"{out} is finished already.")
        table = read_keypoints(out)
    else:
        table = estimate_folder(
            root, out, estimator, facts, batch_size=batch_size or (256 if program else 32), resume=resume
        )
    share = share_found(table)
    say(share.message)
    check_found(share, kind)
    skeleton_sheet(root, table, png)
    if target:
        write_json(target, {**asdict(share), **facts, "estimator": kind})
    say(f"Wrote {out} and {png}")
    own = find_annotations(root)
    if out not in own:
        say(f"Use it with --keypoints {out}" + (f" ({root} has {own[0].name} of its own)" if own else ""))
    return out


def _default_out(root: Path, kind: str) -> Path:
    """Where commands find it; never beside another such file, since all of them are read together."""
    out = root / f"keypoints-{kind}.csv"
    others = [path.name for path in sorted(root.glob("keypoints-*.csv")) if path != out]
    if others:
        raise InputError(f"{root} has {others[0]} already, and files of that name are read together: give --out FILE")
    return out


def make_library(
    out: Path,
    source: Path | None,
    between: int,
    mirrored: bool,
    size: tuple[int, int] | None,
    png: Path | None,
    say: Say,
) -> None:
    """`patn-augment pose-library`: write a library, the shipped one or the user's, with poses between and mirrored."""
    library = read_keypoints(source) if source else shipped_library()
    if between:
        library = with_between(library, between)
    if mirrored:
        library = with_mirrored(library, size)
    write_keypoints(out, library)
    say(f"Wrote {out}: {len(library)} poses, {int(library.usable.sum())} of them with both shoulders and both hips")
    if png:
        library_sheet(library, png, size)
        say(f"Wrote {png}")


def library_sheet(
    library: Keypoints, target: Path, size: tuple[int, int] | None = None, count: int = 120, columns: int = 12
) -> None:
    """PNG of poses of a library, spread over it."""
    import numpy as np

    from augment.pictures import grid, save_sheet
    from augment.pose.draw import skeleton_image

    which = np.linspace(0, len(library) - 1, min(count, len(library))).round().astype(int).tolist()
    cells = [skeleton_image(library.xy[row], frame_of(library.names[row]) or size or (128, 64)) for row in which]
    save_sheet(grid([cells[i : i + columns] for i in range(0, len(cells), columns)], scale=1), target)
