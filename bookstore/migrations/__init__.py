"""Alembic migrations: one revision for each change, run in order by `database.engine.upgrade`."""
