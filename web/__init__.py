"""The HTTP interface: REST API, store pages, sessions and live updates."""
