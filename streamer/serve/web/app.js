// Sends the camera to the server and shows only what comes back. `?watch=ID` only shows somebody else's.

const $ = (id) => document.getElementById(id);
const POLL_MS = 500;
const GATHER_MS = 2000; // at most, for candidates: all of them go into the offer
const viewed = new URLSearchParams(location.search).get("watch");

let connection = null;
let camera = null;
let session = null; // its address on the server
let viewerLink = "";
let timer = 0;

function show(kind, text) {
  $("state").dataset.kind = kind;
  $("state").textContent = text;
}

function fail(error) {
  const known = {
    NotAllowedError: "The browser was not allowed to use the camera. Allow it in the address bar, then start again.",
    NotFoundError: "There is no camera.",
    NotReadableError: "The camera is in use by another program.",
    OverconstrainedError: "The camera cannot do this size.",
  };
  $("error").textContent = known[error.name] ?? error.message;
  $("error").hidden = false;
  show("error", viewed ? $("error").textContent : "Something went wrong");
}

async function call(method, path, body, type) {
  const headers = {};
  if (type) headers["Content-Type"] = type;
  const token = sessionStorage.getItem("token");
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { method, headers, body });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (response.status === 401) {
    $("token-row").hidden = false;
    throw new Error("This server asks for a token.");
  }
  if (!response.ok) {
    const { error } = await response.json().catch(() => ({}));
    const wait = response.headers.get("Retry-After");
    throw new Error(`${error ?? response.statusText}${wait ? ` (try again in ${wait} s)` : ""}`);
  }
  return response;
}

async function connect(fill) {
  const { iceServers } = viewed ? { iceServers: [] } : await (await call("GET", "/ice")).json();
  connection = new RTCPeerConnection({ iceServers });
  const stream = new MediaStream();
  connection.ontrack = ({ track }) => {
    stream.addTrack(track);
    $("video").srcObject = stream;
  };
  connection.onconnectionstatechange = () => {
    const states = { connected: ["live", "Live"], connecting: ["wait", "Connecting …"], disconnected: ["wait", "Connection lost …"] };
    const [kind, text] = states[connection?.connectionState] ?? [];
    if (kind) show(kind, text);
    if (connection?.connectionState === "failed") stop(new Error("The connection was lost."));
  };
  fill(connection);
  await connection.setLocalDescription(await connection.createOffer());
  await gathered(connection);
  return connection.localDescription.sdp;
}

function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
  });
}

async function start() {
  $("error").hidden = true;
  if ($("token").value) sessionStorage.setItem("token", $("token").value);
  show("wait", "Asking for the camera …");
  const [width, height] = $("size").value.split("x").map(Number);
  const video = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
  if ($("camera").value) video.deviceId = { exact: $("camera").value };
  camera = await navigator.mediaDevices.getUserMedia({ video, audio: true }).catch(() => navigator.mediaDevices.getUserMedia({ video }));
  await listCameras();
  show("wait", "Connecting …");
  const sdp = await connect((pc) => camera.getTracks().forEach((track) => pc.addTrack(track, camera)));
  const answer = await (await call("POST", "/offer", sdp, "application/sdp")).json();
  session = answer.session;
  viewerLink = `${location.origin}/?watch=${answer.viewer}`;
  await connection.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  keepResolution(connection);
  $("stage").classList.add("on");
  $("copy").disabled = false;
  const figures = await (await call("GET", session)).json();
  if (figures.modes.includes(chosenMode())) await control(); // what was chosen before the start
  else draw(figures);
  timer = setInterval(poll, POLL_MS);
}

// A browser that finds the line slow would make the picture smaller; a face in it could then be lost.
function keepResolution(pc) {
  for (const sender of pc.getSenders().filter((one) => one.track?.kind === "video")) {
    const parameters = sender.getParameters();
    parameters.degradationPreference = "maintain-resolution";
    sender.setParameters(parameters).catch(() => {});
  }
}

