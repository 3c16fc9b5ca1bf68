"""The errors that are shown to people as one message, without traceback."""


class UserError(Exception):
    """A mistake the user can mend. Exit code 2."""


class MachineError(Exception):
    """A fault of the machine, such as a full disk. Exit code 1."""


class DivergedError(Exception):
    """A loss or parameter became NaN or Inf. Exit code 1."""
