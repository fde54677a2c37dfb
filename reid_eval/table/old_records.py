"""Records of earlier versions, made into those of this one."""

from __future__ import annotations

from typing import Any

from reid_eval.foreign import read_foreign
from reid_eval.limits import MOST_TABLE_BYTES
from reid_eval.runtime import InputError
from reid_eval.table.cells import Record, Records, cell_key


def convert_old(records: Records) -> int:
    """Give old records of a folder the keys of this version; returns how many there were.

    Facts used to say `amp: auto`, whatever it came to; what it came to stands in `made`. The record is written under
    its new key, then the old one is removed. Several processes may do so at once.

    Raises:
        InputError: an old record that cannot be read, was edited, or does not say its precision.
    """
    return sum(_convert(records, key) for key in records)


def _convert(records: Records, key: str) -> bool:
    path = records.path(key)
    try:
        if b'"amp":"auto"' not in read_foreign(path, MOST_TABLE_BYTES):
            return False
    except OSError:  # another process was faster, or it is no record: who needs it says so
        return False
    try:
        old = records.read(key)
    except InputError:
        if path.is_file():
            raise
        return False
    settings: Any = old.facts.get("settings")
    if not isinstance(settings, dict) or settings.get("amp") != "auto":
        return False
    if old.made.get("amp") not in ("bf16", "off"):
        raise InputError(f"{path} does not say in what precision it was made: delete it, and the cell is made again")
    facts = {**old.facts, "settings": {**settings, "amp": old.made["amp"]}}
    records.write(Record(key=cell_key(facts), facts=facts, scores=old.scores, queries=old.queries, made=old.made))
    path.unlink(missing_ok=True)
    return True
