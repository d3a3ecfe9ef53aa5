"""A recorder behind NAT and its gateway as real processes, with mutual TLS."""

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nvr
from nvr.footage.time import to_datetime
from nvr.footage.types import StreamState
from nvr.simulate.scenes import Scene, generate
from nvr.simulate.server import SimulatedCameras
from tests.support.processes import ChildProcess, wait_for
from tests.uplink.lines import Certificate, certificate

SCENE = Scene(width=320, height=180, fps=10, duration_s=8, gop_s=1.0, bit_rate=150_000)


def tls_section(own: Certificate, folder: Path, *peers: Certificate) -> str:
    trusted = folder / f"{own.key.id[:8]}-trusts.pem"
    trusted.write_bytes(b"".join(peer.pem.read_bytes() for peer in peers))
    return f'[tls]\ncert = "{own.pem}"\nkey = "{own.private}"\nclient_ca = "{trusted}"\n'


@contextmanager
def node(settings: Path, kind: str) -> Iterator[tuple[ChildProcess, str]]:
    process = ChildProcess(["-m", "nvr", kind, "--config", str(settings), "--json"])
    try:
        line = process.wait_line(lambda line: line.startswith("{"))
        yield process, json.loads(line)["grpc"]
    finally:
        process.stop()


def test_a_recorder_that_dials_its_gateway_is_asked_like_any_other(tmp_path: Path) -> None:
    # The nodes' keys are made beforehand, so that each can be named in the other's settings.
    ward = certificate(tmp_path / "ward", name="ward", hosts=["127.0.0.1"])
    house = certificate(tmp_path / "house", name="house-7", hosts=["127.0.0.1"])
    person = certificate(tmp_path / "person", name="officer")
    file = generate(SCENE, tmp_path / "scenes")
    with SimulatedCameras() as cameras:
        cameras.add("gate", file)
        (tmp_path / "ward.toml").write_text(
            f'[node]\nname = "ward"\ndata = "{tmp_path / "ward"}"\ngrpc = "127.0.0.1:0"\n'
            f"{tls_section(ward, tmp_path, house, person)}"
            f'[[child]]\nuplink = true\nnode = "{house.key.id}"\n'
        )
        with node(tmp_path / "ward.toml", "gateway") as (_, address):
            (tmp_path / "house.toml").write_text(
                f'[node]\nname = "house-7"\ndata = "{tmp_path / "house"}"\n'
                f'stores = ["{tmp_path / "store"}"]\n'
                f'grpc = "127.0.0.1:0"\n{tls_section(house, tmp_path, ward)}'
                f'[uplink]\nparent = "{address}"\ncap = "8Mbit"\n'
                f'[[camera]]\nname = "gate"\nmain = "{cameras.url("gate")}"\n'
            )
            with (
                node(tmp_path / "house.toml", "recorder") as (recorder, _),
                nvr.connect(address, ca=ward.pem, certificate=person.pem, key=person.private) as net,
            ):

                def recorded() -> bool:
                    found = net.cameras()
                    return bool(found) and all(
                        stream.state is StreamState.RECORDING
                        and stream.oldest_us > 0
                        and stream.newest_us - stream.oldest_us > 4_000_000
                        for camera in found
                        for stream in camera.streams[:1]
                    )

                wait_for(recorded, "the camera behind the uplink is recorded", every_s=0.2)
                (stream, *_) = net.cameras()[0].streams
                ends = to_datetime(stream.oldest_us), to_datetime(stream.oldest_us + 3_000_000)
                clip = net.camera("gate").clip(*ends)
                report = clip.save(tmp_path / "clip.mp4")
                assert report.complete
                assert report.parts[0].node == "house-7"
                assert report.parts[0].path.stat().st_size == report.parts[0].size_bytes
                # How long it takes is told beforehand, by the cap that the recorder's settings have.
                plan = clip.plan()
                assert plan.seconds is not None
                assert plan.seconds >= plan.size_bytes / 1_000_000
                assert "over the line of house-7" in plan.estimate
                command = [
                    "-m",
                    "nvr",
                    "clip",
                    "gate",
                    *(str(each.isoformat()) for each in ends),
                    "--dry-run",
                ]
                command += ["--node", address, "--ca", str(ward.pem), "--certificate", str(person.pem)]
                command += ["--key", str(person.private), "--json"]
                asked = ChildProcess(command)
                told = json.loads(asked.wait_line(lambda line: line.startswith("{")))
                asked.stop()
                assert told["size_bytes"] == plan.size_bytes
                assert told["estimate_seconds"] >= plan.size_bytes / 1_000_000
                assert told["parts"][0]["line"]["cap_bits_per_second"] == 8_000_000
                # Whom the recorder's audit record names: the gateway, by its node key.
                lines = (tmp_path / "house" / "audit.jsonl").read_text().splitlines()
                callers = {json.loads(line)["caller"] for line in lines}
                assert callers == {f"node:{ward.key.id}"}
                recorder.process.kill()
                recorder.stop()

                def missing() -> bool:
                    return [notice.code for notice in net.cameras().warnings] == ["node_unreachable"]

                wait_for(missing, "the gateway says that the recorder is away", every_s=0.2)


def test_a_copy_is_kept_of_what_is_behind_an_uplink(tmp_path: Path) -> None:
    """By a recorder next to the gateway, which asks that; over the line it goes last."""
    file = generate(SCENE, tmp_path / "scenes")
    common = 'grpc = "127.0.0.1:0"\nmetrics = "127.0.0.1:0"\n'
    with SimulatedCameras() as cameras:
        cameras.add("gate", file)
        (tmp_path / "ward.toml").write_text(
            f'[node]\nname = "ward"\ndata = "{tmp_path / "ward"}"\n{common}'
            '[[child]]\nuplink = true\nnode = "house-7"\n'
        )
        with node(tmp_path / "ward.toml", "gateway") as (_, ward):
            (tmp_path / "house.toml").write_text(
                f'[node]\nname = "house-7"\nstores = ["{tmp_path / "house"}"]\n{common}'
                f'[uplink]\nparent = "{ward}"\n[[camera]]\nname = "gate"\nmain = "{cameras.url("gate")}"\n'
            )
            (tmp_path / "keeper.toml").write_text(
                f'[node]\nname = "keeper"\nstores = ["{tmp_path / "keeper"}"]\n{common}'
                f'[[copy]]\nfrom = "{ward}"\nsince = "1h"\nevery = "1s"\n'
            )
            with (
                node(tmp_path / "house.toml", "recorder") as (house, _),
                node(tmp_path / "keeper.toml", "recorder") as (_, keeper),
                nvr.connect(keeper) as net,
            ):

                def copied() -> bool:
                    found = net.cameras()
                    return bool(found) and any(
                        stream.oldest_us and stream.newest_us - stream.oldest_us > 3_000_000
                        for stream in found[0].streams
                    )

                wait_for(copied, "the keeper has a copy", every_s=0.2)
                facts = json.loads(house.lines[0])
                with urllib.request.urlopen(f"http://{facts['metrics']}/metrics", timeout=10) as response:
                    text = response.read().decode()
                found = re.search(
                    r'^nvr_uplink_sent_bytes_total\{priority="bulk"\} (\S+)$', text, re.MULTILINE
                )
                assert found is not None
                assert float(found[1]) > 10_000
                assert "nvr_uplink_up 1.0" in text
