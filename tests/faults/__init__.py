"""Kills and network cuts, and the state of clients, database and mailbox afterwards."""
