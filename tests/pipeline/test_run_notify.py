"""Messages: what they say, what they never say, and what happens when nobody takes them."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from pydantic import SecretStr

from stableyield.config import Settings
from stableyield.pipeline.notify import (
    MailNotifier,
    NotifyError,
    SlackNotifier,
    notifiers_of,
    tell,
)
from stableyield.pipeline.summary import for_slack
from stableyield.sources.fake import Answer, Call, LocalServer
from support.treasury import Treasury, small_market

EVIL = "<!channel><script>x</script>\u202e'; DROP TABLE runs; --\n../../x" + "A" * 10_000


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[Call]]]:
    calls: list[Call] = []

    def respond(call: Call) -> Answer:
        calls.append(call)
        return Answer(b"ok", status)

    with LocalServer(respond) as server:
        yield f"{server.url}/services/SECRET-PART", calls


@pytest.mark.slow
def test_slack_gets_the_message_of_a_run(treasury: Treasury) -> None:
    with webhook() as (url, calls):
        treasury.listener = SlackNotifier(SecretStr(url))  # type: ignore[assignment]
        outcome = treasury.run()
    (call,) = calls
    text = json.loads(call.body)["text"]
    for part in (outcome.run.run_id, "AUM", "costs", "expected", "optimal", "USDC"):
        assert part in text
    assert outcome.warnings == tuple(w for w in outcome.warnings if "slack" not in w)


def test_a_webhook_that_refuses_is_a_warning_without_the_secret(treasury: Treasury) -> None:
    with webhook(500) as (url, _):
        treasury.listener = SlackNotifier(SecretStr(url))  # type: ignore[assignment]
        outcome = treasury.run()
    assert "slack: the webhook answered 500" in outcome.warnings
    page = "".join(path.read_text() for path in outcome.directory.iterdir())
    assert "SECRET-PART" not in page + str(outcome)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/SECRET-PART", "not a url SECRET-PART"])
def test_a_webhook_that_is_not_there_does_not_tell_its_url(url: str) -> None:
    with pytest.raises(NotifyError) as raised:
        SlackNotifier(SecretStr(url)).send("subject", "text")
    assert "SECRET-PART" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_text_of_strangers_is_shown_and_does_nothing(treasury: Treasury) -> None:
    frames = small_market()
    treasury.source.frames = replace(frames, pools=frames.pools.assign(symbol=EVIL, protocol=EVIL))
    with webhook() as (url, calls):
        treasury.listener = SlackNotifier(SecretStr(url))  # type: ignore[assignment]
        outcome = treasury.run()
    page = (outcome.directory / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    text = json.loads(calls[0].body)["text"]
    assert "<!channel>" not in text
    assert "&lt;!channel&gt;" in text
    for shown in (page, text, (outcome.directory / "summary.txt").read_text()):
        assert "\u202e" not in shown
        assert "A" * 100 not in shown
    assert (
        json.loads((outcome.directory / "problem.json").read_text())["pools"][0]["symbol"] == EVIL
    )
    assert treasury.run().was_done  # the table of runs is still there


def test_markup_of_the_chat_is_escaped() -> None:
    assert for_slack("<a&b>") == "&lt;a&amp;b&gt;"


class _Smtp(socketserver.StreamRequestHandler):
    """As much of a mail server as a client needs."""

    def handle(self) -> None:
        self._say(220)
        while command := self._line().upper():
            if command == "DATA":
                self._say(354)
                while self._line() != ".":
                    pass
            self._say(221 if command == "QUIT" else 250)
            if command == "QUIT":
                return

    def _line(self) -> str:
        line = self.rfile.readline().decode().rstrip("\r\n")
        self.server.received.append(line)  # type: ignore[attr-defined]
        return line

    def _say(self, code: int) -> None:
        self.wfile.write(f"{code} so be it\r\n".encode())


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    with socketserver.TCPServer(("127.0.0.1", 0), _Smtp) as server:
        server.received = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1], server.received  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


def test_mail_is_sent_with_a_subject_of_one_line() -> None:
    with mail_server() as (port, received):
        mail = MailNotifier("127.0.0.1", port, "bot@example.org", ("a@example.org",))
        mail.send("stableyield\nBcc: everybody@example.org", "the plan")
    assert "Subject: stableyield Bcc: everybody@example.org" in received
    assert "the plan" in received


def test_a_password_is_never_sent_in_the_clear() -> None:
    with mail_server() as (port, received):
        mail = MailNotifier(
            "127.0.0.1", port, "bot@example.org", ("a@example.org",), "bot", SecretStr("geheim")
        )
        with pytest.raises(NotifyError, match="SMTPNotSupportedError"):
            mail.send("subject", "text")
    assert not any("geheim" in line or line.startswith("AUTH") for line in received)


def test_a_mail_server_that_is_not_there_is_a_warning() -> None:
    mail = MailNotifier("127.0.0.1", 9, "bot@example.org", ("a@example.org",))
    assert tell([mail], "subject", "text") == (
        "mail: the mail was not sent: ConnectionRefusedError",
    )


def test_settings_say_who_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SLACK_WEBHOOK": "http://127.0.0.1/SECRET-PART",
        "SMTP_HOST": "mail.example.org",
        "MAIL_FROM": "bot@example.org",
        "MAIL_TO": "a@example.org, b@example.org",
    }.items():
        monkeypatch.setenv(f"STABLEYIELD_{name}", value)
    settings = Settings.load()
    slack, mail = notifiers_of(settings)
    assert [slack.name, mail.name] == ["slack", "mail"]
    assert isinstance(mail, MailNotifier)
    assert mail.receivers == ("a@example.org", "b@example.org")
    assert "SECRET-PART" not in repr(settings) + repr(slack)
