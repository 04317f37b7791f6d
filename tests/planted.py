"""Twelve kinds of secrets that the tests use, and a ledger that finds leaks.

Six secrets are planted: all servers and stores of the tests are configured with them. The stores
issue the other six kinds themselves; the ledger learns them from the one place that must contain
them. Everything that the stores log, print, write into e-mails and files, send to the broker or
respond with an error is searched for all secrets, in every test. A leak fails the test. The
failure names the kind of secret and the place, and does not repeat the secret.
"""

import base64
import io
import re
import zipfile
from collections import deque
from collections.abc import Collection, Iterable
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from pathlib import Path
from typing import Any

SECRET_KEY = "planted-Qm3xT8-secret-key-that-signs-and-seals"
DATABASE = "planted-Zk7vW2-database"
BROKER = "planted-Hd4nB9-broker"
MAIL = "planted-Lp6sY1-mail"
ADMINISTRATOR = "planted-Rt5cJ3-administrator"
CUSTOMER = "planted-Vg8fM4-customer"
PLANTED = {
    SECRET_KEY: "secret key",
    DATABASE: "database's password",
    BROKER: "broker's password",
    MAIL: "mail server's password",
    ADMINISTRATOR: "administrator's password",
    CUSTOMER: "customer's password",
}
SESSION, TOKEN, SEED, CODE = "session", "API token", "TOTP seed", "recovery code"
LINK, GUEST = "link in an e-mail", "guest's access token"
KINDS = (*PLANTED.values(), SESSION, TOKEN, SEED, CODE, LINK, GUEST)

#: Secrets issued by the stores have at least this length and this alphabet.
_WORD = re.compile(r"[A-Za-z0-9_-]{16,}")
#: A database file has no separators between texts, so it is searched for each secret one by one:
#: for this many of the latest secrets.
_RECENT = 200
#: The size of a page in an SQLite file.
_PAGE = 4096
#: One-time links in e-mails; the last part of the path is the secret.
_LINK = re.compile(r"/(?:verify-email|reset-password)/([0-9]+-[A-Za-z0-9_-]{43})")


class Ledger:
    """All secrets and searched words so far, and the leaks found."""

    def __init__(self) -> None:
        self.leaks: list[str] = []
        self._secrets: dict[str, str] = {}
        self._seen_words: dict[str, str] = {}
        self._ignored_pages: set[bytes] = set()
        self._link_emails: dict[str, str] = {}
        self._recent: deque[tuple[str, str]] = deque(maxlen=_RECENT)
        # HTTP and SMTP sign-in send passwords in base64.
        self._planted = {
            spelling: kind
            for secret, kind in PLANTED.items()
            for spelling in (secret, *_in_base64(secret))
        }

    def learn(self, kind: str, secret: str) -> None:
        """Add a secret that a store issued. It leaks if it was seen before."""
        if secret in self._seen_words:
            self._leaked(kind, self._seen_words[secret])
        if secret not in self._secrets:
            self._recent.append((secret, kind))
        self._secrets[secret] = kind

    def search(
        self, text: str, place: str, *, allowed: Collection[str] = (), own: str = ""
    ) -> None:
        """Search the text of a place for secrets.

        Secrets of the kinds in `allowed` are permitted there, and those contained in `own`, the
        request that the text responds to.
        """
        self._search_planted(text, place)
        for word in set(_WORD.findall(text)):
            if word in own:
                continue
            kind = self._secrets.get(word)
            if kind is None:
                if not allowed:
                    self._seen_words.setdefault(word, place)
            elif kind not in allowed:
                self._leaked(kind, place)

    def email(self, email: EmailMessage, place: str) -> None:
        """Search an e-mail. A one-time link must not occur in a second e-mail."""
        body = email.get_body(("plain",))
        text = body.get_content() if body else ""
        message_id = str(email["Message-ID"])
        for token in _LINK.findall(text):
            if self._link_emails.setdefault(token, message_id) != message_id:
                self._leaked(LINK, f"a second e-mail ({place})")
            self.learn(LINK, token)
        # Every mail server on the way reads the headers, so they must contain no link.
        self.search("\n".join(f"{name}: {value}" for name, value in email.items()), place)
        self.search(text, place, allowed=(LINK, GUEST))

    def file(self, path: Path) -> None:
        """Search a file that a store wrote."""
        place = path.name
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # SQLite removes its journal when the last connection ends.
            return
        if path.suffix == ".eml":
            email: Any = BytesParser(policy=default).parsebytes(content)
            self.email(email, place)
        elif path.suffix.startswith(".db"):
            self.database(content, place)
        else:
            self.content(content, place)

    def database(self, content: bytes, place: str) -> None:
        """Search the pages of a database file, except those of `ignore`."""
        pages = (page for page in _pages(content) if page not in self._ignored_pages)
        text = b"".join(pages).decode("latin-1")
        self._search_planted(text, place)
        for secret, kind in self._recent:
            if secret in text:
                self._leaked(kind, place)

    def ignore(self, content: bytes) -> None:
        """Search the pages of this database file, a template, only this time."""
        self.database(content, "the template of all databases")
        self._ignored_pages.update(_pages(content))

    def content(self, content: bytes, place: str) -> None:
        """Search the content of a file, including the parts of a workbook."""
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    self.search(archive.read(name).decode("latin-1"), f"{place}/{name}")
        else:
            self.search(content.decode("latin-1"), place)

    def folder(self, folder: Path) -> None:
        """Search all files in a store's folder: e-mails, exports, database, log."""
        # E-mails first, because the ledger learns the links from them.
        paths = [path for path in folder.rglob("*") if path.is_file()]
        for path in sorted(paths, key=lambda path: path.suffix != ".eml"):
            self.file(path)

    def take_leaks(self) -> list[str]:
        """The leaks since the last call: `["The session in store.log", ...]`."""
        leaks, self.leaks = self.leaks, []
        return list(dict.fromkeys(leaks))

    def _search_planted(self, text: str, place: str) -> None:
        for spelling, kind in self._planted.items():
            if spelling in text:
                self._leaked(kind, place)

    def _leaked(self, kind: str, place: str) -> None:
        self.leaks.append(f"The {kind} in {place}")


def _pages(content: bytes) -> Iterable[bytes]:
    return (content[start : start + _PAGE] for start in range(0, len(content), _PAGE))


def _in_base64(secret: str) -> Iterable[str]:
    """The forms of the secret inside base64 text, for each possible offset."""
    for before in range(3):
        raw = b"\0" * before + secret.encode()
        # Each base64 character has six bits; those at the edges mix with the neighbouring bytes.
        yield base64.b64encode(raw).decode()[-(-before * 8 // 6) : len(raw) * 8 // 6]


def without_words(path: str) -> str:
    """The path with possible secrets replaced."""
    return _WORD.sub("...", path)


#: The ledger of this process.
LEDGER = Ledger()
