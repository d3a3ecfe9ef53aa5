"""GStreamer's RTSP server as a camera. Runs in the system's Python, which has its bindings.

Prints ``port N`` when it listens (on 127.0.0.1), serves until it is killed or its
standard input ends, so that it never outlives the test that started it.

Generates pictures unless ``--file`` names an MP4, a QuickTime file or an MPEG transport
stream to play; then every client sees it from its start, once.
"""

# Needs gstreamer1.0-rtsp, gir1.2-gst-rtsp-server-1.0 and python3-gi, so it imports nothing of ours.
import argparse
import itertools
import sys
import threading
import time

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402


def encoder(options: argparse.Namespace) -> str:
    """The part of the pipeline that makes NAL units, or JPEG pictures."""
    if options.codec == "jpeg":
        return "jpegenc"
    if options.codec == "h264":
        return (
            f"x264enc speed-preset=ultrafast bframes={options.b_frames} b-adapt=false"
            f" key-int-max={options.gop} bitrate={options.kbit} threads=1 option-string=scenecut=0"
            " ! video/x-h264,profile=main ! h264parse"
        )
    return (
        f"x265enc speed-preset=ultrafast key-int-max={options.gop} bitrate={options.kbit}"
        f" option-string=bframes={options.b_frames}:b-adapt=0:scenecut=0:pools=1:open-gop=1 ! h265parse"
    )


PARSERS = {"h264": "h264parse", "h265": "h265parse", "jpeg": "jpegparse"}
PAYERS = {"h264": "rtph264pay", "h265": "rtph265pay", "jpeg": "rtpjpegpay"}
SOUNDS = {
    "aac": "aacparse ! rtpmp4gpay",
    "ulaw": "rtppcmupay",
    "alaw": "rtppcmapay",
    "opus": "opusparse ! rtpopuspay",
    "g722": "rtpg722pay",
}


CODERS = {
    "aac": (48000, "voaacenc"),
    "ulaw": (8000, "mulawenc"),
    "alaw": (8000, "alawenc"),
    "opus": (48000, "opusenc"),
    "g722": (16000, "avenc_g722"),
}


def generated(options: argparse.Namespace) -> str:
    """A pipeline that makes its pictures, in real time."""
    pay = f"{PAYERS[options.codec]} name=pay0"
    if options.codec != "jpeg":
        pay += f" pt=96 config-interval={options.config_interval}"
    size = f"video/x-raw,format=I420,width={options.width},height={options.height},framerate={options.fps}/1"
    pipeline = f"videotestsrc is-live=true pattern={options.pattern} ! {size} ! {encoder(options)} ! {pay}"
    if options.audio:
        rate, coder = {
            "aac": (48000, "voaacenc"),
            "opus": (48000, "opusenc"),
            "g722": (16000, "avenc_g722"),
        }.get(options.audio_codec, (8000, f"{options.audio_codec.replace('u', 'mu')}enc"))
        pipeline += (
            f" audiotestsrc is-live=true ! audio/x-raw,rate={rate},channels=1 ! {coder}"
            f" ! {SOUNDS[options.audio_codec]} name=pay1 pt=97"
        )
    return pipeline


def played(options: argparse.Namespace) -> str:
    """A pipeline that plays a file, in real time (the server's clock paces it)."""
    ts = options.file.endswith(".ts")
    pipeline = (
        f'filesrc location="{options.file}" ! {"tsdemux" if ts else "qtdemux"} name=d'
        f" d.{'' if ts else 'video_0'} ! queue ! {PARSERS[options.codec]} ! {PAYERS[options.codec]} name=pay0"
    )
    if options.codec != "jpeg":
        pipeline += f" pt=96 config-interval={options.config_interval}"
    if options.audio:
        pipeline += f" d.audio_0 ! queue ! {SOUNDS[options.audio_codec]} name=pay1 pt=97"
    return pipeline


def live(options: argparse.Namespace) -> str:
    """A pipeline that :class:`Loop` feeds: nobody can seek in it, as with a camera."""
    caps = f"video/x-{options.codec},stream-format=byte-stream,alignment=au,framerate={options.fps}/1"
    return (
        f'appsrc name=source is-live=true format=time caps="{caps}"'
        f" ! {PARSERS[options.codec]} ! {PAYERS[options.codec]} name=pay0 pt=96"
        f" config-interval={options.config_interval}"
    )


