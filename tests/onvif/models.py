"""Devices that answer in the shape in which real makes do, deviations included, over real sockets.

Prefixes, namespaces, order and mistakes follow what these makes send; names and addresses are made up.
"""

import base64
import hashlib
import http.server
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from nvr.onvif.probe import GROUP

USER, PASSWORD = "admin", "pass:w/rd<&>"
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><{p}:Envelope xmlns:{p}="http://www.w3.org/2003/05/soap-envelope"'
    ' xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl"'
    ' xmlns:tr2="http://www.onvif.org/ver20/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema"'
    ' xmlns:ter="http://www.onvif.org/ver10/error"><{p}:Body>{body}</{p}:Body></{p}:Envelope>'
)
_FAULT = (
    "<{p}:Fault><{p}:Code><{p}:Value>{p}:Sender</{p}:Value><{p}:Subcode><{p}:Value>ter:{code}</{p}:Value>"
    '</{p}:Subcode></{p}:Code><{p}:Reason><{p}:Text xml:lang="en">{text}</{p}:Text></{p}:Reason></{p}:Fault>'
)


@dataclass
class Model:
    """How one make behaves."""

    name: str
    answers: dict[str, str]
    """Content of the body by the question; ``{host}`` and ``{port}`` are the device's own."""
    login: str = "wsse"
    """``wsse``, ``digest`` or none."""
    clock: timedelta = timedelta(0)
    prefix: str = "SOAP-ENV"
    refusal_status: int = 400
    believes: str = "192.168.1.64"
    """What it takes for its own address."""
    asked: list[str] = field(default_factory=list)
    logins_seen: list[str] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)


