"""`cnncli schema`."""

import json
from typing import Annotated

import typer

from cnncli.catalog import EXPLANATIONS, TASKS
from cnncli.cli.streams import print_out
from cnncli.errors import UsageError

KNOWN = (*TASKS, *(f"explain-{way}" for way in EXPLANATIONS))


def schema_command(
    task: Annotated[
        str, typer.Argument(help="A task, such as classify, or explain-cam.", autocompletion=lambda: list(KNOWN))
    ],
) -> int:
    """Print the JSON Schema of a task's record."""
    from cnncli.results.schema import schema

    if task not in KNOWN:
        raise UsageError(f"there is no task '{task}'; choose from {', '.join(KNOWN)}")
    print_out(json.dumps(schema(task), indent=2))
    return 0
