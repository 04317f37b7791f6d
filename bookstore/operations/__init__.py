"""What an operator needs: checks, metrics, grants, housekeeping."""

from bookstore.operations import db_grants, doctor, housekeeping, metrics, startup_checks
