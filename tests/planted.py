"""Twelve kinds of secrets that the tests use, and what finds them where they do not belong.

Six are planted: the servers and stores of all tests are made with them.  The others are given
out by the stores themselves, and learnt from the one place that must carry them.  Whatever the
stores log, print, write into letters and files, send to the broker or answer when they refuse is
searched for all of them, in whichever test it was said.  A test that made a store tell a secret
fails, and its failure names the secret and the place, and does not tell it again.
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
LINK, GUEST = "link in a letter", "guest's access token"
KINDS = (*PLANTED.values(), SESSION, TOKEN, SEED, CODE, LINK, GUEST)

#: What the stores give out is no shorter, and made of these.
_WORD = re.compile(r"[A-Za-z0-9_-]{16,}")
#: In a database nothing stands between one text and the next, so there all secrets are looked
#: for one by one: these many, the last that were learnt.
_RECENT = 200
#: The letters' links that open something once; their ends are the secret.
_LINK = re.compile(r"/(?:verify-email|reset-password)/([0-9]+-[A-Za-z0-9_-]{43})")


class Ledger:
    """Who may know what: the secrets so far, all that was said so far, and what was told."""

    def __init__(self) -> None:
        self.leaks: list[str] = []
        self._secrets: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._letters: dict[str, str] = {}
        self._recent: deque[tuple[str, str]] = deque(maxlen=_RECENT)
        # A password is often told in the disguise of HTTP's and SMTP's plain sign-in.
        self._planted = {
            spelling: kind
            for secret, kind in PLANTED.items()
            for spelling in (secret, *_in_base64(secret))
        }

    def learn(self, kind: str, secret: str) -> None:
        """A store gave this secret out."""
        if secret in self._said:
            self._leaked(kind, self._said[secret])
        if secret not in self._secrets:
            self._recent.append((secret, kind))
        self._secrets[secret] = kind

    def search(
        self, text: str, place: str, *, allowed: Collection[str] = (), own: str = ""
    ) -> None:
        """Note what was said in a place.

        There, secrets of the kinds that are `allowed` may stand, and those that are in `own`:
        whoever asked for it knew them.
        """
        self._search_planted(text, place)
        for word in set(_WORD.findall(text)):
            if word in own:
                continue
            kind = self._secrets.get(word)
            if kind is None:
                if not allowed:
                    self._said.setdefault(word, place)
            elif kind not in allowed:
                self._leaked(kind, place)

    def letter(self, letter: EmailMessage, place: str) -> None:
        """Note a letter: a link that opens something once stands in no other one."""
        body = letter.get_body(("plain",))
        text = body.get_content() if body else ""
        message_id = str(letter["Message-ID"])
        for token in _LINK.findall(text):
            if self._letters.setdefault(token, message_id) != message_id:
                self._leaked(LINK, f"a second letter ({place})")
            self.learn(LINK, token)
        # Its headers alone are read by every mail server on the way, and no link belongs there.
        self.search("\n".join(f"{name}: {value}" for name, value in letter.items()), place)
        self.search(text, place, allowed=(LINK, GUEST))

    def file(self, path: Path) -> None:
        """Note what a store wrote for others to read."""
        place = path.name
        content = path.read_bytes()
        if path.suffix == ".eml":
            letter: Any = BytesParser(policy=default).parsebytes(content)
            self.letter(letter, place)
        elif path.suffix.startswith(".db"):
            self.database(content, place)
        else:
            self.content(content, place)

    def database(self, content: bytes, place: str) -> None:
        """Note what a store keeps for itself."""
        text = content.decode("latin-1")
        self._search_planted(text, place)
        for secret, kind in self._recent:
            if secret in text:
                self._leaked(kind, place)

    def content(self, content: bytes, place: str) -> None:
        """Note a file's content; workbooks are looked into."""
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    self.search(archive.read(name).decode("latin-1"), f"{place}/{name}")
        else:
            self.search(content.decode("latin-1"), place)

    def folder(self, folder: Path) -> None:
        """Note all that a store wrote into a folder: letters, lists, its database, its log."""
        # Letters first: they say which links there are.
        paths = [path for path in folder.rglob("*") if path.is_file()]
        for path in sorted(paths, key=lambda path: path.suffix != ".eml"):
            self.file(path)

    def told(self) -> list[str]:
        """What leaked since this was asked last: `["The session in store.log", ...]`."""
        leaks, self.leaks = self.leaks, []
        return list(dict.fromkeys(leaks))

    def _search_planted(self, text: str, place: str) -> None:
        for spelling, kind in self._planted.items():
            if spelling in text:
                self._leaked(kind, place)

    def _leaked(self, kind: str, place: str) -> None:
        self.leaks.append(f"The {kind} in {place}")


def _in_base64(secret: str) -> Iterable[str]:
    """How the secret looks inside of anything that is written in base64, whatever precedes it."""
    for before in range(3):
        raw = b"\0" * before + secret.encode()
        # Six bits make a letter; those at the edges are shared with what stands beside it.
        yield base64.b64encode(raw).decode()[-(-before * 8 // 6) : len(raw) * 8 // 6]


def without_words(path: str) -> str:
    """A path that may hold a secret, fit to be shown."""
    return _WORD.sub("...", path)


#: Of this process.
LEDGER = Ledger()
