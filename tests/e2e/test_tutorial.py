"""The commands of docs/api-tutorial.md are run unchanged."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.e2e.programs import ROOT, Embedded

TEXT = (ROOT / "docs" / "api-tutorial.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


@pytest.fixture(scope="module")
def store():
    # Started as in the tutorial.
    with Embedded({"BOOKSTORE_ADMIN_PASSWORD": "eleven blue lanterns"}) as store:
        yield store


def test_the_tutorial_works(store, tmp_path):
    blocks = BLOCK.findall(TEXT.replace("http://127.0.0.1:8080", store.url))
    shell = "".join(block for language, block in blocks if language == "sh")
    [python] = [block for language, block in blocks if language == "python"]
    assert {language for language, _ in blocks} == {"console", "sh", "python"}

    typed = subprocess.run(
        [shutil.which("bash"), "-euxo", "pipefail", "-c", shell],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    programmed = subprocess.run(
        [sys.executable, "-c", python],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert typed.returncode == 0, typed.stderr
    assert "status 200, tag" in typed.stdout
    assert '"status":"confirmed"' in typed.stdout
    assert "changed: 200\ntoo late: 412\n" in typed.stdout
    assert "/api/docs/errors#invalid-isbn" in typed.stdout
    assert programmed.returncode == 0, programmed.stderr
