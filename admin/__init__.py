"""The dashboard of the staff, mounted under /admin."""
