"""Telling people: a file always; a chat and mail where they are set up.

A message that cannot be delivered does not undo a run: the failure is a warning of the run. URLs
of webhooks are secrets; no message, log line or error of this module has them.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol

import httpx
from pydantic import SecretStr

from stableyield.config import Settings
from stableyield.pipeline.summary import for_slack

TIMEOUT_SECONDS = 10.0
_TLS_FROM_THE_START = 465
_SLACK_MOST_CHARACTERS = 3000


class NotifyError(Exception):
    """A message was not delivered; the text holds no secret."""


class Notifier(Protocol):
    """A way to tell people."""

    @property
    def name(self) -> str:
        """For warnings."""
        ...

    def send(self, subject: str, text: str) -> None:
        """Deliver a message.

        Raises
        ------
        NotifyError
            When it was not delivered.
        """
        ...


@dataclass(frozen=True)
class SlackNotifier:
    """An incoming webhook of Slack, or of whatever takes ``{"text": ...}``.

    Parameters
    ----------
    webhook : SecretStr
    timeout_seconds : float
    """

    webhook: SecretStr
    timeout_seconds: float = TIMEOUT_SECONDS

    @property
    def name(self) -> str:
        """For warnings."""
        return "slack"

    def send(self, subject: str, text: str) -> None:  # noqa: ARG002 - a chat has no subject
        """Post the text.

        Raises
        ------
        NotifyError
            When the webhook does not take it.
        """
        body = {"text": for_slack(text[:_SLACK_MOST_CHARACTERS])}
        try:
            reply = httpx.post(
                self.webhook.get_secret_value(), json=body, timeout=self.timeout_seconds
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotifyError(f"the webhook was not reached: {type(error).__name__}") from None
        if not reply.is_success:
            raise NotifyError(f"the webhook answered {reply.status_code}")


@dataclass(frozen=True)
class MailNotifier:
    """Mail by SMTP.

    Parameters
    ----------
    host, port : str, int
    sender : str
    receivers : tuple of str
    user : str, optional
    password : SecretStr, optional
    timeout_seconds : float
    """

    host: str
    port: int
    sender: str
    receivers: tuple[str, ...]
    user: str | None = None
    password: SecretStr | None = None
    timeout_seconds: float = TIMEOUT_SECONDS

    @property
    def name(self) -> str:
        """For warnings."""
        return "mail"

    def send(self, subject: str, text: str) -> None:
        """Send the text.

        Raises
        ------
        NotifyError
            When the server does not take it.
        """
        message = EmailMessage()
        message["Subject"] = " ".join(subject.split())
        message["From"], message["To"] = self.sender, ", ".join(self.receivers)
        message.set_content(text)
        try:
            with self._server() as server:
                if self.user is not None and self.password is not None:
                    server.login(self.user, self.password.get_secret_value())
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise NotifyError(f"the mail was not sent: {type(error).__name__}") from None

    def _server(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.port == _TLS_FROM_THE_START:
            return smtplib.SMTP_SSL(
                self.host, self.port, timeout=self.timeout_seconds, context=context
            )
        server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_seconds)
        server.ehlo()
        if server.has_extn("starttls"):
            server.starttls(context=context)
        elif self.user is not None:
            server.close()
            raise smtplib.SMTPNotSupportedError("no TLS: the password is not sent in the clear")
        return server


def notifiers_of(settings: Settings) -> tuple[Notifier, ...]:
    """What the settings set up."""
    found: list[Notifier] = []
    if settings.slack_webhook is not None:
        found.append(SlackNotifier(settings.slack_webhook))
    if settings.smtp_host and settings.mail_from and settings.mail_to:
        receivers = tuple(each.strip() for each in settings.mail_to.split(",") if each.strip())
        found.append(
            MailNotifier(
                settings.smtp_host,
                settings.smtp_port,
                settings.mail_from,
                receivers,
                settings.smtp_user,
                settings.smtp_password,
            )
        )
    return tuple(found)


def tell(notifiers: Sequence[Notifier], subject: str, text: str) -> tuple[str, ...]:
    """Send a message in every way; what failed, as sentences."""
    failed = []
    for notifier in notifiers:
        try:
            notifier.send(subject, text)
        except NotifyError as error:
            failed.append(f"{notifier.name}: {error}")
    return tuple(failed)
