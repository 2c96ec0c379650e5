"""The revisions lead from nothing to exactly the tables in `models.tables`, whoever runs them and however often."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Inspector, inspect

from migrations.upgrade import ROOT, config, is_current, upgrade
from models.session import Database
from models.tables import Table

_STUDY = """INSERT INTO study (id, project_id, name, state, definition, labels, queue, seed, budget, allocated, drawn,
    running, finished, seq, created_at, paused_seconds)
    VALUES (1, 1, 's', 'running', '{}', '{}', 'cpu', 1, 9, 2, 2, 0, 2, 3, '2026-01-01', 0)"""
_TRIAL = """INSERT INTO trial (study_id, number, state, queue, origin, score, why, attempt, seq, created_at)
    VALUES (1, {number}, 'completed', 'cpu', 'random', {score}, '{{}}', 1, {number}, '2026-01-01')"""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Yield an empty database."""
    made = Database(database_url)
    yield made
    made.dispose()


def _url(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def test_upgrade_leads_from_nothing_to_the_tables(database: Database) -> None:
    assert not database.read(is_current)
    upgrade(_url(database))
    assert database.read(is_current)
    assert database.read(_differences) == []


def test_upgrade_twice_changes_nothing(database: Database) -> None:
    upgrade(_url(database))
    upgrade(_url(database))
    assert database.read(_differences) == []


def test_constraints_are_the_ones_of_the_tables(database: Database) -> None:
    """Alembic compares neither checks nor the options of foreign keys; so compare with what the tables make."""
    Table.metadata.create_all(database.engine)
    made = _constraints(database)
    Table.metadata.drop_all(database.engine)
    upgrade(_url(database))
    assert _constraints(database) == made
    assert any("within_budget" in text for text in made)


def test_down_and_up_again(database: Database) -> None:
    upgrade(_url(database))
    command.downgrade(config(_url(database)), "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    assert not database.read(is_current)
    upgrade(_url(database))
    assert database.read(_differences) == []


def test_results_without_constraints_are_feasible(database: Database) -> None:
    command.upgrade(config(_url(database)), "0003")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO project (id, name, created_at) VALUES (1, 'p', '2026-01-01')")
        connection.exec_driver_sql(_STUDY)
        for number, score in ((0, "0.5"), (1, "NULL")):
            connection.exec_driver_sql(_TRIAL.format(number=number, score=score))
    upgrade(_url(database))
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT number, score, violation FROM trial ORDER BY number").all()
    assert [tuple(row) for row in found] == [(0, 0.5, 0.0), (1, None, None)]


def test_trials_outlive_warm_starts(database: Database) -> None:
    command.upgrade(config(_url(database)), "0005")
    with database.engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO project (id, name, created_at) VALUES (1, 'p', '2026-01-01')")
        connection.exec_driver_sql(_STUDY)
        connection.exec_driver_sql(_TRIAL.format(number=0, score="0.5"))
    upgrade(_url(database))
    command.downgrade(config(_url(database)), "0005")
    upgrade(_url(database))
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT trial.number, reserved FROM trial JOIN study ON study_id = id").all()
    assert [tuple(row) for row in found] == [(0, 0)]


def test_migrators_at_once_all_succeed(database: Database) -> None:
    """Processes, as containers that start together are."""
    environment = {"TUNEUP_DATABASE_URL": _url(database), "PATH": ""}
    started = [
        subprocess.Popen([sys.executable, "-m", "migrations"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in started] == [(b"", 0)] * 2
    assert database.read(is_current)
    assert database.read(_differences) == []


def test_an_unknown_revision_is_not_current(database: Database) -> None:
    upgrade(_url(database))
    with database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'from-the-future'")
    assert not database.read(is_current)


def _differences(connection: object) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})  # type: ignore[arg-type]
    return list(compare_metadata(context, Table.metadata))


def _constraints(database: Database) -> list[str]:
    found: Inspector = inspect(database.engine)
    return sorted(
        f"{table} {constraint}"
        for table in Table.metadata.tables
        for constraint in (
            *(str(sorted(check.items())) for check in found.get_check_constraints(table)),
            *(str(sorted(key.items(), key=str)) for key in found.get_foreign_keys(table)),
            *(str(sorted(key.items(), key=str)) for key in found.get_unique_constraints(table)),
            *(str(sorted(index.items(), key=str)) for index in found.get_indexes(table)),
            str(found.get_pk_constraint(table)),
        )
    )
