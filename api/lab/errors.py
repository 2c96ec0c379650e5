"""Why the lab gives no answer now.

TuneupError
 └── LabUnavailable   what it needs is not installed, or its process does not start or answer
      └── LabBusy     too many wait already, or an answer took too long; it passes by itself
"""

from search.errors import TuneupError


class LabUnavailable(TuneupError):
    """The lab cannot answer; the message says what to do."""


class LabBusy(LabUnavailable):
    """The lab cannot answer now; the same question may be asked again in a moment."""
