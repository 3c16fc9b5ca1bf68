"""What a number may be: one check for flags, files and calls."""

import math
import struct

from goalward.errors import UserError

INT32 = 2**31 - 1  # counters of steps and rows are of this type
SEEDS = (0, 2**32 - 1)
_LEAST_NORMAL = 2.0**-126  # of 32-bit floats; processors take smaller ones as 0


def check_number(name: str, value: int | float, low: int | float, high: int | float) -> None:
    """Raise `UserError`, naming the limits, for a number that does not lie in low … high, both included.

    Training computes with 32-bit floats: a float counts as what they make of it, and none but 0 may become 0.
    """
    seen, least, most = map(float32, (value, low, high)) if type(value) is float else (value, low, high)
    if least <= seen <= most and bool(seen) == bool(value):
        return
    shown = str(value) if abs(value) < 10**40 or type(value) is float else "a number of more than 40 digits"
    rounded = f", which is {seen:g} in 32-bit arithmetic" if low <= value <= high else ""
    limits = " … ".join(f"{limit:.8g}" if type(limit) is float else f"{limit:,}" for limit in (low, high))
    raise UserError(f"{name} is {shown}{rounded}; it must lie in {limits}")


def float32(value: int | float) -> float:
    """The 32-bit float that a number becomes: infinite if it is too large, 0 if it is too small."""
    try:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return 0.0 if abs(rounded) < _LEAST_NORMAL else rounded


def to_float(value: int | float) -> float:
    """A whole number as a float: infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
