import pytest

from config.settings import InvalidSettings, ShippingRate, read_settings


def read(tmp_path, countries):
    env_file = tmp_path / "env"
    env_file.write_text(f"BOOKSTORE_VAR_DIR={tmp_path}\nBOOKSTORE_COUNTRIES={countries}\n")
    return read_settings(env_file).countries


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    # Reading a file sets environment variables of the process; they are removed after the test.
    for name in ("BOOKSTORE_VAR_DIR", "BOOKSTORE_COUNTRIES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_without_a_table_all_countries_have_the_same_rates(tmp_path):
    assert read(tmp_path, "") == {}


def test_a_table_of_countries_is_read(tmp_path):
    assert read(tmp_path, "AT:490/6000/1000, CU:no,*:990/10000/0") == {
        "AT": ShippingRate(490, 6000, 1000),
        "CU": None,
        "*": ShippingRate(990, 10000, 0),
    }


@pytest.mark.parametrize(
    "countries",
    ["AT", "AT:490", "AT:490/6000", "at:490/6000/1000", "AT:4.90/60/10", "AT:yes", "AT:-1/0/0",
     "AT:490/6000/10001", "AT:no,AT:no", "AUT:no"],
)  # fmt: skip
def test_an_invalid_table_names_the_setting(tmp_path, countries):
    with pytest.raises(InvalidSettings) as caught:
        read(tmp_path, countries)

    assert list(caught.value.problems) == ["BOOKSTORE_COUNTRIES"]
