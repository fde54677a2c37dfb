"""What a folder of photographs says of who may have it. The toolkit knows no licence but what users tell it."""

from __future__ import annotations

from augment.synth.dataset import FACTS
from reid_eval.datasets import ReidData


def photographs_note(data: ReidData, terms: str | None) -> str:
    """One line for whoever has just written a folder with these images in it; empty where all of them are drawn.

    Args:
        data: what was augmented.
        terms: of its photographs, in the user's words.
    """
    if (data.root / FACTS).is_file():
        return ""
    told = f"their terms: {terms}" if terms else "no terms were given; the manifest keeps them with --terms"
    return (
        f"The folder holds photographs of people, and images made from them: {told}. To share the work without them, "
        "share augmentation/plan.csv (docs/terms.md)."
    )
