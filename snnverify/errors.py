"""The exception tree.

::

    SnnverifyError            everything a user can cause; the command line prints it as one line and exits with 2
    ├── ConfigError           an option, a key or a name that cannot be followed (names it, its value and the way out)
    ├── DataError             an input file or array that cannot be used
    ├── NetworkError          layers that do not fit together, parameters out of range
    ├── Unsupported           something that a network, a conversion or an oracle cannot express
    ├── CodecError            a case, trace or network file that cannot be read
    ├── EvidenceError         a report that holds too little to be judged
    ├── GoldenError           a recorded truth that is missing, damaged, orphaned or not confirmed
    └── OracleError           another implementation that raised an exception, or cannot be asked
        ├── OracleDied        one that crashed, hung or talked nonsense
        └── Unavailable       one that is not installed
"""

from __future__ import annotations


class SnnverifyError(Exception):
    """Base of all errors that a caller can cause and mend."""


class ConfigError(SnnverifyError, ValueError):
    """An option, key or name that cannot be followed."""


class DataError(SnnverifyError, ValueError):
    """An input file or array that cannot be used."""


class NetworkError(SnnverifyError, ValueError):
    """Layers that do not fit together, or parameters out of range."""


class Unsupported(SnnverifyError):
    """Something that cannot be expressed; nothing is ever dropped silently.

    Parameters
    ----------
    where : str
        Module path or layer name, for example ``features.3``.
    what : str
        The operation and why it cannot be expressed.
    remedy : str
        What the user can do.
    """

    def __init__(self, where: str, what: str, remedy: str = "") -> None:
        super().__init__(where, what, remedy)
        self.where, self.what, self.remedy = where, what, remedy

    def __str__(self) -> str:
        """One line: place, reason, way out."""
        return f"{self.where}: {self.what}" + (f"; {self.remedy}" if self.remedy else "")


class CodecError(SnnverifyError, ValueError):
    """A case, trace or network file that cannot be read."""


class EvidenceError(SnnverifyError):
    """A report that holds too little to be judged."""


class GoldenError(SnnverifyError):
    """A recorded truth that is missing, damaged, orphaned or not confirmed; names the command that mends it."""


class OracleError(SnnverifyError):
    """Another implementation that raised an exception, or cannot be asked; names it, with the end of what it printed."""


class OracleDied(OracleError):
    """Another implementation whose process crashed, hung or talked nonsense: no answer, and so no evidence."""


class Unavailable(OracleError):
    """An implementation that is not installed; names the command that installs it."""
