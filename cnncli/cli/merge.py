"""`cnncli merge`."""

from pathlib import Path
from typing import Annotated

import typer

from cnncli.errors import UsageError


def merge_command(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="The records files of all shards.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write here instead of standard output.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
) -> int:
    """Join the records of shards in the order of the inputs.

    Proves that no input is missing or there twice, and that all shards were made with the same model and options.
    """
    from cnncli.io.atomic import output_file
    from cnncli.io.lines import to_line, write_all
    from cnncli.run.merge import merge
    from cnncli.run.outputs import check_folder

    if out is None:
        for record in merge(files):
            write_all(1, to_line(record), "standard output")
        return 0
    check_folder(out.parent, "--out")
    if out.exists() and any(file.exists() and out.samefile(file) for file in files):
        raise UsageError(f"{out}: is one of the shards, which are never overwritten; choose another place")
    if out.exists() and not overwrite:
        raise UsageError(f"{out}: exists; use --overwrite")
    with output_file(out) as file:
        for record in merge(files):
            file.write(to_line(record))
    return 0
