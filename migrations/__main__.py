"""`python -m migrations`: bring the database named by TUNEUP_DATABASE_URL to the newest revision."""

import sys

from sqlalchemy.exc import SQLAlchemyError

from migrations.upgrade import upgrade
from settings import load


def main() -> int:
    """Upgrade; say in one line what was done or what is wrong."""
    try:
        url = load().database_url
    except ValueError as error:
        sys.stderr.write(f"tuneup migrate: {error}\n")
        return 2
    try:
        upgrade(url)
    except SQLAlchemyError as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        sys.stderr.write(f"tuneup migrate: the database could not be upgraded: {reason}\n")
        return 1
    sys.stdout.write("the database is at the newest revision\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
