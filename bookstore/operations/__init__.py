"""Operation of the store: checks, metrics, database grants, housekeeping."""

from bookstore.operations import db_grants, doctor, housekeeping, metrics, startup_checks
