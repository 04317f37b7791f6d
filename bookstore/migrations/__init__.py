"""How the tables came to be: one revision for each change, run in order by `bookstore.db`."""
