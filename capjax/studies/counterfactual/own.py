"""The study with masks and a fill of one's own, for Python; nothing of it is stored by name."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from capjax.captioner import Captioner
from capjax.data.objects.region import ObjectSource, Region
from capjax.inpaint.fills.contract import Fill as NamedFill
from capjax.studies.counterfactual.named import remover
from capjax.studies.counterfactual.reading import Remover, pasted
from capjax.studies.counterfactual.removing import GivenObjects
from capjax.studies.counterfactual.study import Counterfactual
from capjax.types import Fill


@dataclasses.dataclass(frozen=True, eq=False)
class OwnCounterfactual(Counterfactual):
    """`Counterfactual` of given masks, or with a given fill.

    Attributes:
      given: objects of every photograph; None: those that `objects` names.
      painter: fills the masks; None: `fill` by name.
    """

    given: tuple[Region, ...] | None = None
    painter: Fill | None = None

    @classmethod
    def of(
        cls, masks: Any = None, fill: str | Fill | None = None, **options: Any
    ) -> "OwnCounterfactual":
        """The study of masks and a fill as `capjax.counterfactual` takes them.

        Raises:
          ValueError: masks of another kind or shape; what `Counterfactual` raises.
        """
        given = None if masks is None else given_regions(masks)
        if fill is None or isinstance(fill, str):
            named: dict[str, Any] = {} if fill is None else {"fill": fill}
            return cls(**options, **named, given=given)
        name = getattr(fill, "NAME", "own")
        return cls(**options, fill=name, given=given, painter=fill)

    def source(self, captioner: Captioner) -> ObjectSource:
        """The masks, where some are given."""
        return super().source(captioner) if self.given is None else GivenObjects(self.given)

    @property
    def by_path(self) -> bool:
        """See `Counterfactual`; given masks are of any photograph."""
        return self.given is None and super().by_path

    def remover(self, fill: str) -> Remover:
        """The fill of one's own, where there is one; masks of a plain function are not grown."""
        if self.painter is None or fill != self.fill:
            return super().remover(fill)
        if isinstance(self.painter, NamedFill):
            return remover(self.painter, self.dilate)
        return pasted(self.painter)


def given_regions(masks: Any) -> tuple[Region, ...]:
    """Regions of one mask [H W], several [N H W], or {name: mask}; what is not 0 is the object.

    Raises:
      ValueError: something else.
    """
    if isinstance(masks, Mapping):
        named: list[tuple[str | None, Any]] = [(str(name), mask) for name, mask in masks.items()]
    else:
        several = [masks] if getattr(masks, "ndim", 3) == 2 else masks
        if isinstance(several, str) or not (isinstance(several, Sequence | np.ndarray)):
            raise ValueError(
                f"got a {type(masks).__name__} for masks; expected {{name: mask [H W]}}, a list of "
                "masks or an array [N H W]; a file or a folder is objects=…"
            )
        named = [(None, mask) for mask in several]
    found = []
    for name, mask in named:
        array = np.asarray(mask)
        if array.ndim != 2:
            raise ValueError(f"got a mask of shape {array.shape}; expected [H W] of the photograph")
        found.append(Region(name, array > 0, "picture"))
    if not found:
        raise ValueError("got no masks; give one or more, or objects='proposals'")
    return tuple(found)
