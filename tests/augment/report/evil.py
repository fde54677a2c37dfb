"""A name that would like to be code."""

from __future__ import annotations

EVIL = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
"""What a name must never become: part of the page's own code."""


def quiet(_: str) -> None:
    """Takes notes, and forgets them."""
