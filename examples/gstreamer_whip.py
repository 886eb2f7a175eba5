"""Send a GStreamer pipeline to `veil serve` by WHIP: python3 examples/gstreamer_whip.py http://127.0.0.1:8080/whip/door.

By Debian's Python: python3-gi gir1.2-gst-plugins-bad-1.0 gstreamer1.0-nice gstreamer1.0-plugins-bad."""

import sys
from urllib.request import Request, urlopen

import gi

gi.require_versions({"Gst": "1.0", "GstWebRTC": "1.0", "GstSdp": "1.0"})
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

SOURCE = "videotestsrc is-live=true ! vp8enc deadline=1 keyframe-max-dist=60"  # or v4l2src ! videoconvert ! ...
RTP = "application/x-rtp,media=video,encoding-name=VP8,payload=96"


def offer(peer: Gst.Element) -> None:
    """Make an offer, and with it begin to look for ways to be reached."""
    sdp = lambda made: (reply := made.get_reply()) and reply.get_value("offer").copy()  # noqa: E731
    made = Gst.Promise.new_with_change_func(lambda made: peer.emit("set-local-description", sdp(made), None))
    peer.emit("create-offer", None, made)


def exchange(peer: Gst.Element, _: object) -> None:
    """Send the offer once it names every way to reach us; take the answer."""
    if peer.props.ice_gathering_state == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
        ours = peer.props.local_description.sdp.as_text().encode()
        with urlopen(Request(sys.argv[1], ours, {"Content-Type": "application/sdp"})) as got:
            message = GstSdp.SDPMessage.new_from_text(got.read().decode())[1]
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        peer.emit("set-remote-description", answer, None)


Gst.init(None)
playing = Gst.parse_launch(f"webrtcbin name=peer {SOURCE} ! rtpvp8pay ! {RTP} ! peer.")
playing.get_by_name("peer").connect("on-negotiation-needed", offer)
playing.get_by_name("peer").connect("notify::ice-gathering-state", exchange)
playing.set_state(Gst.State.PLAYING)
GLib.MainLoop().run()
