"""Handing one mail to a mail server (RFC 5321), so that it is known how far it came.

`smtplib.SMTP.sendmail` says of a lost connection only that it was lost. Here the commands go one by one: until
the text is handed over nothing has gone out; from then to the server's answer it may have.
"""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as WIRE
from email.utils import format_datetime

from voiceguard.settings import Settings
from voiceguard.store.messages import Message

TIMEOUT_S = 25.0
"""Longest wait for each answer of the server; all that follow the handing over fit in `messages.LEASE`."""


@dataclass(frozen=True)
class Handed:
    """What came of an attempt."""

    error: str | None = None
    """Why it failed; None if the server has the mail."""
    final: bool = False
    """Whether the server would refuse it again."""
    uncertain: bool = False
    """Whether the server may have it all the same."""
    given_up: bool = False
    """Whether another sender has taken the message over, so that nothing is to be noted."""


def compose(settings: Settings, message: Message) -> EmailMessage:
    """Return a message as a mail; the same at each attempt, under the same Message-ID."""
    assert settings.mail_from is not None, "mails are claimed only where one is set"
    mail = EmailMessage(policy=WIRE)
    mail["From"] = Address(display_name=settings.agency, addr_spec=settings.mail_from)
    mail["To"] = message.address
    mail["Subject"] = " ".join(message.subject.split())
    mail["Date"] = format_datetime(message.created_at)
    mail["Message-ID"] = f"<{message.id}@{settings.mail_from.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body, cte="quoted-printable")
    return mail


def hand(settings: Settings, message: Message, hand_over: Callable[[], bool]) -> Handed:
    """Send a mail once.

    Parameters
    ----------
    settings, message
        The mail server, and what to send.
    hand_over
        Called when nothing but the text is missing; says whether to go on.
    """
    handing = False
    try:
        raw = compose(settings, message).as_bytes()
        with _connection(settings) as smtp:
            for code, said in (_mail(smtp, settings), smtp.rcpt(message.address)):
                if code not in (250, 251):
                    return Handed(_error(code, said), final=code >= 500)
            if not hand_over():
                return Handed(given_up=True)
            handing = True
            code, said = smtp.data(raw)
            return Handed() if code == 250 else Handed(_error(code, said), final=code >= 500)
    except smtplib.SMTPDataError as error:  # it did not want the text: nothing was sent
        return Handed(_error(error.smtp_code, error.smtp_error), final=error.smtp_code >= 500)
    except smtplib.SMTPAuthenticationError as error:
        return Handed(f"sign-in refused: {error.smtp_code}")
    except (smtplib.SMTPException, OSError) as error:
        return Handed(f"connection: {type(error).__name__}", uncertain=handing)
    except ValueError:  # an address that no header can hold
        return Handed("unusable address", final=True)


@contextlib.contextmanager
def _connection(settings: Settings) -> Iterator[smtplib.SMTP]:
    """Connect and sign in; end with QUIT, whose failure changes nothing."""
    at = (settings.smtp_host, settings.smtp_port)
    if settings.smtp_security == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(*at, timeout=TIMEOUT_S, context=ssl.create_default_context())
    else:
        smtp = smtplib.SMTP(*at, timeout=TIMEOUT_S)
    try:
        smtp.ehlo_or_helo_if_needed()
        if settings.smtp_security == "starttls":
            smtp.starttls(context=ssl.create_default_context())
            smtp.ehlo_or_helo_if_needed()
        if settings.smtp_user is not None:
            password = settings.smtp_password.get_secret_value() if settings.smtp_password else ""
            smtp.login(settings.smtp_user, password)
        yield smtp
    finally:
        with contextlib.suppress(smtplib.SMTPException, OSError):
            smtp.quit()
        smtp.close()


def _mail(smtp: smtplib.SMTP, settings: Settings) -> tuple[int, bytes]:
    assert settings.mail_from is not None
    return smtp.mail(settings.mail_from)


def _error(code: int, said: bytes | str) -> str:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return f"{code} {''.join(sign for sign in text if sign.isprintable())}"[:200]
