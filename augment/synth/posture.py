"""How someone stands and is seen, apart from who it is: what one person can take over from another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from augment.synth.gait import Motion
from augment.synth.identity import Identities
from augment.synth.view import View


@dataclass(frozen=True)
class Posture:
    """A batch of motions, each with the view and the box of the body it was made for.

    Attributes:
        motion: what the joints do.
        view: direction, distance and box, in metres, as they fit the body it was made for.
        stature: `[B]` metres, of that body.
        arm_swing: `[B]`, how far that person's arms swing; the one thing of a walk that `motion` does not hold.
        key: int64 `[B]`, tells one posture from another; the noise of a picture hangs on it.
    """

    motion: Motion
    view: View
    stature: Tensor
    arm_swing: Tensor
    key: Tensor

    def worn_by(self, people: Identities) -> tuple[Identities, View]:
        """The people with their arms swinging as here, and the view that shows them where that body was shown.

        Bodies are shares of stature, so a view that is larger by as much shows the joints at the same place of the box
        (but for what differs besides stature: width of shoulders and hips, thickness of clothes). For the body it was
        made for both are what they were, to the last bit.
        """
        share = people.stature / self.stature
        view = self.view._replace(
            distance=self.view.distance * share,
            centre=self.view.centre * share[:, None],
            extent=self.view.extent * share[:, None],
        )
        return replace(people, arm_swing=self.arm_swing), view

    def each(self, function: Callable[[Tensor], Tensor]) -> Posture:
        """With `function` applied to every tensor."""
        return Posture(
            motion=Motion(**{name: function(value) for name, value in vars(self.motion).items()}),
            view=View(*(function(value) for value in self.view)),
            stature=function(self.stature),
            arm_swing=function(self.arm_swing),
            key=function(self.key),
        )

    def split(self, size: int) -> list[Posture]:
        """In pieces of `size`, the last one smaller."""
        rows = torch.arange(len(self.key), device=self.key.device).split(size)
        return [self.each(lambda value, one=one: value[one]) for one in rows]  # type: ignore[misc]
