"""S-46: all requirements are pinned with hashes and have no known vulnerabilities."""

import re
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = ["requirements.lock", "requirements-test.lock"]
#: From the advisories of each project: the first release without a vulnerability that affects us.
FIRST_SAFE = {
    "aiohttp": "3.14.3",
    "cryptography": "44.0.1",
    "jinja2": "3.1.6",
    "lxml": "6.0.0",
    "mako": "1.2.2",
    "pillow": "12.0.0",
    "pymysql": "1.1.1",
    "setuptools": "78.1.1",
    "urllib3": "2.5.0",
    "yarl": "1.9.0",
}
PINNED = re.compile(
    r"^([A-Za-z0-9_.-]+)==([^ \\;]+)(?:[^\n]*\\\n(?:    --hash=\S+(?: \\)?\n)+)?", re.M
)


def pinned(lock):
    text = (ROOT / lock).read_text("utf-8")
    return {match[1].lower(): (match[2], match[0]) for match in PINNED.finditer(text)}


@pytest.mark.parametrize("lock", LOCKS)
def test_s46_every_requirement_is_pinned_with_its_hashes(lock):
    found = pinned(lock)

    assert len(found) > 30
    assert [name for name, (_, entry) in found.items() if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_s46_no_requirement_has_a_known_vulnerability(lock):
    old = {
        name: version
        for name, (version, _) in pinned(lock).items()
        if name in FIRST_SAFE and Version(version) < Version(FIRST_SAFE[name])
    }

    assert old == {}
