"""Addresses of cameras as a client checks them, before they travel."""

import pytest

from nvr.errors import InvalidArgument
from nvr.footage.admin import mask_password
from nvr.footage.checks import checked_url


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://u:geheim@10.0.0.7/main",
        "rtspu://u:geheim@10.0.0.7:8554/main",
        "http://u:geheim@10.0.0.9/live.m3u8",
        "udp://239.1.2.3:5000",
        "file:/srv/footage/gate.mp4?loop=1",
        "v4l2:/dev/video0",
    ],
)
def test_all_that_a_node_reads_is_taken(url: str) -> None:
    assert checked_url(url, "main_url") == url
    assert "geheim" not in mask_password(url)


@pytest.mark.parametrize(
    "url", ["ftp://u:geheim@h/", "rtspu:///geheim", "rtspu://u:geheim@h:0/", "file:geheim", "geheim", ""]
)
def test_anything_else_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        checked_url(url, "main_url")
    assert "geheim" not in str(caught.value)
