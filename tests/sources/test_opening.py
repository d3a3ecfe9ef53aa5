"""Which addresses are taken, what libav is told about them, and what of the machine may be read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvr.catalog.address import parse_address
from nvr.errors import InvalidArgument
from nvr.footage.admin import mask_password
from nvr.sources.opening import opening
from nvr.sources.rules import SCHEMES, SourceRules
from nvr.sources.sound import from_adts

TAKEN = [
    "http://u:p@10.0.0.7/live.m3u8",
    "https://camera.example:8443/live.ts?a=b",
    "rtmp://10.0.0.7/live/gate",
    "rtmps://10.0.0.7/live/gate",
    "srt://10.0.0.7:9000?passphrase=geheim-geheim",
    "tcp://10.0.0.7:9000",
    "udp://239.1.2.3:5000",
    "file:/srv/footage/a%20b.mp4?loop=1",
    "v4l2:/dev/video0?size=1280x720&rate=25",
]


@pytest.mark.parametrize("url", TAKEN)
def test_every_kind_is_taken_by_catalog_and_reader(url: str) -> None:
    assert parse_address(url).scheme == url.partition(":")[0]
    assert opening(url).options


def test_the_kinds_are_those_of_the_reader() -> None:
    assert {url.partition(":")[0] for url in TAKEN} == set(SCHEMES)


@pytest.mark.parametrize(
    "url",
    [
        "concat:/a|/b",
        "subfile:,,start,1,end,2,,:/a",
        "data:video/mp4;base64,AAAA",
        "pipe:0",
        "async:http://10.0.0.7/",
        "hls+http://10.0.0.7/a.m3u8",
        "lavfi:testsrc",
        "udp://10.0.0.7",
        "srt://10.0.0.7/x",
        "http:/10.0.0.7/x",
        "file:relative.mp4",
        "file://host/a.mp4",
        "v4l2:video0",
        "file:/srv/a.mp4#x",
        "file:/srv/%00.mp4",
    ],
)
def test_others_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^main_url: "):
        parse_address(url)


@pytest.mark.parametrize("url", ["file:/a.mp4?evil=1", "v4l2:/dev/video0?x=1", "file:/a.mp4?x", "pipe:0"])
def test_unknown_options_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        opening(url)


@given(st.sampled_from(TAKEN))
def test_nothing_leads_to_a_file_of_the_machine_but_a_file(url: str) -> None:
    found = opening(url)
    if not url.startswith(("file:", "v4l2:")):
        assert "file" not in found.options["protocol_whitelist"].split(",")
        assert not set(found.options["format_whitelist"].split(",")) & {"concat", "sdp", "lavfi", "image2"}


def test_only_named_folders_and_devices(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "out").symlink_to(tmp_path)
    rules = SourceRules(folders=(str(allowed),), devices=("/dev/video1",))
    for url in (f"file:{allowed}/a.mp4", "v4l2:/dev/video1?rate=5", "rtsp://h/x", "http://h/x", ""):
        rules.check(url)
    for url in (
        f"file:{tmp_path}/a.mp4",
        f"file:{allowed}/../a.mp4",
        f"file:{allowed}/%2e%2e/a.mp4",
        f"file:{allowed}/out/a.mp4",
        f"file:{allowed}-not/a.mp4",
        "v4l2:/dev/video0",
        "v4l2:/dev/../dev/video0",
    ):
        with pytest.raises(InvalidArgument, match="its settings name"):
            rules.check(url)
    with pytest.raises(InvalidArgument):
        SourceRules().check("file:/a.mp4", field="sub_url")


def test_passphrases_and_tokens_are_masked() -> None:
    for secret in ("passphrase", "token"):
        shown = mask_password(f"srt://10.0.0.7:9000?mode=caller&{secret}=geheim&latency=1")
        assert shown == f"srt://10.0.0.7:9000?mode=caller&{secret}=***&latency=1"


@given(st.binary(max_size=40))
def test_any_bytes_are_adts_or_not(data: bytes) -> None:
    found = from_adts(data)
    assert found is None or 0 < len(found[1]) < len(data)
