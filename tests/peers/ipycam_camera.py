"""An ONVIF camera that somebody else wrote (ipycam), as a process of its own.

Its ONVIF and WS-Discovery are used, not its pictures: OpenCV, which those need, is
replaced by nothing. ``python -m tests.peers.ipycam_camera PORT RTSP_PORT USER PASSWORD``
"""

import sys
import types
from http.server import ThreadingHTTPServer
from unittest.mock import MagicMock


def main() -> None:
    port, rtsp_port, user, password = sys.argv[1:]
    sys.modules["cv2"] = MagicMock(spec=types.ModuleType("cv2"))
    from ipycam.config import CameraConfig
    from ipycam.discovery import WSDiscoveryServer
    from ipycam.http import IPCameraHTTPHandler
    from ipycam.onvif import ONVIFService

    config = CameraConfig(
        name="Cổng-chợ",
        manufacturer="ipycam",
        model="Virtual",
        serial_number="SN-1",
        local_ip="127.0.0.1",
        onvif_port=int(port),
        rtsp_port=int(rtsp_port),
        main_stream_name="gate/main",
        sub_stream_name="gate/sub",
        username=user,
        password=password,
    )
    camera = types.SimpleNamespace(config=config, onvif=ONVIFService(config))
    IPCameraHTTPHandler.camera = camera
    discovery = WSDiscoveryServer(camera.onvif)
    discovery.start()
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), IPCameraHTTPHandler)
    print("serving", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
