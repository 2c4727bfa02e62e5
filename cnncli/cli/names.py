"""Names, numbers and choices as options give them."""

import json
import math
from pathlib import Path

from cnncli.errors import UsageError


def chosen_names(option: str, text: str | None) -> tuple[str, ...]:
    """Names that an option gives, separated by commas or in @FILE; none where it was not given."""
    if text is None:
        return ()
    names = read_names(text[1:]) if text.startswith("@") else tuple(p.strip() for p in text.split(",") if p.strip())
    if not names:
        raise UsageError(f"{option} names nothing; leave it out for all")
    return names


def read_names(path: str | Path) -> tuple[str, ...]:
    """Names from a file: one a line, or a JSON array."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: the names can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: the names are not in UTF-8") from error
    if text.lstrip().startswith("["):
        try:
            names = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{path}: is no JSON array of names ({error})") from error
        return tuple(str(name) for name in names)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def numbers(option: str, text: str) -> tuple[float, ...]:
    """Numbers separated by commas."""
    return tuple(number_or(option, part.strip()) for part in text.split(","))


def number_or(option: str, text: str, word: str | None = None) -> float | None:
    """A number; None for the word that stands for none."""
    if text == word:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{option} {text}: give a number" + (f" or {word}" if word else ""))
    return value


def only_one(flags: dict[str, bool]) -> str | None:
    """The flag that is set; UsageError where several are."""
    chosen = [name for name, is_set in flags.items() if is_set]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} contradict each other; give one of them")
    return chosen[0] if chosen else None
