"""People in the console: they choose a password themselves, see what their grants reach, and are out when those end."""

from lineclear.testing.console_visitor import Visitor
from lineclear.testing.platform import Platform

PASSWORD = "correct horse battery"
MANIFEST = "kind: Team\nname: support\n---\nkind: App\nname: shop\nteam: support\n"


def invited(platform: Platform, name: str, *grants: tuple[str, str]) -> Visitor:
    """A new person with these roles, signed in with the password they chose."""
    platform.admin("POST", "/api/v1/members", {"name": name})
    for role, scope in grants:
        platform.admin("POST", "/api/v1/grants", {"principal": name, "role": role, "scope": scope})
    link = platform.cli_json("access", "invite", name)["url"]
    visitor = Visitor(str(platform.admin_url) + "/console/sign-in")
    token = link.partition("token=")[2]
    assert name in visitor.get(f"/password?token={token}").text
    differ = visitor.post("/password", {"token": token, "password": PASSWORD, "again": "x"})
    assert (differ.status, "differ" in differ.text) == (400, True)
    short = visitor.post("/password", {"token": token, "password": "short", "again": "short"})
    assert (short.status, "12" in short.text) == (400, True)
    chosen = visitor.post("/password", {"token": token, "password": PASSWORD, "again": PASSWORD})
    assert (chosen.status, chosen.location) == (303, "/console/sign-in")
    assert visitor.get(f"/password?token={token}").status == 401
    answer = visitor.post("/sign-in", {"name": name, "password": PASSWORD, "next": "/keys"})
    assert (answer.status, answer.location) == (303, "/console/keys")
    return visitor


def test_an_invited_person_chooses_a_password_and_sees_what_is_theirs(platform: Platform) -> None:
    (platform.directory / "people.yaml").write_text(MANIFEST)
    assert platform.cli("apply", "-f", str(platform.directory / "people.yaml")).returncode == 0
    ann = invited(platform, "ann", ("viewer", "team:support"), ("admin", "team:support"))
    platform.admin("POST", "/api/v1/keys", {"app": "shop", "environment": "test"})
    rows = ann.get("/keys.json").json()["rows"]
    assert {row["app"] for row in rows} == {"shop"}
    assert ann.get("/sessions").status == 403
    ann.post("/keys", {"form_token": ann.form_token(), "app": "default", "environment": "test"})
    assert all(key["app"] != "default" for key in ann.get("/keys.json").json()["rows"])


def test_a_wrong_password_says_nothing_and_another_site_cannot_try(platform: Platform) -> None:
    visitor = Visitor(str(platform.admin_url) + "/console/sign-in")
    for name in ("ann", "nobody"):
        answer = visitor.post("/sign-in", {"name": name, "password": "x" * 12})
        assert (answer.status, "ame or password is wrong" in answer.text) == (401, True)
    fields = {"name": "ann", "password": PASSWORD}
    assert visitor.post("/sign-in", fields, sec_fetch_site="cross-site").status == 403
    assert visitor.post("/password", {"token": "x"}, origin="https://evil.test").status == 403
    assert visitor.cookies == {}


def test_a_token_opens_no_session(platform: Platform) -> None:
    platform.admin("POST", "/api/v1/members", {"name": "ci", "kind": "service"})
    platform.admin("POST", "/api/v1/grants", {"principal": "ci", "role": "admin"})
    token = platform.admin("POST", "/api/v1/tokens", {"principal": "ci"})["token"]
    visitor = Visitor(str(platform.admin_url) + "/console/sign-in")
    assert visitor.post("/sign-in", {"admin_token": token}).status == 401
    assert platform.cli("console", "--url", platform.admin_url, "--token", token).returncode == 4


def test_who_is_disabled_is_signed_out_at_once(platform: Platform) -> None:
    bob = invited(platform, "bob", ("viewer", "platform"), ("operator", "platform"))
    assert bob.get("/requests").status == 200
    assert platform.cli("access", "disable", "bob").returncode == 0
    assert bob.get("/requests").status == 303


def test_over_tls_the_cookie_is_for_this_host_alone(platform: Platform) -> None:
    visitor = Visitor(platform.cli_json("console")["url"])
    answer = visitor.ask("GET", "/console" + visitor.link.partition("/console")[2], x_forwarded_proto="https")
    assert answer.headers["set-cookie"].startswith("__Host-lineclear_")
    assert visitor.get("/", x_forwarded_proto="https").status == 200
    assert visitor.get("/").status == 303, "not in the clear"


def test_every_page_tells_of_an_emergency(platform: Platform) -> None:
    platform.admin("POST", "/api/v1/grants", {"principal": "ann", "role": "operator", "is_sealed": True})
    token = platform.admin("POST", "/sign-in", {"name": "ann", "password": PASSWORD})["token"]
    sealed = platform.admin("GET", "/api/v1/grants?principal=ann")["grants"][-1]["id"]
    words = ("break-glass", "open", sealed, "--incident", "INC-7", "--reason", "live is down")
    assert platform.cli(*words, "--url", platform.admin_url, "--token", token).returncode == 0
    visitor = Visitor(platform.cli_json("console")["url"])
    visitor.sign_in()
    assert "ann has broken the glass: operator on platform" in visitor.get("/models").text