async function watch() {
  show("wait", "Connecting …");
  document.body.classList.add("viewer");
  $("hint").textContent = "Waiting for the video …";
  const sdp = await connect((pc) => {
    pc.addTransceiver("video", { direction: "recvonly" });
    pc.addTransceiver("audio", { direction: "recvonly" });
  });
  const answer = await (await call("POST", `/whep/${encodeURIComponent(viewed)}`, sdp, "application/sdp")).text();
  await connection.setRemoteDescription({ type: "answer", sdp: answer });
  $("stage").classList.add("on");
  $("unmute").hidden = false;
}

function stop(error) {
  clearInterval(timer);
  camera?.getTracks().forEach((track) => track.stop());
  const old = connection;
  const ended = session ? call("DELETE", session).catch(() => {}) : Promise.resolve();
  ended.then(() => old?.close()); // the other way round the session would be gone already
  camera = connection = session = null;
  $("video").srcObject = null;
  $("stage").classList.remove("on");
  $("meters").hidden = true;
  $("copy").disabled = true;
  button();
  show("idle", "Camera off");
  if (error) fail(error);
}

async function poll() {
  const mine = session;
  try {
    const figures = await (await call("GET", mine)).json();
    if (session === mine) draw(figures);
  } catch (error) {
    if (session === mine) stop(error);
  }
}

function draw(figures) {
  $("meters").hidden = false;
  $("fps").textContent = figures.fps.toFixed(0);
  $("latency").textContent = `${figures.latency_ms} ms`;
  $("faces").textContent = figures.faces;
  const words = { generated: "replaced", mosaic: "mosaic", solid: "solid", frame: "whole picture" };
  $("tiers").textContent = Object.entries(figures.tiers).map(([tier, n]) => `${words[tier] ?? tier} ${n}`).join(", ") || "none";
  $("tiers").classList.toggle("warn", figures.shed);
  $("tiers").title = figures.shed ? "The server is busy: some faces are covered instead of replaced, or frames left out" : "";
  $("guard").textContent = figures.guard === null ? "–" : figures.guard.toFixed(2);
  for (const radio of document.getElementsByName("mode")) radio.disabled = !figures.modes.includes(radio.value);
  document.querySelector(`[name=mode][value=${figures.mode}]`).checked = true;
  $("beta-row").hidden = figures.mode !== "generate";
}

function chosenMode() {
  return document.querySelector("[name=mode]:checked").value;
}

async function control() {
  $("beta-value").textContent = `${Math.round(100 * (1 - $("beta").value))} %`;
  if (!session) return;
  const asked = JSON.stringify({ beta: Number($("beta").value), mode: chosenMode() });
  draw(await (await call("PATCH", session, asked, "application/json")).json());
}

async function listCameras() {
  const chosen = $("camera").value;
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
  $("camera").replaceChildren(...cameras.map(({ deviceId, label }, n) => new Option(label || `Camera ${n + 1}`, deviceId)));
  if (chosen) $("camera").value = chosen;
}

function button() {
  $("toggle").textContent = connection || camera ? "Stop" : "Start";
  $("toggle").classList.toggle("stop", Boolean(connection || camera));
}

if (viewed) {
  watch().catch(fail);
  $("unmute").onclick = () => {
    $("video").muted = false;
    $("unmute").hidden = true;
  };
} else {
  $("video").classList.add("mirrored");
  $("controls").onsubmit = async (event) => {
    event.preventDefault();
    if (connection || camera) return stop();
    $("toggle").disabled = true;
    await start().catch(stop);
    $("toggle").disabled = false;
    button();
  };
  $("beta").oninput = () => control().catch(fail);
  for (const radio of document.getElementsByName("mode")) radio.onchange = () => control().catch(fail);
  $("copy").onclick = async () => {
    await navigator.clipboard.writeText(viewerLink);
    $("copy").textContent = "Copied";
    setTimeout(() => ($("copy").textContent = "Copy viewer link"), 1500);
  };
  addEventListener("pagehide", () => session && navigator.sendBeacon && fetch(session, { method: "DELETE", keepalive: true }));
  if (!navigator.mediaDevices) fail(new Error("Browsers give cameras only to pages of https:// or of this machine."));
}
