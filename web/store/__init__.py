"""The store's pages."""

from web.store import (
    assets,
    display_settings,
    flash,
    formatting,
    forms,
    html,
    legal_pages,
    rendering,
    routes,
)
