"""Who gets in: one-use links, the cookie, forms of this session only, the way out."""

import re
from collections.abc import Mapping
from pathlib import Path

from lineclear.testing.console_visitor import Visitor
from lineclear.testing.platform import Platform


def fresh(platform: Platform) -> Visitor:
    return Visitor(platform.cli_json("console")["url"])


def test_link_of_the_ready_file_signs_in_once(platform: Platform, visitor: Visitor) -> None:
    assert platform.facts["console_url"].startswith(platform.admin_url + "/console/sign-in?token=")
    assert visitor.get("/").status == 200
    again = Visitor(visitor.link)
    answer = again.sign_in()
    assert answer.status == 401
    assert "used already" in answer.text
    assert again.cookies == {}


def test_cookie_stays_with_this_server_and_out_of_scripts(platform: Platform) -> None:
    visitor = fresh(platform)
    answer = visitor.sign_in()
    assert (answer.status, answer.location) == (303, "/console/")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie
    behind_tls = fresh(platform)
    parts = behind_tls.link.partition("/console")
    answer = behind_tls.ask("GET", "/console" + parts[2], x_forwarded_proto="https")
    assert "Secure" in answer.headers["set-cookie"]


def test_nobody_sees_a_page_without_signing_in(platform: Platform, visitor: Visitor) -> None:
    stranger = Visitor(visitor.link)
    page = stranger.get("/requests?since=1h")
    assert (page.status, page.location) == (303, "/console/sign-in?next=%2Frequests%3Fsince%3D1h")
    assert stranger.get("/sign-in").status == 200
    twin = stranger.get("/requests.json")
    assert (twin.status, twin.json()["code"]) == (401, "unauthenticated")
    assert stranger.get("/requests/stream").status == 401
    assert stranger.get("/", cookie="x=y").status == 303
    stranger.cookies = dict.fromkeys(visitor.cookies, "A" * 43)
    assert stranger.get("/").status == 303


def test_link_from_another_site_is_followed_by_a_step_of_our_own(visitor: Visitor) -> None:
    answer = Visitor(visitor.link).get("/requests?app=a%22b", sec_fetch_site="cross-site")
    assert answer.status == 200
    assert 'content="0;url=/console/requests?app=a%22b"' in answer.text


def test_admin_token_signs_in_and_leads_on_inside_only(platform: Platform, visitor: Visitor) -> None:
    token = str(platform.facts["admin_token"])
    wrong = Visitor(visitor.link).post("/sign-in", {"admin_token": "lca_wrong"})
    assert wrong.status == 401
    for onward, target in (
        ("/requests?since=1h", "/console/requests?since=1h"),
        ("//evil.test/", "/console//evil.test/"),
    ):
        answer = Visitor(visitor.link).post("/sign-in", {"admin_token": token, "next": onward})
        assert (answer.status, answer.location) == (303, target)
    for onward in ("https://evil.test/", "\\\\evil.test", "/a\r\nx: y"):
        answer = Visitor(visitor.link).post("/sign-in", {"admin_token": token, "next": onward})
        assert answer.location == "/console/"


def test_way_on_outlives_a_mistyped_token_and_a_session_that_ended(platform: Platform, visitor: Visitor) -> None:
    wrong = Visitor(visitor.link).post("/sign-in", {"admin_token": "lca_wrong", "next": "/requests?since=1h"})
    assert wrong.status == 401
    assert '<input type="hidden" name="next" value="/requests?since=1h">' in wrong.text
    stranger = Visitor(visitor.link)
    for form, page in (
        ("/start/message", "/start"),
        ("/providers/a.b/test", "/providers"),
        ("/keys/k/revoke", "/keys"),
    ):
        answer = stranger.post(form, {})
        assert (answer.status, answer.location) == (303, f"/console/sign-in?next={page.replace('/', '%2F')}")
        assert visitor.get(page).status == 200
    # Who is not signed in is not listened to at length.
    assert stranger.post("/keys/k/revoke", {"reason": "x" * 100_000}).status == 303


def test_forms_come_from_this_session_and_this_site(platform: Platform) -> None:
    visitor = fresh(platform)
    visitor.sign_in()
    token = visitor.form_token()
    assert visitor.post("/sign-out", {}).status == 403
    assert visitor.post("/sign-out", {"form_token": "0" * 64}).status == 403
    assert visitor.post("/sign-out", {"form_token": token}, sec_fetch_site="cross-site").status == 403
    assert visitor.post("/sign-out", {"form_token": token}, origin="http://evil.test").status == 403
    other = fresh(platform)
    other.sign_in()
    assert other.post("/sign-out", {"form_token": token}).status == 403
    assert visitor.get("/").status == 200


