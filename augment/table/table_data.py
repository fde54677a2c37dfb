"""Opens the data set of a table, and says by what hash it enters the keys of the cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augment.folder.manifest import file_entries
from augment.pose.check import check_keypoints
from augment.pose.keypoints import Keypoints, load_annotations
from augment.synth.dataset import SynthSettings, embedded_dataset, facts
from augment.table.table_recipe import FolderData, SynthData
from reid_eval.datasets import ReidData, check_images, read_dataset
from reid_eval.harness import check_test
from reid_eval.runtime import InputError, resolve_device, sha256_bytes
from reid_eval.table import cell_key


@dataclass(frozen=True, eq=False)
class TableData:
    """A data set, the hash of all in it that bears on a score, and the joints of its images."""

    reid: ReidData
    sha256: str
    """Of the files and joints, or of the settings where it is synthetic."""
    keypoints: Keypoints | None
    drawn: SynthSettings | None = None
    """What it was drawn with, if it was."""

    def joints(self) -> Keypoints:
        """Joints of the images.

        Raises:
            InputError: there are none.
        """
        if self.keypoints is None:
            raise InputError("this table needs keypoints: give data.keypoints in the recipe")
        return self.keypoints


def open_data(source: SynthData | FolderData, device: str) -> TableData:
    """Read the data set, drawing it if it is synthetic and not there yet.

    Raises:
        InputError: no such data set, no query or gallery, unreadable images, or keypoints that do not fit.
    """
    if isinstance(source, SynthData):
        drawn = source.settings()
        root, _ = embedded_dataset(drawn, resolve_device(device))
        found = TableData(read_dataset(root), cell_key({"synth": facts(drawn)}), load_annotations(root), drawn)
    else:
        root = Path(source.root)
        data = read_dataset(root, source.layout)
        check_images(data)
        files = files_sha(data, ("train", "query", "gallery"))
        keypoints = load_annotations(root, Path(source.keypoints) if source.keypoints else None)
        keypoints = check_keypoints(data, keypoints).judged or keypoints
        joints = sha256_bytes("\n".join(keypoints.names).encode() + keypoints.xy.tobytes())
        found = TableData(data, cell_key({"files": files, "keypoints": joints}), keypoints)
    check_test(found.reid)
    return found


def files_sha(data: ReidData, splits: tuple[str, ...]) -> str:
    """SHA-256 of the file names and bytes of some splits."""
    entries = file_entries(data.root, [path for split in splits for path in data.split(split)["path"]])
    lines = [f"{split}\t{path}\t{entries[path].sha256}" for split in splits for path in data.split(split)["path"]]
    return sha256_bytes("\n".join(lines).encode())
