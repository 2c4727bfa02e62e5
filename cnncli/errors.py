"""Every error that a user can meet, each with the exit code that a shell script sees.

The message is one sentence that names the thing and the way out; only `cli` prints it.
"""

from collections.abc import Sequence


class CnncliError(Exception):
    """Base of all expected errors; anything else that escapes is a bug (exit code 70)."""

    exit_code = 1


class InputError(CnncliError):
    """One input can't be read or analysed: its record says so and the run goes on."""

    exit_code = 1


class UsageError(CnncliError):
    """The command can't run as it was asked: found before anything runs."""

    exit_code = 2


class WeightsError(CnncliError):
    """Weights are missing, corrupt or made for another task."""

    exit_code = 3


class DeviceError(CnncliError):
    """The device asked for is absent, or out of memory even for a single image."""

    exit_code = 4


class OutOfMemoryError(CnncliError):
    """One call of an engine did not fit; the run answers by halving the batch."""

    exit_code = 4


class NotDecodedError(CnncliError):
    """A device's decoder can't read some photos of a batch: the CPU's, which judges damage, takes these over."""

    def __init__(self, photos: Sequence[object]):
        super().__init__(f"{len(photos)} photos can't be decoded on the device")
        self.photos = photos


class OutputError(CnncliError):
    """A result can't be written (disk full, permission); the run can be resumed."""

    exit_code = 74


class OutputClosedError(CnncliError):
    """The reader of standard output has gone (`| head`): the run ends quietly."""

    exit_code = 0


class InterruptedRunError(BaseException):
    """Ctrl-C (130) or SIGTERM (143): what was recorded stays, `--resume` goes on.

    No `Exception`: whoever turns errors of any kind into a sentence about a file must not take it for one. Nor a
    `KeyboardInterrupt`, which the parser of the command line answers by itself.
    """

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code
