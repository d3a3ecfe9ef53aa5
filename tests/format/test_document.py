"""The tables of the document are the reader's, and its examples hold."""

import hashlib
import re
from typing import Any

import pytest

from tests.format import reader
from tests.support.documents import ROOT

PAGE = (ROOT / "docs/on-disk-format.md").read_text(encoding="utf-8")
LAYOUT = re.compile(r"<!-- layout: (\w+) -->\n((?:\|.*\n)+)")
KINDS = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i32": "i", "i64": "q"}
TYPES: dict[str, type[Any]] = {
    "header": reader.Header,
    "identity": reader.Identity,
    "info": reader.Info,
    "metadata_info": reader.MetadataInfo,
    "prft": reader.Prft,
    "entry": reader.Entry,
    "track_run": reader.TrackRun,
    "picture": reader.Picture,
    "sound": reader.Sound,
    "trailer": reader.Trailer,
    "index_header": reader.IndexHeader,
    "index_record": reader.IndexRecord,
    "watermark": reader.Watermark,
    "durable_header": reader.DurableHeader,
    "durable_entry": reader.DurableEntry,
}


def rows(table: str) -> list[list[str]]:
    """Cells of a Markdown table's rows, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


TABLES = {name: rows(table) for name, table in LAYOUT.findall(PAGE)}


def code(kind: str) -> str:
    if array := re.fullmatch(r"bytes\[(\d+)\]", kind):
        return f"{array[1]}s"
    return KINDS[kind]


def size(kind: str) -> int:
    return int(re.sub(r"\D", "", kind)) // (1 if kind.startswith("bytes") else 8)


def test_every_table_has_a_structure() -> None:
    assert set(TABLES) == set(TYPES) | {"parameters", "parameters_2", "parameters_3"}
    assert set(TYPES.values()) == set(reader.LAYOUTS)


@pytest.mark.parametrize("name", TYPES)
def test_a_table_is_the_readers_structure(name: str) -> None:
    kind = TYPES[name]
    layout = reader.LAYOUTS[kind]
    assert layout.format[1:] == "".join(code(row[1]) for row in TABLES[name])
    # A second field of one name has a number behind it.
    assert [re.sub(r"_\d$", "", field) for field in kind._fields] == [row[2] for row in TABLES[name]]


@pytest.mark.parametrize("name", TYPES)
def test_offsets_of_a_table_add_up(name: str) -> None:
    at = 0
    for offset, kind, *_ in TABLES[name]:
        assert int(offset) == at
        at += size(kind)
    assert at == reader.LAYOUTS[TYPES[name]].size


def test_codec_parameters_are_the_readers() -> None:
    assert tuple((field, kind) for kind, field, _ in TABLES["parameters"]) == reader.PARAMETERS
    assert tuple((field, kind) for kind, field, _ in TABLES["parameters_2"]) == reader.PARAMETERS_2
    assert tuple((field, kind) for kind, field, _ in TABLES["parameters_3"]) == reader.PARAMETERS_3


def test_sizes_in_the_text_are_those_of_the_tables() -> None:
    sizes = {name: reader.LAYOUTS[kind].size for name, kind in TYPES.items()}
    assert f"F × {sizes['entry']} bytes" in PAGE
    assert f"V × {sizes['picture']} bytes" in PAGE
    assert f"A × {sizes['sound']} bytes" in PAGE
    assert f"size − {sizes['trailer']} | {sizes['trailer']} bytes" in PAGE
    assert f"header of {sizes['index_header']} bytes, then records of {sizes['index_record']} bytes" in PAGE
    assert f"| {24 + sizes['identity']} | bytes[P] |" in PAGE


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("`nvr.segm.head` 00 00 01", reader.HEADER_TYPE),
        ("`nvr.fragment` 00 00 00 01", reader.INFO_TYPE),
        ("`nvr.metadata` 00 00 00 01", reader.METADATA_TYPE),
        ("`nvr.footer` 00 00 00 00 00 01", reader.FOOTER_TYPE),
    ],
)
def test_user_types_are_the_readers(text: str, kind: bytes) -> None:
    assert text in PAGE
    name, zeros = text.strip("`").split("` ")
    assert name.encode() + bytes.fromhex(zeros) == kind
    assert len(kind) == 16


def test_the_example_of_a_digest_holds() -> None:
    found = re.search(r"<!-- digest example -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert found
    parts = re.fullmatch(r"table(.*)samples(.*)SHA-256(.*)", found[1], re.DOTALL)
    assert parts
    table, payload, digest = (bytes.fromhex("".join(part.split())) for part in parts.groups())
    assert hashlib.sha256(table + payload).digest() == digest
    pictures = [reader.Sample(6, 3000, 0, True), reader.Sample(5, 40, -7, False)]
    assert reader.digest_table(b"v", pictures) == table
    assert reader.track_digest(b"v", pictures, payload) == digest


def test_the_example_of_a_checksum_holds() -> None:
    assert "Of the ASCII text `123456789` it is 0xE3069283" in PAGE
    assert reader.crc32c(b"123456789") == 0xE306_9283


def test_the_example_of_an_event_holds() -> None:
    found = re.search(r"```text\n([0-9a-f]{8} \{.*\}\n)```", PAGE)
    assert found
    assert reader.read_events(found[1].encode())[0]["kind"] == "run_ended"
