"""`python -m migrations`: upgrade the database named by TUNEUP_DATABASE_URL."""

from migrations.upgrade import upgrade

if __name__ == "__main__":
    upgrade()
