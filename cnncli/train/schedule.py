"""Learning rates as a function of the step alone, so that a run can go on anywhere."""

import math

STEPS_DOWN = (0.6, 0.85)  # parts of the run after which "step" divides the rate by ten


def rate_factor(schedule: str, step: int, steps: int, warmup: float) -> float:
    """What the learning rate is multiplied with at a step of `steps`; it first rises over the part `warmup` of them.

    "cosine": Loshchilov & Hutter 2017, "SGDR", eq. 5, one cycle.
    """
    rising = max(1, round(warmup * steps))
    factor = min(1.0, (step + 1) / rising)
    part = step / max(steps, 1)
    if schedule == "cosine":
        return factor * 0.5 * (1 + math.cos(math.pi * part))
    if schedule == "step":
        return factor * 0.1 ** sum(part >= down for down in STEPS_DOWN)
    return factor
