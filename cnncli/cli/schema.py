"""`cnncli schema`."""

import json
from typing import Annotated

import typer

from cnncli.catalog import TASKS
from cnncli.cli.streams import print_out
from cnncli.errors import UsageError


def schema_command(
    task: Annotated[str, typer.Argument(help="A task, such as classify.", autocompletion=lambda: list(TASKS))],
) -> int:
    """Print the JSON Schema of a task's record."""
    from cnncli.results.schema import schema

    if task not in TASKS:
        raise UsageError(f"there is no task '{task}'; choose from {', '.join(TASKS)}")
    print_out(json.dumps(schema(task), indent=2))
    return 0
