"""`python -m cnncli`."""

from cnncli.cli.app import main

if __name__ == "__main__":
    main()
