"""A small catalogue of our own, and what a store needs on its first day."""

from bookstore.cli.sample.first_start import ADMIN_EMAIL, CATALOGUE, load, prepare
