"""Give every person of a re-identification data set more poses.

`augment.load_generator(name_or_path, device=...)` loads a generator; nothing heavy is imported before that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from augment.generators.patn.load import load_generator as load_generator

    __version__: str


def __getattr__(name: str) -> Any:
    if name == "load_generator":
        from augment.generators.patn.load import load_generator

        return load_generator
    if name == "__version__":
        from augment.runs import package_version

        return package_version("patn-augment")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
