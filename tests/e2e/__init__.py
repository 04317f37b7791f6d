"""The store as its users run it: its own programs, real servers, HTTP from outside."""
