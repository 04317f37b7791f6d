"""A pseudo-locale: every text translated by gettext is put between brackets.

Numbers, dates and country names come from Greek, and the books in these tests have Cyrillic
titles. A Latin word outside brackets is therefore a text that cannot be translated.
"""

import gettext
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_keywords, parse_mapping_cfg

from bookstore.i18n import Language

ROOT = Path(__file__).parents[1]
LANGUAGE = Language("el")
NAME = "Ελληνικά"
#: Attributes that browsers show or screen readers read.
_SHOWN = {"alt", "aria-label", "placeholder", "title", "data-on", "data-off", "data-suggested"}
_DESCRIBES = {"description", "og:title", "og:description", "og:site_name"}
#: Elements whose content is not translated.
_DATA = ("code", "script", "style", "svg")
_WORD = re.compile(r"[A-Za-z]{2,}")
#: E-mail addresses, URLs and order numbers.
_CODE = re.compile(r"[\w.-]+@[\w.-]+|https?://\S+|\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}\b")


@cache
def texts():
    """All texts that `make texts` extracts."""
    with (ROOT / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    target = re.search(r"^texts:.*?^\n", (ROOT / "Makefile").read_text(), re.M | re.S)[0]
    keywords = DEFAULT_KEYWORDS | parse_keywords(re.findall(r"-k (\S+)", target))
    found = set()
    for folder in ("bookstore", "web"):
        inner = [(glob.removeprefix(f"{folder}/"), how) for glob, how in methods]
        for _, _, message, _, _ in extract_from_dir(
            ROOT / folder, [it for it in inner if it not in methods], options, keywords
        ):
            found.update([message] if isinstance(message, str) else message)
    return found


class Marked(gettext.NullTranslations):
    """Puts extracted texts between brackets."""

    def gettext(self, message):
        return f"⟦{message}⟧" if message in texts() else message

    def ngettext(self, one, many, number):
        return self.gettext(one if number == 1 else many)


def unmarked(text):
    """The Latin words outside brackets, without codes."""
    depth, outside = 0, []
    for sign in _CODE.sub(" ", text):
        depth += (sign == "⟦") - (sign == "⟧")
        if depth == 0:
            outside.append(sign)
    return _WORD.findall("".join(outside))


class _Page(HTMLParser):
    """Collects the text that is shown or read to users."""

    def __init__(self):
        super().__init__()
        self.text, self.attributes, self._inside = [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.attributes += [value or "" for name, value in attributes if name in _SHOWN]
        if (given.get("name") or given.get("property")) in _DESCRIBES:
            self.attributes.append(given["content"])
        is_code = tag in _DATA or {"code", "text"} & set((given.get("class") or "").split())
        # Names of languages are each in their own language.
        is_language = tag == "button" and "lang" in given
        if self._inside or is_code or is_language:
            self._inside.append(tag)

    def handle_endtag(self, tag):
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data):
        if not self._inside:
            self.text.append(data)


def unmarked_in(html):
    """The Latin words of a page or e-mail that were not translated."""
    page = _Page()
    page.feed(html)
    return unmarked(" ".join(page.text)) + [
        word for value in page.attributes for word in unmarked(value)
    ]
