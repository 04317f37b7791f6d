"""What people and programs see: the REST API, the store's pages, sessions, live updates."""
