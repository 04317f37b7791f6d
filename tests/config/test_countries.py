import pytest

from config.settings import Delivery, WrongSettings, read_settings


def read(tmp_path, countries):
    env_file = tmp_path / "env"
    env_file.write_text(f"BOOKSTORE_VAR_DIR={tmp_path}\nBOOKSTORE_COUNTRIES={countries}\n")
    return read_settings(env_file).countries


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    # Reading a file sets the variables of the process: they go with the test.
    for name in ("BOOKSTORE_VAR_DIR", "BOOKSTORE_COUNTRIES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_without_a_table_every_country_is_like_home(tmp_path):
    assert read(tmp_path, "") == {}


def test_a_table_of_countries_is_read(tmp_path):
    assert read(tmp_path, "AT:490/6000/1000, CU:no,*:990/10000/0") == {
        "AT": Delivery(490, 6000, 1000),
        "CU": None,
        "*": Delivery(990, 10000, 0),
    }


@pytest.mark.parametrize(
    "countries",
    ["AT", "AT:490", "AT:490/6000", "at:490/6000/1000", "AT:4.90/60/10", "AT:yes", "AT:-1/0/0",
     "AT:490/6000/10001", "AT:no,AT:no", "AUT:no"],
)  # fmt: skip
def test_what_is_no_table_is_said_by_name(tmp_path, countries):
    with pytest.raises(WrongSettings) as wrong:
        read(tmp_path, countries)

    assert list(wrong.value.problems) == ["BOOKSTORE_COUNTRIES"]
