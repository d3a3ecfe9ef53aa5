"""SOAP 1.2 as ONVIF speaks it: questions with a WS-Security login, and answers that may be hostile.

Elements are looked up by their local names: devices get prefixes and namespaces wrong, and
no two elements that are asked for here share a name.
"""

import base64
import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from nvr.onvif.types import Login

__all__ = [
    "MAX_BYTES",
    "FaultError",
    "MalformedAnswerError",
    "all_of",
    "envelope",
    "first",
    "parse",
    "text_of",
]

MAX_BYTES = 1 << 20
"""Of an answer: the profiles of a recorder with 64 channels take a quarter of it."""
_MAX_ELEMENTS = 50_000
_MAX_TEXT = 4000
_MAX_FAULT = 300

_WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"


class MalformedAnswerError(Exception):
    """What came is no SOAP."""


class FaultError(Exception):
    """The device answered with a fault. ``login``: it is about who asks."""

    def __init__(self, text: str, *, login: bool) -> None:
        super().__init__(text)
        self.login = login


def envelope(body: str, login: Login | None = None, created: datetime | None = None) -> bytes:
    """A request. ``created``: the time by the device's clock (UTC), which it checks the login by."""
    header = "" if login is None or created is None else f"<s:Header>{_security(login, created)}</s:Header>"
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl"'
        ' xmlns:trt="http://www.onvif.org/ver10/media/wsdl"'
        ' xmlns:tr2="http://www.onvif.org/ver20/media/wsdl"'
        f' xmlns:tt="http://www.onvif.org/ver10/schema">{header}<s:Body>{body}</s:Body></s:Envelope>'
    ).encode()


def _security(login: Login, created: datetime) -> str:
    """UsernameToken with a digest (WS-Security UsernameToken Profile 1.0, section 3.1)."""
    nonce = os.urandom(16)
    when = created.strftime("%Y-%m-%dT%H:%M:%SZ")
    # The standard says SHA-1. It protects no more than a password sent once.
    digest = hashlib.sha1(nonce + when.encode() + login.password.encode()).digest()  # noqa: S324
    return (
        f'<w:Security xmlns:w="{_WSSE}-wssecurity-secext-1.0.xsd"'
        f' xmlns:u="{_WSSE}-wssecurity-utility-1.0.xsd" s:mustUnderstand="1"><w:UsernameToken>'
        f"<w:Username>{escape(login.user)}</w:Username>"
        f'<w:Password Type="{_WSSE}-username-token-profile-1.0#PasswordDigest">'
        f"{base64.b64encode(digest).decode()}</w:Password>"
        f'<w:Nonce EncodingType="{_WSSE}-soap-message-security-1.0#Base64Binary">'
        f"{base64.b64encode(nonce).decode()}</w:Nonce><u:Created>{when}</u:Created>"
        "</w:UsernameToken></w:Security>"
    )


def parse(data: bytes) -> Element:
    """The content of an envelope's body. Raises :exc:`MalformedAnswerError` and :exc:`FaultError`."""
    if len(data) > MAX_BYTES:
        raise MalformedAnswerError(f"an answer of more than {MAX_BYTES >> 20} MiB")
    try:
        # No DTD, so no entities: neither bombs nor files of ours.
        root = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        # LookupError: an encoding that does not exist.
        raise MalformedAnswerError("what it answers is no XML that is taken from a network") from error
    if sum(1 for _ in root.iter()) > _MAX_ELEMENTS:
        raise MalformedAnswerError(f"an answer of more than {_MAX_ELEMENTS} elements")
    body = first(root, "Body")
    if body is None:
        raise MalformedAnswerError("what it answers is no SOAP")
    fault = first(body, "Fault")
    if fault is not None:
        said = " ".join(filter(None, (_clean(each.text) for each in fault.iter())))
        raise FaultError(said[:_MAX_FAULT], login="NotAuthorized" in said or "FailedAuthentication" in said)
    return body


def all_of(element: Element, name: str) -> Iterator[Element]:
    """Elements with a local name, at any depth, in order."""
    return (each for each in element.iter() if each.tag.rpartition("}")[2] == name)


def first(element: Element | None, *path: str) -> Element | None:
    """The first element with the first name; within it, the first with the next; and so on."""
    for name in path:
        element = None if element is None else next(all_of(element, name), None)
    return element


def text_of(element: Element | None, *path: str) -> str:
    """The text of :func:`first`, on one line, at most 4,000 characters; empty without one."""
    found = first(element, *path)
    return "" if found is None else _clean(found.text)


def _clean(text: str | None) -> str:
    words = " ".join((text or "").split())
    return "".join(each if each.isprintable() else "?" for each in words)[:_MAX_TEXT]
