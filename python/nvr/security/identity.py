"""Who calls: derived in one place from the connection, before anything else looks.

- Mutual TLS with a certificate bound to a node key: that node.
- Mutual TLS with another certificate of a trusted authority: its common name.
- A bearer token (``authorization`` metadata) that the verifier knows: its holder.
- A Unix socket, or loopback without TLS: ``local``, whoever has an account here.
- Else anonymous.

What a node's parent asks over the uplink that the node has dialled is asked by that parent.
Over RTSP, which has logins of its own: an account of the settings, or ``local``.
"""

import inspect
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol
from urllib.parse import unquote

import grpc

from nvr.errors import AccessDenied, Unauthenticated
from nvr.security.tls import bound_node_id

__all__ = [
    "Caller",
    "IdentityInterceptor",
    "KnownCallers",
    "Policy",
    "ServiceCallers",
    "TokenVerifier",
    "current_caller",
    "identify",
]

CallerKind = Literal["anonymous", "local", "node", "certificate", "token", "account"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``name``: node id, common name or account; ``peer``: the address it calls from."""

    kind: CallerKind
    name: str = ""
    peer: str = ""

    @property
    def key(self) -> str:
        """What limits count by: the caller, or for an anonymous one its host."""
        return f"{self.kind}:{self.name or (_host(self.peer) if self.kind == 'anonymous' else '')}"

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


class Policy(Protocol):
    """Decides who may call what."""

    def authorize(self, caller: Caller, method: str) -> None:
        """Returns, or raises :exc:`AccessDenied`. ``method``: ``nvr.v1.FootageService/ReadClip``."""


@dataclass(frozen=True, slots=True)
class KnownCallers:
    """Lets in whoever is known; anonymous callers only if told so."""

    allow_anonymous: bool = False

    def authorize(self, caller: Caller, method: str) -> None:
        """Raises :exc:`Unauthenticated` for an anonymous caller."""
        if caller.kind == "anonymous" and not self.allow_anonymous:
            raise Unauthenticated(
                f"{method}: this node does not know you; call with a client certificate that it trusts, "
                "or from the node's own machine"
            )


@dataclass(frozen=True, slots=True)
class ServiceCallers:
    """One service for a few callers; for all else the policy behind it. ``local`` is among them always."""

    service: str
    """``nvr.v1.LeaseService``."""
    names: frozenset[str]
    """Node ids, and names of certificates."""
    others: Policy = field(default_factory=KnownCallers)

    def authorize(self, caller: Caller, method: str) -> None:
        """Raises :exc:`AccessDenied`."""
        self.others.authorize(caller, method)
        if method.partition("/")[0] != self.service or caller.kind == "local":
            return
        if caller.kind not in ("node", "certificate") or caller.name not in self.names:
            raise AccessDenied(f"{method}: this node's settings do not name you ({caller}) among its callers")


class TokenVerifier(Protocol):
    """Knows bearer tokens."""

    async def holder(self, token: str) -> str:
        """The account that a token stands for, or :exc:`Unauthenticated`."""


_caller: ContextVar[Caller | AccessDenied | None] = ContextVar("nvr_caller", default=None)


def current_caller() -> Caller:
    """Who makes the call being served. Raises what was wrong with the credentials, if something was."""
    found = _caller.get()
    if found is None:
        raise AccessDenied("no caller is known here: the call did not come through the identity interceptor")
    if isinstance(found, AccessDenied):
        raise found
    return found


async def identify(
    peer: str,
    auth_context: Mapping[str, Iterable[bytes]],
    authorization: str = "",
    verifier: TokenVerifier | None = None,
) -> Caller:
    """The caller behind a connection. Raises :exc:`Unauthenticated` for credentials that do not hold."""
    secure = "transport_security_type" in auth_context and not _is_plain(auth_context)
    certificates = list(auth_context.get("x509_pem_cert", ())) if secure else []
    if certificates:
        node_id = _bound_node_id(certificates[0])
        if node_id is not None:
            return Caller("node", node_id, peer)
        common_names = list(auth_context.get("x509_common_name", ()))
        if not common_names or not common_names[0]:
            raise Unauthenticated("the client certificate has neither a node nor a common name")
        return Caller("certificate", common_names[0].decode("utf-8", "replace"), peer)
    own_machine = not secure and _is_own_machine(peer)
    if authorization:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("authorization: only bearer tokens are understood")
        if verifier is None:
            raise Unauthenticated("authorization: this node takes no tokens")
        if not secure and not own_machine:
            raise Unauthenticated("authorization: a token over an unencrypted connection is not accepted")
        return Caller("token", await verifier.holder(token), peer)
    return Caller("local" if own_machine else "anonymous", "", peer)


# A node calls often with one certificate; the proof need not be checked each time.
_bound_node_id = lru_cache(maxsize=1024)(bound_node_id)


def _is_plain(auth_context: Mapping[str, Iterable[bytes]]) -> bool:
    return all(value == b"insecure" for value in auth_context["transport_security_type"])


def _host(peer: str) -> str:
    """The host of a gRPC peer: ``ipv4:127.0.0.1:5``, ``ipv6:%5B::1%5D:5``."""
    kind, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


@lru_cache(maxsize=1024)  # A connection has many calls.
def _is_own_machine(peer: str) -> bool:
    if peer.startswith(("unix:", "unix-abstract:")):
        return True
    try:
        address = ipaddress.ip_address(_host(peer).partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class IdentityInterceptor(grpc.aio.ServerInterceptor):
    """Puts the caller of every call where :func:`current_caller` finds it.

    ``fixed``: who every caller is, for a server that only one can reach.
    """

    def __init__(
        self, verifier: TokenVerifier | None = None, *, fixed: Callable[[], Caller] | None = None
    ) -> None:
        self._verifier = verifier
        self._fixed = fixed
        # A server has as many as its services have methods.
        self._known: dict[Any, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wraps the method's handler: only there is the connection known."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        wrapped = self._known.get(handler)
        if wrapped is None:
            wrapped = self._known[handler] = self._wrapped_handler(handler)
        return wrapped

    def _wrapped_handler(self, handler: Any) -> Any:
        name, make = _KINDS[(handler.request_streaming, handler.response_streaming)]
        behaviour = getattr(handler, name)
        return make(
            self._wrapped(behaviour),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrapped(self, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        # grpc.aio treats the two kinds of handler differently, and so the wrapper is of the same kind.
        if inspect.isasyncgenfunction(behaviour):

            async def generator(request: Any, context: Any) -> AsyncIterator[Any]:
                await self._set_caller(context)
                async for response in behaviour(request, context):
                    yield response

            return generator

        async def coroutine(request: Any, context: Any) -> Any:
            await self._set_caller(context)
            return await behaviour(request, context)

        return coroutine

    async def _set_caller(self, context: Any) -> None:
        if self._fixed is not None:
            _caller.set(self._fixed())
            return
        authorization = next(
            (value for key, value in context.invocation_metadata() or () if key == "authorization"), ""
        )
        text = authorization if isinstance(authorization, str) else authorization.decode("ascii", "replace")
        try:
            _caller.set(await identify(context.peer(), context.auth_context(), text, self._verifier))
        except AccessDenied as error:
            _caller.set(error)


_KINDS: dict[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}
