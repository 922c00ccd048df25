"""The environment becomes one frozen value, and nothing else is read from it."""

from pathlib import Path

from lineclear.config.settings import SETTINGS, read_settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({"HOME": "/home/ann"})
    assert settings.data_dir == Path("/home/ann/.local/share/lineclear")
    assert settings.model_store == Path("/home/ann/.local/share/lineclear/models")
    assert (settings.url, settings.token, settings.database_url) == (None, None, None)


def test_each_setting_has_its_effect() -> None:
    given = {setting.name: f"/value/of/{setting.name}" for setting in SETTINGS}
    settings = read_settings(given)
    assert settings.url == given["LINECLEAR_URL"]
    assert settings.token == given["LINECLEAR_TOKEN"]
    assert settings.data_dir == Path(given["LINECLEAR_DATA"])
    assert settings.database_url == given["LINECLEAR_DATABASE_URL"]
    assert settings.model_store == Path(given["XDG_DATA_HOME"]) / "lineclear" / "models"


def test_an_empty_variable_counts_as_not_given() -> None:
    settings = read_settings({"HOME": "/h", "LINECLEAR_URL": "", "LINECLEAR_DATA": "", "XDG_DATA_HOME": ""})
    assert settings.url is None
    assert settings.data_dir == Path("/h/.local/share/lineclear")
