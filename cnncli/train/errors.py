"""What can go wrong while a network learns."""

from cnncli.errors import CnncliError


class TrainingError(CnncliError):
    """Training can't go on: its loss is no number. What earlier epochs reached is kept."""

    exit_code = 1