def _clock(model: Model) -> str:
    now = datetime.now(UTC) + model.clock
    time = (
        f"<tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second>"
    )
    date = f"<tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day>"
    kind = "LocalDateTime" if model.name == "xm" else "UTCDateTime"
    return (
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType>"
        "<tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>CST-7:00:00</tt:TZ></tt:TimeZone>"
        f"<tt:{kind}><tt:Time>{time}</tt:Time><tt:Date>{date}</tt:Date></tt:{kind}>"
        "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    )


def _information(make: str, model: str, firmware: str, serial: str) -> str:
    return (
        f"<tds:GetDeviceInformationResponse><tds:Manufacturer>{make}</tds:Manufacturer><tds:Model>{model}"
        f"</tds:Model><tds:FirmwareVersion>{firmware}</tds:FirmwareVersion><tds:SerialNumber>{serial}"
        "</tds:SerialNumber><tds:HardwareId>88</tds:HardwareId></tds:GetDeviceInformationResponse>"
    )


def _services(**paths: str) -> str:
    names = {"device": "ver10/device", "media": "ver10/media", "media2": "ver20/media"}
    each = (
        f"<tds:Service><tds:Namespace>http://www.onvif.org/{names[name]}/wsdl</tds:Namespace>"
        f"<tds:XAddr>http://{{believes}}{path}</tds:XAddr></tds:Service>"
        for name, path in paths.items()
    )
    return f"<tds:GetServicesResponse>{''.join(each)}</tds:GetServicesResponse>"


def _profile(token: str, source: str, codec: str, size: str, fps: str = "25", kbit: str = "4096") -> str:
    width, _, height = size.partition("x")
    return (
        f'<trt:Profiles token="{token}" fixed="true"><tt:Name>{token.lower()}</tt:Name>'
        f'<tt:VideoSourceConfiguration token="V{source}"><tt:Name>v</tt:Name><tt:UseCount>2</tt:UseCount>'
        f"<tt:SourceToken>{source}</tt:SourceToken></tt:VideoSourceConfiguration>"
        '<tt:AudioEncoderConfiguration token="A"><tt:Encoding>G711</tt:Encoding>'
        "</tt:AudioEncoderConfiguration>"
        f'<tt:VideoEncoderConfiguration token="E{token}"><tt:Encoding>{codec}</tt:Encoding><tt:Resolution>'
        f"<tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution><tt:RateControl>"
        f"<tt:FrameRateLimit>{fps}</tt:FrameRateLimit><tt:BitrateLimit>{kbit}</tt:BitrateLimit></tt:RateControl>"
        "</tt:VideoEncoderConfiguration></trt:Profiles>"
    )


def _profile_2(token: str, source: str, codec: str, size: str) -> str:
    width, _, height = size.partition("x")
    return (
        f'<tr2:Profiles token="{token}" fixed="true"><tr2:Name>{token.lower()}</tr2:Name><tr2:Configurations>'
        f'<tr2:VideoSource token="V"><tt:Name>v</tt:Name><tt:SourceToken>{source}</tt:SourceToken>'
        f'</tr2:VideoSource><tr2:VideoEncoder token="E{token}" GovLength="50"><tt:Encoding>{codec}'
        f"</tt:Encoding><tt:Resolution><tt:Width>{width}</tt:Width><tt:Height>{height}</tt:Height>"
        '</tt:Resolution><tt:RateControl ConstantBitRate="false"><tt:FrameRateLimit>20</tt:FrameRateLimit>'
        "<tt:BitrateLimit>3072</tt:BitrateLimit></tt:RateControl></tr2:VideoEncoder></tr2:Configurations>"
        "</tr2:Profiles>"
    )


def _stream_uri(url: str) -> str:
    media = f"<trt:MediaUri><tt:Uri>{url}</tt:Uri></trt:MediaUri>"
    return f"<trt:GetStreamUriResponse>{media}</trt:GetStreamUriResponse>"


def _snapshot_uri(url: str) -> str:
    return _stream_uri(url).replace("GetStreamUri", "GetSnapshotUri")


def hikvision() -> Model:
    """H.265 by the second media service; its own old address everywhere; a clock that is an hour ahead."""
    return Model(
        "hikvision",
        {
            "GetDeviceInformation": _information(
                "HIKVISION", "DS-2CD2143G2-I", "V5.7.3 build 220315", "AB123"
            ),
            "GetServices": _services(
                device="/onvif/device_service", media="/onvif/Media", media2="/onvif/Media2"
            ),
            "tr2:GetProfiles": "<tr2:GetProfilesResponse>"
            + _profile_2("Profile_1", "VideoSource_1", "H265", "2688x1520")
            + _profile_2("Profile_2", "VideoSource_1", "H264", "640x360")
            + _profile_2("Profile_3", "VideoSource_1", "JPEG", "320x240")
            + "</tr2:GetProfilesResponse>",
            "tr2:GetStreamUri": "<tr2:GetStreamUriResponse><tr2:Uri>rtsp://{believes}:554/Streaming/Channels/"
            "{token}?transportmode=unicast&amp;profile={token}</tr2:Uri></tr2:GetStreamUriResponse>",
            "tr2:GetSnapshotUri": "<tr2:GetSnapshotUriResponse><tr2:Uri>http://{believes}/onvif-http/snapshot"
            "?{token}</tr2:Uri></tr2:GetSnapshotUriResponse>",
        },
        clock=timedelta(hours=1),
        prefix="env",
    )


def dahua() -> Model:
    """A recorder with two channels; version 1 only."""
    profiles = "".join(
        _profile(f"MediaProfile0000{channel}", f"0000{channel // 2}", "H264", size)
        for channel, size in enumerate(("1920x1080", "704x576", "1280x720", "352x288"))
    )
    return Model(
        "dahua",
        {
            "GetDeviceInformation": _information("Dahua", "DHI-XVR5104HS", "4.001.0000000.1.R", "6J0A"),
            "GetServices": _services(device="/onvif/device_service", media="/onvif/media_service"),
            "trt:GetProfiles": f"<trt:GetProfilesResponse>{profiles}</trt:GetProfilesResponse>",
            "trt:GetStreamUri": _stream_uri(
                "rtsp://{believes}:554/cam/realmonitor?channel=1&amp;subtype=0&amp;unicast=true&amp;proto={token}"
            ),
            "trt:GetSnapshotUri": _snapshot_uri("http://{believes}/onvifsnapshot/media_service/{token}"),
        },
        prefix="s",
    )


def axis() -> Model:
    """Wants HTTP Digest, and knows its address."""
    return Model(
        "axis",
        {
            "GetDeviceInformation": _information("AXIS", "P3245-V", "10.12.153", "ACCC8E000001"),
            "GetServices": _services(device="/onvif/device_service", media="/onvif/services"),
            "trt:GetProfiles": "<trt:GetProfilesResponse>"
            + _profile("profile_1_h264", "0", "H264", "1920x1080")
            + _profile("profile_1_jpeg", "0", "JPEG", "1920x1080")
            + "</trt:GetProfilesResponse>",
            "trt:GetStreamUri": _stream_uri(
                "rtsp://{host}/onvif-media/media.amp?profile={token}&amp;sessiontimeout=60&amp;streamtype=unicast"
            ),
        },
        login="digest",
        refusal_status=401,
    )


def xm() -> Model:
    """Cheap: no GetServices, local time only, the password in the path, no sizes, no login asked for."""
    profiles = _profile("000", "000", "H264", "x", "", "") + _profile("001", "000", "H264", "x", "", "")
    return Model(
        "xm",
        {
            "GetDeviceInformation": _information("H264", "XM530_R80X30-PQ_8M", "V5.00.R02", ""),
            "GetCapabilities": "<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Device><tt:XAddr>"
            "http://{believes}:8899/onvif/device_service</tt:XAddr></tt:Device><tt:Media><tt:XAddr>"
            "http://{believes}:8899/onvif/Media</tt:XAddr></tt:Media></tds:Capabilities>"
            "</tds:GetCapabilitiesResponse>",
            "trt:GetProfiles": f"<trt:GetProfilesResponse>{profiles}</trt:GetProfilesResponse>",
            "trt:GetStreamUri": _stream_uri(
                "rtsp://{believes}:554/user=admin_password=tlJwpbo6_channel=1_stream={token}.sdp?real_stream"
            ),
        },
        login="",
    )


MODELS: dict[str, Callable[[], Model]] = {"hikvision": hikvision, "dahua": dahua, "axis": axis, "xm": xm}


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_POST(self) -> None:
        model = self.server.model
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = text.partition(":Body>")[2]
        question = re.search(r"<((?:tds|trt|tr2):\w+)", body)
        name = question[1] if question else ""
        model.asked.append(f"{self.path} {name}")
        model.logins_seen.append(self.headers.get("Authorization", "") + text.partition("<s:Body>")[0])
        if name == "tds:GetSystemDateAndTime":
            self._answer(200, _clock(model))
        elif model.login == "digest" and not self._digest_is_right():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="AXIS"')
            self.send_header(
                "WWW-Authenticate", 'Digest realm="AXIS", nonce="0a1b", qop="auth", algorithm=MD5'
            )
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif model.login == "wsse" and not _token_is_right(model, text):
            fault = _FAULT.format(p=model.prefix, code="NotAuthorized", text="Sender not authorized")
            self._answer(model.refusal_status, fault)
        else:
            found = model.answers.get(name) or model.answers.get(name.removeprefix("tds:"))
            if found is None:
                self._answer(
                    500, _FAULT.format(p=model.prefix, code="ActionNotSupported", text="not implemented")
                )
                return
            token = re.search(r"ProfileToken>([^<]*)<", body)
            values = {"host": "127.0.0.1", "believes": model.believes, "token": token[1] if token else ""}
            for key, value in values.items():
                found = found.replace("{" + key + "}", value)
            self._answer(200, found)

    def _answer(self, status: int, body: str) -> None:
        data = _ENVELOPE.format(p=self.server.model.prefix, body=body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/soap+xml; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _digest_is_right(self) -> bool:
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', self.headers.get("Authorization", "")))

        def md5(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        wanted = md5(
            ":".join(
                (
                    md5(f"{USER}:AXIS:{PASSWORD}"),
                    *(given.get(key, "") for key in ("nonce", "nc", "cnonce", "qop")),
                    md5(f"POST:{self.path}"),
                )
            )
        )
        return given.get("username") == USER and given.get("response") == wanted

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _token_is_right(model: Model, text: str) -> bool:
    """Name, digest, a nonce that was never seen, and a time that is right by the device's own clock."""

    def part(name: str) -> str:
        found = re.search(rf"<\w+:{name}\b[^>]*>([^<]*)<", text)
        return found[1] if found else ""

    if part("Username") != USER or part("Nonce") in model.nonces:
        return False
    model.nonces.add(part("Nonce"))
    created = datetime.strptime(part("Created"), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if abs(datetime.now(UTC) + model.clock - created) > timedelta(seconds=30):
        return False
    nonce = base64.b64decode(part("Nonce"))
    digest = hashlib.sha1(nonce + part("Created").encode() + PASSWORD.encode()).digest()
    return part("Password") == base64.b64encode(digest).decode()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    model: Model


@contextmanager
def running(server: http.server.ThreadingHTTPServer) -> Iterator[int]:
    """A server at work; its port."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(model: Model) -> Iterator[int]:
    """Its port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.model = model
    with running(server) as port:
        yield port


@contextmanager
def answering_probes(answers: list[str], port: int = 0) -> Iterator[int]:
    """A port of loopback, in the multicast group too, where probes are answered with these texts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
        member = struct.pack("4s4s", socket.inet_aton(GROUP), socket.inet_aton("127.0.0.1"))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        sock.settimeout(0.05)
        done = threading.Event()

        def answer() -> None:
            while not done.is_set():
                try:
                    question, sender = sock.recvfrom(65536)
                except TimeoutError:
                    continue
                if b"NetworkVideoTransmitter" in question:
                    for text in answers:
                        sock.sendto(text.encode(), sender)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            done.set()
            thread.join()


def probe_match(url: str, *, endpoint: str = "urn:uuid:1", scopes: str = "") -> str:
    """An answer to a probe."""
    return (
        '<?xml version="1.0"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"'
        ' xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><e:Body><d:ProbeMatches><d:ProbeMatch>'
        f"<w:EndpointReference><w:Address>{endpoint}</w:Address></w:EndpointReference>"
        f"<d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>{scopes}</d:Scopes>"
        f"<d:XAddrs>{url}</d:XAddrs></d:ProbeMatch></d:ProbeMatches></e:Body></e:Envelope>"
    )
