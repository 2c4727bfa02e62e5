"""What the ways of looking inside a network find in a photo; each has its own entries."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Explanation:
    """`entries` of the record, a `summary` of one line for people, and what its picture is drawn from.

    `seen` is the network's input, uint8 (H, W, 3); `arrays` are the method's; both are empty once they are drawn.
    """

    entries: dict[str, Any]
    summary: str
    seen: "np.ndarray | None" = None
    arrays: "dict[str, np.ndarray]" = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {"explanation": self.entries}


SCHEMA: dict[str, Any] = {
    "explanation": {"type": ["object", "null"], "description": "what the method found; null on failure"},
}
EITHER = [{"required": ["explanation"]}]
