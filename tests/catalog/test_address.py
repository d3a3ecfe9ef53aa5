"""Addresses of streams: what is taken, what is refused, and that no refusal tells a password."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.catalog.address import parse_address
from nvr.errors import InvalidArgument
from nvr.footage.admin import mask_password

printable = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20).filter(str.isprintable)


def test_all_parts() -> None:
    address = parse_address("rtsp://us%65r:p%40ss%3Aw@10.0.0.7:8554/Streaming/1?a=b")
    assert (address.host, address.port, address.path) == ("10.0.0.7", 8554, "/Streaming/1?a=b")
    assert (address.user, address.password) == ("user", "p@ss:w")


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("rtsp://camera", "camera", 554, "/"),
        ("RTSP://Camera-1.local/x", "camera-1.local", 554, "/x"),
        ("rtsp://[fe80::1]:9/x", "fe80::1", 9, "/x"),
        ("rtsp://a.b.:1/", "a.b.", 1, "/"),
    ],
)
def test_hosts_and_ports(url: str, host: str, port: int, path: str) -> None:
    address = parse_address(url)
    assert (address.host, address.port, address.path) == (host, port, path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "an address is needed"),
        ("10.0.0.7/main", "must begin with rtsp://"),
        ("ftp://u:geheim@10.0.0.7/main", "must begin with rtsp://, not ftp:"),
        ("rtsps://u:geheim@10.0.0.7/main", "must begin with rtsp://, not rtsps:"),
        ("rtsp:///main", "names no host"),
        ("rtsp://u:geheim@/main", "names no host"),
        ("rtsp://u:geheim@10.0.0.7:0/", "port 0"),
        ("rtsp://u:geheim@10.0.0.7:99999/", "host or port"),
        ("rtsp://u:geheim@10.0.0.7:port/", "host or port"),
        ("rtsp://u:gehe/im@10.0.0.7/", "percent-encoded"),
        ("rtsp://u:gehe#im@10.0.0.7/", "percent-encoded"),
        ("rtsp://u:gehe?im@10.0.0.7/", "percent-encoded"),
        ("rtsp://u:gehe@im@10.0.0.7/", "%40"),
        ("rtsp://u:gehe:im@10.0.0.7/", "%3A"),
        ("rtsp://u:geheim%@10.0.0.7/", "%25"),
        ("rtsp://u:geheim%FF@10.0.0.7/", "UTF-8"),
        ("rtsp://u:geheim%00@10.0.0.7/", "control character"),
        ("rtsp://u:gehe im@10.0.0.7/", "percent-encoded"),
        ("rtsp://u:geheim@10.0.0.7/\x00", "percent-encoded"),
        ("rtsp://u:geheim@10.0.0/", "neither a name nor an IP address"),
        ("rtsp://u:geheim@-a/", "neither a name nor an IP address"),
        ("rtsp://u:geheim@[::1/", "host or port"),
        ("rtsp://u:geheim@10.0.0.7/a#b", "%23"),
        ("rtsp://h/" + "x" * 2000, "longer than"),
    ],
)
def test_refused_with_what_to_do(url: str, said: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_address(url, field="camera[3].main")
    assert said in str(caught.value)
    assert str(caught.value).startswith("camera[3].main: ")
    assert caught.value.field == "camera[3].main"
    assert "geheim" not in str(caught.value)
    assert "gehe" not in str(caught.value)


@given(printable, printable)
def test_login_survives_percent_encoding(user: str, password: str) -> None:
    address = parse_address(f"rtsp://{quote(user, safe='')}:{quote(password, safe='')}@h/")
    assert (address.user, address.password) == (user, password)


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        parse_address("rtsp://" + text)
    except InvalidArgument:
        return


def test_repr_shows_no_password() -> None:
    assert "geheim" not in repr(parse_address("rtsp://u:geheim@h/x?pwd=geheim"))


def test_metadata_is_asked_for_behind_the_address() -> None:
    asked = parse_address("rtsp://u:p@10.0.0.7/live?a=b#metadata")
    assert (asked.metadata, asked.path, asked.password) == (True, "/live?a=b", "p")
    assert not parse_address("rtsp://u:p@10.0.0.7/live").metadata
    assert mask_password("rtsp://u:p@10.0.0.7/live#metadata") == "rtsp://u:***@10.0.0.7/live#metadata"
    for wrong in (
        "rtsp://10.0.0.7/live#Metadata",
        "rtsp://10.0.0.7/#x#metadata",
        "http://10.0.0.7/a.ts#metadata",
    ):
        with pytest.raises(InvalidArgument, match="#metadata at the end"):
            parse_address(wrong)
