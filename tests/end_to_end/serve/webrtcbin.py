"""A WebRTC peer for tests, by GStreamer, whose certificate is RSA; for the system's Python.

`python3 webrtcbin.py whip VP8 URL` sends a test picture by WHIP, `… whep H264 URL` watches; either prints the
states of its connection, and one that watches "frame" for each. Debian: gir1.2-gst-plugins-bad-1.0,
gstreamer1.0-nice, gstreamer1.0-plugins-bad, python3-gi.
"""

import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

CAPS = "application/x-rtp,media=video,payload=96,clock-rate=90000,encoding-name="
MADE = {  # how a codec is sent, and watched
    "VP8": ("vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 ! rtpvp8pay pt=96", "rtpvp8depay ! vp8dec"),
    "H264": (
        "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 ! video/x-h264,profile=constrained-baseline ! "
        "rtph264pay pt=96 config-interval=1 aggregate-mode=zero-latency",
        "rtph264depay ! avdec_h264",
    ),
}
ASKED = {"VP8": "", "H264": ",packetization-mode=(string)1"}
SENDING = (
    "webrtcbin name=peer videotestsrc is-live=true pattern=smpte ! "
    "video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! {made} ! {caps} ! peer."
)


def main() -> None:
    kind, codec, url = sys.argv[1:]
    made, screen = MADE[codec]
    Gst.init(None)
    sending = SENDING.format(made=made, caps=CAPS + codec)
    pipeline = Gst.parse_launch(sending) if kind == "whip" else Gst.Pipeline.new(None)
    if kind == "whep":
        pipeline.add(Gst.ElementFactory.make("webrtcbin", "peer"))
    peer = pipeline.get_by_name("peer")
    peer.connect("on-negotiation-needed", offer)
    peer.connect("notify::ice-gathering-state", exchange, url)
    peer.connect("notify::connection-state", lambda *_: say(peer.get_property("connection-state").value_nick))
    if kind == "whep":
        peer.connect("pad-added", show, pipeline, screen)
        receive = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        peer.emit("add-transceiver", receive, Gst.Caps.from_string(CAPS + codec + ASKED[codec]))
    pipeline.set_state(Gst.State.PLAYING)
    GLib.MainLoop().run()


def say(word: str) -> None:
    print(word, flush=True)


def offer(peer: Gst.Element) -> None:
    def created(promise: Gst.Promise) -> None:
        reply = promise.get_reply()
        made = reply.get_value("offer")  # both stay named while they are read: GStreamer frees them otherwise
        ours = description(made.sdp.as_text(), GstWebRTC.WebRTCSDPType.OFFER)
        peer.emit("set-local-description", ours, Gst.Promise.new())

    peer.emit("create-offer", None, Gst.Promise.new_with_change_func(created))


def exchange(peer: Gst.Element, _: object, url: str) -> None:
    if peer.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        return
    body = peer.get_property("local-description").sdp.as_text().encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/sdp"}, method="POST")
    with urllib.request.urlopen(request) as response:
        answer = description(response.read().decode(), GstWebRTC.WebRTCSDPType.ANSWER)
    peer.emit("set-remote-description", answer, Gst.Promise.new())


def description(text: str, kind: GstWebRTC.WebRTCSDPType) -> GstWebRTC.WebRTCSessionDescription:
    _, message = GstSdp.SDPMessage.new()
    GstSdp.sdp_message_parse_buffer(text.encode(), message)
    return GstWebRTC.WebRTCSessionDescription.new(kind, message)


def show(_: Gst.Element, pad: Gst.Pad, pipeline: Gst.Pipeline, decoder: str) -> None:
    screen = Gst.parse_bin_from_description(f"{decoder} ! fakesink name=end signal-handoffs=true", True)
    screen.get_by_name("end").connect("handoff", lambda *_: say("frame"))
    pipeline.add(screen)
    screen.sync_state_with_parent()
    pad.link(screen.get_static_pad("sink"))


if __name__ == "__main__":
    main()
