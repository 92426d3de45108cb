"""What can be set, by environment variables that begin with ``VOICEGUARD_``; see docs/settings.md."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import limits
from cryptography import x509
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _rate(value: str) -> str:
    try:
        limits.parse(value)
    except ValueError:
        raise ValueError(f"expected a rate such as 6000/minute, got {value!r}") from None
    return value


def _retention(value: dict[str, int]) -> dict[str, int]:
    for verdict, days in value.items():
        if verdict not in ("synthetic", "human", "inconclusive") or days < 0:
            raise ValueError(f"expected days (0 or more) by verdict, got {verdict}: {days}")
    return value


def _store_url(value: str) -> str:
    if re.match(r"(?!file:|s3:)[a-z0-9+]+://", value):
        raise ValueError(f"expected a folder, file://… or s3://bucket/prefix, got {value!r}")
    return value


def _notice_hours(value: dict[str, float]) -> dict[str, float]:
    defaults = {"traceback": 24.0, "takedown": 24.0, "preservation": 48.0, "cease_and_desist": 48.0}
    if unknown := sorted(set(value) - set(defaults)):
        raise ValueError(f"expected hours by kind ({', '.join(defaults)}), got {', '.join(unknown)}")
    return defaults | value


def _issuer(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    at_home = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.query or parts.fragment or len(value) > 255:
        raise ValueError("expected an issuer such as https://id.example.org/realms/staff")
    if parts.scheme != "https" and not (parts.scheme == "http" and at_home):
        raise ValueError("expected an issuer that begins with https://")
    return value


def _certificates(value: Path | None) -> Path | None:
    if value is not None:
        read_certificates(value)
    return value


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read a PEM file of certificates; ValueError if it can't be read or holds none."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ValueError(
            f"expected PEM certificates in {path}, which can't be read: {error.strerror}"
        ) from None
    except ValueError as error:
        raise ValueError(f"expected PEM certificates in {path}: {error}") from None


class Settings(BaseSettings):
    """VoiceGuard's settings; every field is ``VOICEGUARD_`` and its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="VOICEGUARD_", extra="ignore", frozen=True, hide_input_in_errors=True
    )
    # hide_input_in_errors: what is wrong is printed and logged, and some of what is set is secret.

    data_dir: Path = Field(
        default=Path("voiceguard-data"), description="Folder for what has no place of its own."
    )
    database_url: str = Field(
        default="",
        description="SQLite file or PostgreSQL database; by default voiceguard.db in the data folder.",
    )
    recordings_url: Annotated[str, AfterValidator(_store_url)] = Field(
        default="", description="Folder or s3://bucket/prefix; by default recordings/ in the data folder."
    )
    model: Path | None = Field(
        default=None,
        description="Folder of the detector, or `light` for the lighter of the shipped ones; by default the other.",
    )
    host: str = Field(default="127.0.0.1", description="Address that `voiceguard serve` listens on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port that `voiceguard serve` listens on.")

    screening_workers: PositiveInt = Field(
        default_factory=lambda: os.cpu_count() or 1,
        description="Processes that screen; by default one for each core.",
    )
    screening_timeout_s: PositiveFloat = Field(
        default=60.0, description="Seconds that one screening may take before its process is ended."
    )
    max_in_flight: PositiveInt = Field(
        default=64, description="Uploads handled at once; one more is answered 503 with Retry-After."
    )
    max_in_flight_per_carrier: PositiveInt = Field(
        default=32,
        description="Uploads of one carrier handled at once by one process; one more is answered 429.",
    )
    max_upload_bytes: PositiveInt = Field(
        default=100 * 1024 * 1024, description="Most bytes of a recording; a longer one is answered 413."
    )
    max_duration_s: PositiveFloat = Field(
        default=4 * 3600.0, description="Most seconds of a recording; a longer one is answered 422."
    )
    upload_timeout_s: PositiveFloat = Field(
        default=120.0,
        description="Seconds in which an upload must have arrived; a slower one is answered 408.",
    )
    min_free_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=0,
        description="Free disk space below which uploads are answered 507 and /readyz says so.",
    )
    rate_limit: Annotated[str, AfterValidator(_rate)] = Field(
        default="6000/minute", description="Requests that one API key may make."
    )
    idempotency_hours: PositiveInt = Field(
        default=24, description="Hours for which the answer to an Idempotency-Key is kept."
    )
    retention_days: Annotated[dict[str, int], AfterValidator(_retention)] = Field(
        default={},
        description="JSON: days for which a call is kept, by verdict; a verdict that is not named is kept.",
    )
    stir_trust_anchors: Annotated[Path | None, AfterValidator(_certificates)] = Field(
        default=None,
        description="PEM file of the STI roots that signers of Identity headers must chain to; without it no "
        "signature is checked.",
    )
    stream_max: PositiveInt = Field(
        default=1000, description="Live streams that one process takes at once; one more is refused."
    )
    stream_max_per_key: PositiveInt = Field(
        default=200, description="Live streams of one API key that one process takes at once."
    )
    stream_max_duration_s: PositiveFloat = Field(
        default=4 * 3600.0, description="Most seconds of a live stream; then it is ended and stored."
    )
    stream_start_timeout_s: PositiveFloat = Field(
        default=10.0, description="Seconds in which a live stream's start message must come."
    )
    stream_idle_timeout_s: PositiveFloat = Field(
        default=60.0, description="Seconds without audio after which a live stream is ended and stored."
    )
    stream_max_speed: PositiveFloat = Field(
        default=2.0,
        description="How much faster than it speaks a live stream may send, beyond the 60 s that may come at once.",
    )
    audiosocket_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        default=None, description="TCP port for Asterisk's AudioSocket; without it there is none."
    )
    twilio_auth_tokens: dict[str, SecretStr] = Field(
        default={},
        description="JSON: by the prefix of an API key, the Twilio auth token whose signature stands for the key.",
    )
    campaign_sizes: Annotated[list[PositiveInt], AfterValidator(sorted)] = Field(
        default=[10, 100, 1000, 10_000, 100_000],
        description="JSON: numbers of calls at which carriers in a campaign are told that it has grown.",
    )
    review_random_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01,
        description="Share of calls that were not flagged and are reviewed all the same, so that misses are counted.",
    )
    review_second_share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.1,
        description="Share of decided calls that a second reviewer decides too, without seeing the first decision.",
    )
    review_https: bool = Field(
        default=False,
        description="Whether people reach the review pages over https only: their cookie then goes nowhere else.",
    )
    password_sign_in: bool = Field(
        default=True,
        description="Whether people may sign in by a password of VoiceGuard's; only with OIDC can it be off.",
    )
    oidc_issuer: Annotated[str | None, AfterValidator(_issuer)] = Field(
        default=None,
        description="Issuer of the OpenID Connect service that people may sign in by, as its discovery document "
        "says it; without it there is no such sign-in.",
    )
    oidc_client_id: str | None = Field(
        default=None, description="Name under which that service knows VoiceGuard."
    )
    oidc_client_secret: SecretStr | None = Field(default=None, description="Secret that goes with it.")
    oidc_client_secret_file: Path | None = Field(
        default=None, description="File that holds the secret, instead of the variable."
    )
    oidc_name: str = Field(
        default="your work account",
        min_length=1,
        max_length=60,
        description="What the sign-in page calls it: Sign in with …",
    )
    oidc_scopes: str = Field(
        default="openid profile",
        pattern=r"(^|\s)openid(\s|$)",
        description="Scopes that are asked for; openid is one of them.",
    )
    oidc_role_claim: str = Field(
        default="groups",
        min_length=1,
        description="Claim of the ID token that decides the role; of a claim within a claim, both with a dot between.",
    )
    oidc_roles: dict[str, Literal["auditor", "analyst", "supervisor", "admin"]] = Field(
        default={},
        description="JSON: by a value of that claim, the role it gives: auditor, analyst, supervisor or admin.",
    )
    oidc_name_claim: str = Field(
        default="preferred_username",
        min_length=1,
        description="Claim of the ID token that a new account is named after.",
    )
    oidc_acr: list[str] = Field(
        default=[],
        description="JSON: values of the ID token's acr, of which one is asked for and must be there.",
    )
    oidc_amr: list[str] = Field(
        default=[], description="JSON: values of the ID token's amr, of which one must be there, such as mfa."
    )
    webhook_allow_private: bool = Field(
        default=False,
        description="Whether webhooks may go to addresses that are not public, and over plain http.",
    )
    agency: str = Field(default="The enforcement office", description="Who sends notices, as they say it.")
    public_url: str = Field(
        default="",
        description="Address at which others reach this service, for links in notices and for OIDC; by default host "
        "and port.",
    )
    notice_hours: Annotated[dict[str, PositiveFloat], AfterValidator(_notice_hours)] = Field(
        default={},
        validate_default=True,
        description="JSON: hours in which a provider has to answer, by kind of notice; by default traceback 24, "
        "takedown 24, preservation 48, cease_and_desist 48.",
    )
    mail_from: str | None = Field(
        default=None,
        description="Address that notices and pages by mail come from; without it none are sent.",
    )
    smtp_host: str = Field(default="127.0.0.1", description="Mail server that takes them.")
    smtp_port: int = Field(default=25, ge=1, le=65535, description="Its port.")
    smtp_security: str = Field(
        default="none",
        pattern="^(none|starttls|tls)$",
        description="none, starttls, or tls from the first byte (port 465).",
    )
    smtp_user: str | None = Field(default=None, description="Name to sign in to the mail server by.")
    smtp_password: SecretStr | None = Field(default=None, description="Password to it.")
    signing_key: Path | None = Field(
        default=None,
        description="PEM file of the Ed25519 key that signs checkpoints and evidence; by default "
        "signing-key.pem in the data folder, made on first use.",
    )
    timestamp_url: str | None = Field(
        default=None, description="RFC 3161 authority that stamps checkpoints; by default none does."
    )
    timestamp_roots: Path | None = Field(
        default=None, description="PEM file of the authority's root certificates; needed with its address."
    )
    checkpoint_interval_s: PositiveFloat = Field(
        default=60.0, description="Seconds between two signed checkpoints of the audit log."
    )
    maintenance_interval_s: PositiveFloat = Field(
        default=600.0, description="Seconds between two rounds of retention and tidying."
    )
    drain_timeout_s: PositiveInt = Field(
        default=30, description="Seconds that requests in flight have to finish after SIGTERM."
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="Least level that is logged."
    )

    @model_validator(mode="before")
    @classmethod
    def _default_places(cls, values: dict[str, object]) -> dict[str, object]:
        # Derived here and not in properties, so that a Settings object shows what is in force.
        data_dir = Path(str(values.get("data_dir") or "voiceguard-data")).absolute()
        filled = dict(values, data_dir=data_dir)
        filled["database_url"] = values.get("database_url") or f"sqlite:///{data_dir / 'voiceguard.db'}"
        host, port = values.get("host") or "127.0.0.1", values.get("port") or 8000
        filled["public_url"] = values.get("public_url") or f"http://{host}:{port}"
        filled["recordings_url"] = values.get("recordings_url") or str(data_dir / "recordings")
        return filled

    @model_validator(mode="after")
    def _roots_with_authority(self) -> Settings:
        if (self.timestamp_url is None) != (self.timestamp_roots is None):
            raise ValueError("expected timestamp_url and timestamp_roots together: a stamp must be checked")
        return self

    @model_validator(mode="after")
    def _whole_oidc(self) -> Settings:
        if self.oidc_issuer is None:
            if self.oidc_client_id is not None:
                raise ValueError("expected oidc_issuer with oidc_client_id")
            if not self.password_sign_in:
                raise ValueError("expected oidc_issuer where password_sign_in is off: nobody could sign in")
            return self
        if not self.oidc_client_id:
            raise ValueError("expected oidc_client_id with oidc_issuer")
        if (self.oidc_client_secret is None) == (self.oidc_client_secret_file is None):
            raise ValueError("expected oidc_client_secret or oidc_client_secret_file with oidc_issuer")
        if not self.oidc_roles:
            raise ValueError("expected oidc_roles with oidc_issuer: without them nobody has a role")
        return self
