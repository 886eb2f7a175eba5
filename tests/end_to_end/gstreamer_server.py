"""An RTSP server for tests, by GStreamer; for the system's Python (Debian: gir1.2-gst-rtsp-server-1.0, python3-gi).

python3 gstreamer_server.py PORT PROTOCOL CLIP [USER PASSWORD] serves CLIP at /cam in a loop, over PROTOCOL (any, tcp,
udp), with the sound of one called "heard"; without CLIP ("") it takes what is published to /cam and serves that.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def main() -> None:
    port, protocol, clip, *account = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_shared(True)
    if protocol != "any":
        factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, protocol.upper()))
    if clip:
        factory.set_launch(
            f"( multifilesrc location={clip} loop=true ! matroskademux name=parts parts.video_0 ! queue ! "
            "h264parse config-interval=1 ! identity sync=true ! rtph264pay name=pay0 pt=96 "
            + ("parts.audio_0 ! queue ! audioconvert ! rtpL16pay name=pay1 pt=97 )" if "heard" in clip else ")")
            if clip.endswith(".mkv")
            else f"( videotestsrc is-live=true pattern={clip} ! video/x-raw,width=320,height=240,framerate=30/1 ! "
            "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 )"
        )
    else:
        factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        factory.set_launch("( rtph264depay name=depay0 ! h264parse ! avdec_h264 ! fakesink )")
    if account:
        protect(server, factory, *account)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


def protect(
    server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory, user: str, password: str
) -> None:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)


if __name__ == "__main__":
    main()
