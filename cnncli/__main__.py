"""The entry point of `cnncli` and `python -m cnncli`: a running server answers, or this process does."""

import os
import sys


def main() -> None:
    from cnncli.serve import client

    code = client.ask(sys.argv[1:])
    if code is not None:
        os._exit(code)  # nothing was opened or written here
    from cnncli.cli import app

    app.main()


if __name__ == "__main__":
    main()
