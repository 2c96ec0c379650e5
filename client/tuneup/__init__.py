"""The client of a tuneup service: create studies, wait for them, read what they found."""

from tuneup import errors
from tuneup.client import Client
from tuneup.study import Study
from tuneup.trial import Trial

__all__ = ["Client", "Study", "Trial", "errors"]
