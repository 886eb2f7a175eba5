// A peer that sends by WHIP or watches by WHEP, as a browser has it, and begins ICE anew by a PATCH.
window.peer = async (path, constraints, codec) => {
  const pc = (window.pc = new RTCPeerConnection());
  const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true, id: "video" });
  document.body.replaceChildren(video);
  pc.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
  if (constraints) {
    const camera = await navigator.mediaDevices.getUserMedia(constraints);
    pc.addTransceiver(camera.getVideoTracks()[0], { direction: "sendonly" });
  } else pc.addTransceiver("video", { direction: "recvonly" });
  const known = (constraints ? RTCRtpSender : RTCRtpReceiver).getCapabilities("video").codecs;
  pc.getTransceivers()[0].setCodecPreferences(known.filter(({ mimeType }) => mimeType === `video/${codec}`));
  await offered(pc);
  const response = await fetch(path, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: pc.localDescription.sdp });
  if (response.status !== 201) throw new Error(await response.text());
  window.session = response.headers.get("Location");
  window.answer = await response.text();
  await pc.setRemoteDescription({ type: "answer", sdp: window.answer });
};

async function offered(pc, options) {
  const gathered = new Promise((done) => (pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && done()));
  await pc.setLocalDescription(await pc.createOffer(options));
  await gathered;
}

window.anew = async () => {
  await offered(window.pc, { iceRestart: true });
  const wanted = /^(a=(ice-ufrag|ice-pwd|candidate|mid)|m=)/;
  const body = window.pc.localDescription.sdp.split("\r\n").filter((line) => wanted.test(line)).join("\r\n") + "\r\n";
  const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" };
  const response = await fetch(window.session, { method: "PATCH", headers, body });
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  const ice = /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/;
  const theirs = (await response.text()).split("\r\n").filter((line) => ice.test(line));
  const kept = window.answer.split("\r\n").filter((line) => !ice.test(line));
  const medium = kept.findIndex((line) => line.startsWith("c=")) + 1;
  kept.splice(kept.indexOf("c=IN IP4 0.0.0.0", 4) + 1 || medium, 0, ...theirs);
  await window.pc.setRemoteDescription({ type: "answer", sdp: kept.join("\r\n") });
};

// Where the peer is reached now, and how many frames went there or came from it.
window.seen = async () => {
  const all = [...(await window.pc.getStats()).values()];
  const pair = all.find((one) => one.id === all.find((other) => other.type === "transport")?.selectedCandidatePairId);
  const remote = all.find((one) => one.id === pair?.remoteCandidateId);
  const media = all.find((one) => /^(in|out)bound-rtp$/.test(one.type) && one.kind === "video");
  return { port: remote?.port, frames: media?.framesDecoded ?? media?.framesEncoded ?? 0, codec: all.find((one) => one.id === media?.codecId)?.mimeType, state: window.pc.connectionState };
};
