"""S-33: no regular expression of the program is slow on hostile input (ReDoS)."""

import importlib
import inspect
import pkgutil
import re
import time

import pytest

PACKAGES = ["bookstore", "actors", "web", "admin", "config"]
#: A pattern with quadratic runtime needs minutes for this length.
LENGTH = 50_000
#: A linear pattern needs a hundredth of this, also on a busy machine.
LIMIT_S = 1.0
METHODS = {
    "match": re.Pattern.match,
    "search": re.Pattern.search,
    "fullmatch": re.Pattern.fullmatch,
    "split": re.Pattern.split,
    "findall": re.Pattern.findall,
    "finditer": lambda pattern, text: list(pattern.finditer(text)),
    "sub": lambda pattern, text: pattern.sub("", text),
}
HOSTILE = {
    "letters": "a" * LENGTH,
    "digits": "1" * LENGTH,
    "spaces": " " * LENGTH,
    "lines": "\n" * LENGTH,
    "hyphens": "-" * LENGTH,
    "slashes": "/" * LENGTH,
    "dots": "." * LENGTH,
    "angles": "<" * LENGTH,
    "quotes": '"' * LENGTH,
    "brackets": "[" * LENGTH,
    "commas": "1," * (LENGTH // 2),
    "words": "ab " * (LENGTH // 3),
    "almost a declaration": "<?xml " * (LENGTH // 6),
    "almost a document type": "<!DOCTYPE a [" * (LENGTH // 13),
    "almost an address": "a@" * (LENGTH // 2),
    "almost an ISBN": "ISBN-13: 978" * (LENGTH // 12),
}


def patterns():
    for package in PACKAGES:
        root = importlib.import_module(package)
        for info in pkgutil.walk_packages(root.__path__, f"{package}."):
            if ".migrations" in info.name or info.name.startswith("actors"):
                continue  # Importing the actors creates their broker.
            module = importlib.import_module(info.name)
            source = inspect.getsource(module)
            for name, value in vars(module).items():
                uses = set(re.findall(rf"\b{name}\.(\w+)\(", source)) & METHODS.keys()
                if isinstance(value, re.Pattern) and uses:
                    yield pytest.param(value, sorted(uses), id=f"{info.name}.{name}")


@pytest.mark.parametrize(("pattern", "uses"), list(patterns()))
def test_s33_no_pattern_is_slow(pattern, uses):
    for kind, text in HOSTILE.items():
        for end in ("", "!", "\x00"):
            hostile = text + end
            subject = hostile.encode() if isinstance(pattern.pattern, bytes) else hostile
            for use in uses:
                started = time.process_time()
                METHODS[use](pattern, subject)
                assert time.process_time() - started < LIMIT_S, (kind, end, use)
