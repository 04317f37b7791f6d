"""The shopper's pages.  They work without scripts; what has changed is shown after a redirect."""