def test_sign_out_ends_the_session_everywhere(platform: Platform) -> None:
    visitor = fresh(platform)
    visitor.sign_in()
    kept = dict(visitor.cookies)
    assert visitor.post("/sign-out", {"form_token": visitor.form_token()}).status == 303
    assert visitor.cookies == {}
    visitor.cookies = kept
    assert visitor.get("/").status == 303


def test_each_step_is_in_the_audit_trail(platform: Platform) -> None:
    visitor = fresh(platform)
    visitor.sign_in()
    visitor.post("/sign-out", {"form_token": visitor.form_token()})
    events = platform.trail()
    assert [event["action"] for event in events[-3:]] == ["sign-in-link.created", "session.opened", "session.closed"]
    assert {event["actor"] for event in events[-3:]} == {"admin"}
    assert platform.admin("GET", "/api/v1/audit-events/verdict")["ok"]


def test_no_token_is_told_to_who_may_read_status(platform: Platform) -> None:
    text = str(platform.admin("GET", "/api/v1/status"))
    assert "sign-in?token" not in text
    assert "lc_test_" not in text
    assert "console_url" not in (platform.data_dir / "up.json").read_text()


def test_sessions_are_listed_and_ended_one_by_one(platform: Platform, visitor: Visitor) -> None:
    lost = fresh(platform)
    lost.sign_in()
    before = {row["id"] for row in visitor.get("/sessions.json").json()["rows"]}
    assert before == {row["id"] for row in platform.admin("GET", "/api/v1/sessions")["sessions"]}
    page = lost.get("/sessions").text
    found = re.search(r"<code>([0-9a-f]{8})</code> <span class=\"tag\">this browser", page)
    assert found is not None
    assert set(re.findall(r"<code>([0-9a-f]{8})</code>", page)) == before
    assert lost.cookies
    assert not any(token in page for token in lost.cookies.values())

    answer = visitor.post(f"/sessions/{found[1]}/end", {"form_token": visitor.form_token()})
    assert (answer.status, answer.location) == (303, "/console/sessions")
    assert lost.get("/").status == 303
    assert visitor.get("/").status == 200
    assert {row["id"] for row in visitor.get("/sessions.json").json()["rows"]} == before - {found[1]}
    event = platform.trail()[-1]
    assert (event["actor"], event["action"], event["object"]) == ("admin", "session.ended", f"session/{found[1]}")
    again = platform.cli("sessions", "end", found[1])
    assert again.returncode == 5
    assert found[1] in again.stderr


def test_ending_all_takes_unused_links_back(platform: Platform) -> None:
    visitor, unused = fresh(platform), fresh(platform)
    visitor.sign_in()
    both = platform.cli("sessions", "end", "abc", "--all")
    assert both.returncode == platform.cli("sessions", "end").returncode == 2
    ended = platform.cli_json("sessions", "end", "--all", "--reason", "laptop lost")
    assert ended["links"] >= 1
    assert len(ended["sessions"]) >= 1
    assert platform.cli_json("sessions", "list")["sessions"] == []
    assert visitor.get("/").status == 303
    assert unused.sign_in().status == 401
    reasons = {(event["action"], event["reason"]) for event in platform.trail()[-2:]}
    assert reasons <= {("session.ended", "laptop lost"), ("sign-in-link.taken-back", "laptop lost")}
    assert platform.admin("GET", "/api/v1/audit-events/verdict")["ok"]
    assert platform.cli("sessions", "end", "--all").returncode == 0


def test_public_address_is_shown_everywhere_and_the_ready_file_names_the_port(
    tmp_path: Path, child_environment: Mapping[str, str]
) -> None:
    public = {
        "LINECLEAR_PUBLIC_URL": "https://ai.example.com/llm/",
        "LINECLEAR_PUBLIC_ADMIN_URL": "https://ops.example.com:8443",
        "LINECLEAR_ROOT_PATH": "/lineclear",
    }
    with Platform(tmp_path, environment={**child_environment, **public}) as platform:
        assert platform.gateway_url.startswith("http://127.0.0.1:")
        assert platform.admin_url.startswith("http://127.0.0.1:")
        links = [str(platform.facts["console_url"]), platform.cli_json("console")["url"]]
        assert all(link.startswith("https://ops.example.com:8443/lineclear/console/sign-in?token=") for link in links)
        assert platform.cli_json("status")["gateway_url"] == "https://ai.example.com/llm"
        visitor = Visitor(platform.admin_url + links[0].removeprefix("https://ops.example.com:8443"))
        visitor.sign_in()
        page = visitor.get("/start").text
        assert "https://ai.example.com/llm/v1" in page
        assert "127.0.0.1" not in page
        # Control's own calls go to the port itself.
        sent = platform.admin("POST", "/api/v1/test-messages", {"route": "simulated"})
        assert sent["status"] == 200
