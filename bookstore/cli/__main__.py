"""`python -m bookstore.cli`."""

from bookstore.cli.main import main

if __name__ == "__main__":
    main()
