"""Names of a model's classes, and the few that a user asks for."""

import difflib

import numpy as np

from cnncli.errors import UsageError
from cnncli.io.weights import ModelInfo

MOST_LISTED = 30  # names in a message


def class_labels(model: ModelInfo, labels: tuple[str, ...]) -> tuple[str, ...]:
    """The model's class names, or the user's own, one for each. Outputs without a class have the name ""."""
    if not labels:
        return model.classes
    count = sum(1 for name in model.classes if name)
    if len(labels) != count:
        raise UsageError(f"--labels: {len(labels)} names for the {count} classes of {model.name}")
    own = iter(labels)
    return tuple(next(own) if name else "" for name in model.classes)


def class_indices(labels: tuple[str, ...], names: tuple[str, ...]) -> np.ndarray:
    """Positions of the wanted names in ascending order; of all that have a name, where none is asked for."""
    known = {label.casefold() for label in labels if label}
    for name in names:
        if name.casefold() not in known:
            close = difflib.get_close_matches(name.casefold(), sorted(known), 3)
            hint = f", perhaps {' or '.join(close)}" if close else ""
            if not hint and len(known) <= MOST_LISTED:
                hint = f"; it knows {', '.join(label for label in labels if label)}"
            raise UsageError(f"--classes: the model has no class '{name}'{hint}")
    chosen = {name.casefold() for name in names} or known
    return np.array([index for index, label in enumerate(labels) if label.casefold() in chosen])
