"""Lists of names in files."""

import json
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
