"""The sample catalogue, and the setup of an empty store on its first start."""

from bookstore.cli.sample.first_start import ADMIN_EMAIL, CATALOGUE, load, prepare