STAGGER_S = 1.37
"""Each pipeline of a looped file is so much further in it than the one before."""


class Loop:
    """A file's pictures over and over, each when it is due.

    Every PLAY of a client seeks in what can be sought in. Of a pipeline that many share this stops
    the pictures of all, and when many begin at once the server waits for itself for ever
    (``gst_rtsp_stream_set_blocked``, 1.22).
    """

    def __init__(self, options: argparse.Namespace) -> None:
        caps = f"video/x-{options.codec},stream-format=byte-stream,alignment=au"
        reader = Gst.parse_launch(
            f'filesrc location="{options.loop}" ! qtdemux ! {PARSERS[options.codec]} ! {caps}'
            " ! appsink name=out sync=false"
        )
        reader.set_state(Gst.State.PLAYING)
        out = reader.get_by_name("out")
        self._pictures: list[Gst.Buffer] = []
        while sample := out.emit("pull-sample"):
            self._pictures.append(sample.get_buffer())
        reader.set_state(Gst.State.NULL)
        self._every_s = 1 / options.fps
        self._begun = 0

    def feed(self, _factory: GstRtspServer.RTSPMediaFactory, media: GstRtspServer.RTSPMedia) -> None:
        """Begins to play into a pipeline that was made."""
        source = media.get_element().get_by_name("source")
        # Keyframes of different cameras come at different instants.
        first = int(self._begun * STAGGER_S / self._every_s) % len(self._pictures)
        self._begun += 1
        threading.Thread(target=self._play, args=(source, first), daemon=True).start()

    def _play(self, source: Gst.Element, first: int) -> None:
        start = time.monotonic()
        rest = itertools.islice(itertools.cycle(self._pictures), first, None)
        # The server answers nobody else until a pipeline has its first keyframe.
        for number, picture in enumerate(itertools.chain(self._pictures[:1], rest)):
            due_s = number * self._every_s
            time.sleep(max(0.0, start + due_s - time.monotonic()))
            copy = picture.copy()
            copy.pts = copy.dts = int(due_s * Gst.SECOND)
            copy.duration = int(self._every_s * Gst.SECOND)
            if source.emit("push-buffer", copy) != Gst.FlowReturn.OK:
                return  # nobody watches any more


def protect(
    server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, options: argparse.Namespace
) -> None:
    """Lets in one user."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "user")
    if options.login == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(options.user, options.password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(options.user, options.password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("user", right, True)
    factory.set_permissions(permissions)


def main() -> None:
    """Serves until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", default="/live")
    parser.add_argument("--port", default="0", help="where it listens; 0: where there is room")
    parser.add_argument("--codec", choices=tuple(PAYERS), default="h264")
    parser.add_argument("--file", help="a file to play instead of generated pictures")
    parser.add_argument("--loop", help="an MP4 without B-frames to play over and over, as a live camera")
    parser.add_argument("--audio", action="store_true", help="with sound")
    parser.add_argument("--audio-codec", choices=tuple(SOUNDS), default="aac")
    parser.add_argument("--b-frames", type=int, default=0)
    parser.add_argument("--gop", type=int, default=30, help="pictures from one keyframe to the next")
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--pattern", default="ball", help="of videotestsrc; snow fills the bitrate")
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--kbit", type=int, default=500)
    parser.add_argument("--shared", action="store_true", help="one pipeline for all clients")
    parser.add_argument(
        "--config-interval", type=int, default=-1, help="seconds between SPS and PPS; -1: every IDR"
    )
    parser.add_argument("--login", choices=("basic", "digest"))
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    options = parser.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    pipeline = live if options.loop else played if options.file else generated
    factory.set_launch(f"( {pipeline(options)} )")
    if options.loop:
        factory.connect("media-configure", Loop(options).feed)
    factory.set_shared(options.shared)
    if options.login:
        protect(server, factory, options)
    server.get_mount_points().add_factory(options.path, factory)
    loop = GLib.MainLoop()
    if server.attach(None) == 0:
        sys.exit("cannot listen on 127.0.0.1")

    def stop_at_end_of_input() -> None:
        sys.stdin.read()
        loop.quit()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    print(f"port {server.get_bound_port()}", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
