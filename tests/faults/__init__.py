"""Kills and cuts, and what a client, the database and the mailbox say afterwards."""
