"""cnncli: image analysis on convolutional networks, from the command line and as a library.

from cnncli import Predictor
records = Predictor("classify")(["photo.jpg"])
"""

TYPE_CHECKING = False  # the name that type checkers know; importing it would take a third of what a served command does
if TYPE_CHECKING:
    from cnncli.run.predictor import Predictor, verify

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__", "verify"]


def __getattr__(name: str) -> object:
    # loaded when asked for: the command line imports this package too, and its help must not wait for NumPy
    if name in ("Predictor", "verify"):
        from cnncli.run import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'cnncli' has no attribute {name!r}")
