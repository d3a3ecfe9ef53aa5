"""NAL units come apart and together again."""

from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvr import nal
from nvr.errors import InvalidArgument

# As in a stream: no start code inside (emulation prevention sees to that), no zero at the end.
UNITS = st.lists(
    st.binary(min_size=2, max_size=60).map(lambda data: data.replace(b"\0", b"\1")), min_size=1, max_size=6
)


@settings(deadline=None)
@given(UNITS)
def test_length_prefixed_comes_back(units: list[bytes]) -> None:
    assert nal.split_length_prefixed(nal.join(units), 4) == units


@settings(deadline=None)
@given(UNITS, st.lists(st.booleans(), min_size=6, max_size=6))
def test_annex_b_comes_back(units: list[bytes], long: list[bool]) -> None:
    codes = (b"\0\0\0\1" if each else b"\0\0\1" for each in long)
    stream = b"".join(code + unit for code, unit in zip(codes, units, strict=False))
    assert nal.split_annex_b(stream) == units


@settings(deadline=None)
@given(UNITS, st.integers(1, 50))
def test_a_cut_sample_is_refused(units: list[bytes], cut: int) -> None:
    sample = nal.join(units)
    short = sample[: -min(cut, len(units[-1]))]
    with pytest.raises(InvalidArgument, match="cut"):
        nal.split_length_prefixed(short, 4)


@pytest.mark.parametrize("name", ["h264", "h265-open-gop"])
def test_a_decoder_takes_the_configuration_we_make(name: str, files: dict[str, Path]) -> None:
    with av.open(str(files[name])) as container:
        stream = container.streams.video[0]
        codec = "h264" if stream.codec.name == "h264" else "h265"
        record = bytes(stream.codec_context.extradata or b"")
        packets = [packet for packet in container.demux(stream) if packet.size][:5]
        start = 6 if codec == "h264" else 23
        kinds = (7, 8) if codec == "h264" else (32, 33, 34)
        sets: list[bytes] = []
        at = start
        for _ in kinds:
            at += (0 if codec == "h264" and not sets else 1) + (0 if codec == "h264" else 2)
            size = int.from_bytes(record[at : at + 2], "big")
            sets.append(record[at + 2 : at + 2 + size])
            at += 2 + size
        made = nal.decoder_configuration(codec, sets)
        assert nal.is_length_prefixed(made)
        assert nal.length_bytes(codec, made) == 4
        if codec == "h265":
            # Version, profile, compatibility, constraints, level: as the encoder wrote them.
            assert made[:13] == record[:13]
        decoder = av.CodecContext.create(stream.codec.name, "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.extradata = made
        decoded = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
        assert [(frame.width, frame.height) for frame in decoded] == [(320, 180)] * 5


def test_missing_parameter_sets_are_named() -> None:
    with pytest.raises(InvalidArgument, match="parameter sets"):
        nal.decoder_configuration("h264", [b"\x65\x01\x02"])
