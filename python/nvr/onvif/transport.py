"""Questions to one device, over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Self
from xml.etree.ElementTree import Element

import httpx

from nvr.onvif.soap import MAX_BYTES, FaultError, MalformedAnswerError, envelope, parse
from nvr.onvif.types import Answer, Login

__all__ = ["Connection", "LoginRefusedError", "UnreachableError"]

_CONNECT_S = 3.0
_READ_S = 5.0
_HEADERS = {"Content-Type": "application/soap+xml; charset=utf-8", "User-Agent": "nvr"}


class UnreachableError(Exception):
    """No answer, or not in time."""


class LoginRefusedError(Exception):
    """It does not answer this question to this user."""


class Connection:
    """Asks the services of one device. Redirections are not followed: they could lead anywhere."""

    def __init__(self, answer: Answer, login: Login | None, client: httpx.AsyncClient | None = None) -> None:
        self.answer = answer
        self.login = login
        # Never Basic: a password does not go in the clear, whoever asks for it.
        self._digest = httpx.DigestAuth(login.user, login.password) if login is not None else None
        self.clock_offset = timedelta(0)
        """The device's clock minus ours: it takes no login whose time is off by its own clock."""
        self._client = client or httpx.AsyncClient(
            timeout=httpx.Timeout(_READ_S, connect=_CONNECT_S),
            follow_redirects=False,
            # What a proxy of the environment would see is nobody's business.
            trust_env=False,
            # Cameras sign their own certificates, with names that are not theirs. Plain HTTP, which
            # nearly all of them speak, is no safer, and the password itself is never sent.
            verify=False,  # noqa: S501
            headers=_HEADERS,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(self, path: str, body: str, *, anonymous: bool = False) -> Element:
        """The body of the answer of the service at a path of the device.

        Raises :exc:`UnreachableError`, :exc:`LoginRefusedError`, :exc:`MalformedAnswerError` and
        :exc:`~nvr.onvif.soap.FaultError`.
        """
        login = None if anonymous else self.login
        created = datetime.now(UTC) + self.clock_offset
        url = httpx.URL(self.answer.url).copy_with(raw_path=path.encode())
        try:
            request = self._client.build_request("POST", url, content=envelope(body, login, created))
            response = await self._client.send(request, stream=True, auth=None if anonymous else self._digest)
            try:
                data = await _bounded(response)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnreachableError(f"no answer from {self.answer.host}: {type(error).__name__}") from error
        if response.status_code in {401, 403}:
            raise LoginRefusedError
        if response.is_redirect:
            raise MalformedAnswerError("it sends us elsewhere, where nothing is asked")
        if response.status_code == 404:
            raise MalformedAnswerError("it has no such service")
        try:
            return parse(data)
        except FaultError as fault:
            if fault.login:
                raise LoginRefusedError from fault
            raise


async def _bounded(response: httpx.Response) -> bytes:
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > MAX_BYTES:
            raise MalformedAnswerError(f"an answer of more than {MAX_BYTES >> 20} MiB")
    return bytes(data)
