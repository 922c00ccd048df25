"""The environment becomes one frozen value, and nothing else is read from it."""

from pathlib import Path

import pytest

from lineclear.config.settings import SECRET_BYTES_MAX, SETTINGS, SettingInvalid, read_settings, with_files


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = read_settings({"HOME": "/home/ann"})
    assert settings.data_dir == Path("/home/ann/.local/share/lineclear")
    assert settings.model_store == Path("/home/ann/.local/share/lineclear/models")
    assert (settings.url, settings.token, settings.database_url) == (None, None, None)


def test_each_setting_has_its_effect() -> None:
    given = {setting.name: f"/value/of/{setting.name}" for setting in SETTINGS}
    given["WATCHDOG_USEC"] = "3000000"
    given["LINECLEAR_TRUSTED_PROXIES"] = "10.1.0.0/16, fd00::5,192.0.2.7"
    settings = read_settings(given)
    assert settings.url == given["LINECLEAR_URL"]
    assert settings.token == given["LINECLEAR_TOKEN"]
    assert settings.data_dir == Path(given["LINECLEAR_DATA"])
    assert settings.database_url == given["LINECLEAR_DATABASE_URL"]
    assert settings.ca_file == Path(given["LINECLEAR_CA"])
    assert (settings.notify_socket, settings.watchdog_s) == (given["NOTIFY_SOCKET"], 3.0)
    assert [str(network) for network in settings.trusted_proxies] == ["10.1.0.0/16", "fd00::5/128", "192.0.2.7/32"]
    assert settings.model_store == Path(given["XDG_DATA_HOME"]) / "lineclear" / "models"


def test_an_empty_variable_counts_as_not_given() -> None:
    names = ("LINECLEAR_URL", "LINECLEAR_DATA", "XDG_DATA_HOME", "LINECLEAR_TRUSTED_PROXIES")
    settings = read_settings({"HOME": "/h", **dict.fromkeys(names, "")})
    assert settings.trusted_proxies == ()
    assert settings.url is None
    assert settings.data_dir == Path("/h/.local/share/lineclear")


@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS if setting.is_secret])
def test_a_secret_may_lie_in_a_file(tmp_path: Path, name: str) -> None:
    file = tmp_path / "secret"
    file.write_text("from the file\r\n")

    def found(variables: dict[str, str]) -> str | None:
        settings = read_settings({"HOME": "/h", "LINECLEAR_OIDC_ISSUER": "https://id.example", **variables})
        assert settings.oidc is not None
        return {
            "LINECLEAR_TOKEN": settings.token,
            "LINECLEAR_DATABASE_URL": settings.database_url,
            "LINECLEAR_OIDC_CLIENT_SECRET": settings.oidc.client_secret,
            "LINECLEAR_SMTP_URL": settings.notices.smtp_url,
        }[name]

    assert found({f"{name}_FILE": str(file)}) == "from the file"
    assert found({f"{name}_FILE": str(file), name: "given"}) == "given"
    assert found({f"{name}_FILE": ""}) is None
    for content in ("", "x" * (SECRET_BYTES_MAX + 1)):
        file.write_text(content)
        with pytest.raises(SettingInvalid, match=f"{name}_FILE"):
            found({f"{name}_FILE": str(file)})
    with pytest.raises(SettingInvalid, match="secret-that-is-not-there"):
        found({f"{name}_FILE": "/secret-that-is-not-there"})


def test_variables_of_manifests_may_lie_in_files(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-1\n")
    given = {"A_FILE": str(file), "B": "own", "B_FILE": str(file), "C": "", "C_FILE": str(file), "D_FILE": "/nowhere"}
    given |= {"E_FILE": str(tmp_path), "lower_FILE": str(file), "F_FILE": "/dev/zero"}
    found = with_files(given)
    assert {name: found.get(name) for name in "ABCDEF"} == {
        "A": "sk-1", "B": "own", "C": "sk-1", "D": None, "E": None, "F": None,
    }  # fmt: skip
    assert "lower" not in found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("proxy.internal", "'proxy.internal' is not a network"),
        ("10.0.0.5/8", "'10.0.0.5/8' is not a network"),
        ("10.0.0.0/33", "is not a network"),
        ("10.0.0.0/8,", "'' is not a network"),
        ("010.0.0.1", "is not a network"),
        ("10.0.0.0/8 fd00::5", "is not a network"),
        ("fe80::1%eth0", "has a zone"),
        ("0.0.0.0/0", "is everybody"),
        ("::/0", "is everybody"),
        ("::ffff:10.0.0.0/104", "network of IPv4"),
        (",".join(f"10.0.0.{number}" for number in range(65)), "names 65 networks, more than 64"),
    ],
)
def test_who_is_believed_is_said_exactly(text: str, words: str) -> None:
    with pytest.raises(SettingInvalid, match=f"LINECLEAR_TRUSTED_PROXIES.*{words}"):
        read_settings({"HOME": "/h", "LINECLEAR_TRUSTED_PROXIES": text})
