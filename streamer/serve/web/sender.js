// Sends the camera and shows only what comes back; before that, a green room whose picture stays here.

import { GreenRoom } from "./green_room.js";
import { Microphone } from "./microphone.js";
import { $, calm, fail, keep, kept, show } from "./page.js";
import { picture } from "./qr.js";
import { Regions } from "./regions.js";
import { Connection, START_MS, call, persist } from "./server.js";
import { say } from "./words.js";

const POLL_MS = 500;
const CHANGE_MS = 200; // from one change of the slider to the next that is sent
const NOTICE_MS = 5000; // that a notice stays, so that it can be read
const MISSES = 2; // questions without an answer, after which that is said
const VAIN = [400, 401, 403, 406, 409, 413, 415];

let camera = null; // its stream
let link = null; // the connection
let isWanted = false; // whether to be live, also while that fails
let isOpening = false;
let wasLive = false;
let timer = 0, missed = 0, address = "";
let changing = 0, noticed = 0;
let before = {}; // statistics of the last look
const regions = new Regions({ layer: $("regions"), video: $("video"), changed: () => control().catch(fail) });
const microphone = new Microphone($("voice"));
const green = new GreenRoom($("mine"), { advice: $("advice"), meter: $("light") });

export function send() {
  for (const name of ["size", "privacy"]) if (kept(name)) $(name).value = kept(name);
  if (kept("mode")) document.querySelector(`[name=mode][value=${kept("mode")}]`).checked = true;
  $("room").value = kept("room") || invented();
  said();
  list();
  $("video").classList.add("mirrored");
  $("controls").onsubmit = (event) => {
    event.preventDefault();
    if (isWanted) stop();
    else start().catch(stop);
  };
  $("hang").onclick = () => stop();
  $("check").onclick = () => (camera ? leave() : check()).catch(stop);
  for (const name of ["camera", "size"]) $(name).onchange = () => change(name).catch(fail);
  $("privacy").oninput = () => {
    said();
    if (!changing) changing = setTimeout(() => control().catch(fail), CHANGE_MS);
  };
  for (const radio of document.getElementsByName("mode")) radio.onchange = () => control().catch(fail);
  $("room").onchange = () => $("room").checkValidity() && keep("room", $("room").value);
  $("figures").onclick = () => meters(kept("figures") === "off");
  $("share").onclick = share;
  $("close").onclick = () => $("link").close();
  $("copy").onclick = copy;
  document.addEventListener("translated", () => [buttons(), said()]);
  $("region").onclick = () => regions.add();
  $("voice").onchange = () => microphone.turn().catch(fail);
  navigator.mediaDevices.addEventListener("devicechange", () => list());
  addEventListener("online", () => link?.restart());
  navigator.connection?.addEventListener("change", () => link?.restart());
  addEventListener("pagehide", () => link?.close({ keepalive: true }));
}

const invented = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => "abcdefghjkmnpqrstuvwxyz23456789"[byte % 31]).join("");

// The camera

async function film() {
  const [width, height] = $("size").value.split("x").map(Number);
  const video = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 } };
  const wanted = $("camera").value || kept("camera");
  if (wanted) video.deviceId = $("camera").value ? { exact: wanted } : { ideal: wanted };
  const stream = await navigator.mediaDevices.getUserMedia({ video });
  await list(stream.getVideoTracks()[0].getSettings().deviceId);
  return stream;
}

async function list(chosen = $("camera").value) {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter((one) => one.kind === "videoinput" && one.deviceId);
  const first = Object.assign(new Option(say("default"), ""), { selected: true });
  first.dataset.say = "default";
  $("camera").replaceChildren(first, ...cameras.map(({ deviceId, label }, n) => new Option(label || `${say("camera")} ${n + 1}`, deviceId)));
  if (typeof chosen === "string" && cameras.some(({ deviceId }) => deviceId === chosen)) $("camera").value = chosen;
}

async function change(name) {
  keep(name, $(name).value);
  if (!camera) return;
  const old = camera;
  camera = await film();
  old.getTracks().forEach((track) => track.stop());
  $("mine").srcObject = isWanted ? null : camera;
  for (const sender of link?.pc?.getSenders() ?? []) {
    const track = camera.getTracks().find((one) => one.kind === sender.track?.kind);
    if (track) await sender.replaceTrack(track);
  }
}

// The green room

async function check() {
  calm();
  show("wait", "asking");
  camera = await film();
  $("mine").srcObject = camera;
  room(true);
  green.open();
  show("idle", "checking");
  buttons();
}

async function leave() {
  stop();
}

function room(isOpen) {
  $("stage").classList.toggle("green", isOpen);
  for (const id of ["mine", "guide", "advice", "light-row"]) $(id).toggleAttribute("hidden", !isOpen); // the guide is SVG, which has no such property
  if (!isOpen) $("mine").srcObject = null;
}

// Live

async function start() {
  if (!$("controls").reportValidity()) return;
  calm();
  if ($("token").value) sessionStorage.setItem("token", $("token").value);
  keep("room", $("room").value);
  isWanted = true;
  wasLive = false;
  buttons();
  show("wait", camera ? "connecting" : "asking");
  camera ??= await film();
  green.close();
  room(false);
  await open();
}

async function open() {
  if (isOpening) return;
  isOpening = true;
  clearInterval(timer);
  show("wait", wasLive ? "lost" : "connecting");
  try {
    await link?.close();
    await persist(once, { isWanted: () => isWanted, isVain: ({ status }) => VAIN.includes(status) || !wasLive });
  } finally {
    isOpening = false;
  }
}

async function once() {
  const name = $("room").value;
  const one = new Connection({
    path: `/offer?${new URLSearchParams([["room", name], ...regions.texts.map((text) => ["always", text])])}`,
    fill: (pc) => {
      camera.getTracks().forEach((track) => pc.addTrack(track, camera));
      microphone.join(pc);
    },
    show: (stream) => ($("video").srcObject = stream),
    changed: (state) => one === link && changed(state),
  });
  const { viewer } = await one.open();
  if (!isWanted) return one.close();
  link = one;
  missed = 0;
  address = `${location.origin}/r/${encodeURIComponent(name)}${viewer === name ? "" : `#${viewer}`}`;
  steady(one.pc);
  $("stage").classList.add("on");
  buttons();
  changed(one.pc.connectionState);
  const figures = await (await call("GET", one.session, { ms: START_MS })).json();
  if (figures.modes.includes(mode())) await control(); // what was chosen before the start
  else draw(figures);
  timer = setInterval(poll, POLL_MS);
}

function changed(state) {
  if (!isWanted) return;
  if (state === "connected") {
    wasLive = true;
    show("live", "live");
  } else if (state === "disconnected") show("wait", "lost");
  else if (state === "failed" || state === "closed") open().catch(stop);
}

// A browser that finds the line slow would make the picture smaller; a face in it could then be lost.
function steady(pc) {
  for (const sender of pc.getSenders().filter((one) => one.track?.kind === "video")) {
    const parameters = sender.getParameters();
    parameters.degradationPreference = "maintain-resolution";
    sender.setParameters(parameters).catch(() => {});
  }
}

function stop(error) {
  isWanted = false;
  clearInterval(timer);
  green.close();
  room(false);
  camera?.getTracks().forEach((track) => track.stop());
  microphone.close();
  regions.clear();
  const old = link;
  camera = link = null;
  old?.close();
  $("video").srcObject = null;
  $("stage").classList.remove("on");
  wait(false);
  $("meters").hidden = $("notice").hidden = $("voice-row").hidden = true;
  buttons();
  show("idle", "off");
  if (error?.status === 401) {
    $("token-row").hidden = false;
    $("token").focus();
  }
  if (error) fail(error);
}

function buttons() {
  const isLive = Boolean(link);
  $("toggle").dataset.say = isWanted ? "stop" : "start";
  $("toggle").textContent = say($("toggle").dataset.say);
  $("toggle").classList.toggle("stop", isWanted);
  $("check").hidden = isWanted;
  $("check").dataset.say = camera ? "close" : "check";
  $("check").textContent = say($("check").dataset.say);
  $("room").disabled = isWanted;
  for (const id of ["hang", "share", "figures", "region", "full"]) $(id).hidden = !isLive;
  $("pip").hidden = !isLive || !document.pictureInPictureEnabled;
}

// What the server says

async function poll() {
  const mine = link;
  try {
    const figures = await (await call("GET", mine.session)).json();
    if (link !== mine) return;
    missed = 0;
    draw(figures);
    await mine.check();
    if (mine.pc?.connectionState === "connected") show(mine.isSilent ? "wait" : "live", mine.isSilent ? "lost" : "live");
    $("latency").textContent = late(await loop(mine.pc, figures.latency_ms));
  } catch (error) {
    if (link !== mine || !isWanted) return;
    if (error.status === 410) stop(new Error(say("taken")));
    else if (error.status) open().catch(stop);
    else if (++missed >= MISSES) show("wait", "lost"); // the session may still be there when the network is again
  }
}

// Milliseconds from the camera to the screen: what the server takes, the network, and both ends of the browser.
async function loop(pc, server) {
  const all = [...(await pc.getStats()).values()], now = {};
  const add = (name, sum, count) => (now[name] = [sum ?? 0, count ?? 0]);
  for (const one of all.filter(({ kind }) => kind === "video")) {
    if (one.type === "inbound-rtp") add("wait", one.jitterBufferDelay, one.jitterBufferEmittedCount), add("decode", one.totalDecodeTime, one.framesDecoded);
    if (one.type === "outbound-rtp") add("encode", one.totalEncodeTime, one.framesEncoded), add("pace", one.totalPacketSendDelay, one.packetsSent);
  }
  const mean = (name) => (now[name]?.[1] > (before[name]?.[1] ?? 0) ? (now[name][0] - (before[name]?.[0] ?? 0)) / (now[name][1] - (before[name]?.[1] ?? 0)) : 0);
  const pair = all.find(({ id }) => id === all.find(({ type }) => type === "transport")?.selectedCandidatePairId);
  const seconds = ["wait", "decode", "encode", "pace"].map(mean).reduce((sum, one) => sum + one, pair?.currentRoundTripTime ?? 0);
  before = now;
  return Math.round(server + 1000 * seconds);
}

const late = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);

function draw(figures) {
  wait(!figures.fps);
  meters(kept("figures") !== "off");
  $("fps").textContent = figures.fps.toFixed(0);
  $("faces").textContent = figures.faces;
  $("tiers").textContent = Object.entries(figures.tiers).map(([tier, n]) => `${say(tier)} ${n}`).join(", ") || say("none");
  $("likeness").hidden = figures.guard === null;
  $("guard").textContent = figures.guard?.toFixed(2);
  $("viewers").textContent = figures.viewers;
  for (const radio of document.getElementsByName("mode")) radio.disabled = !figures.modes.includes(radio.value);
  document.querySelector(`[name=mode][value=${figures.mode}]`).checked = true;
  voice(figures.sound);
  $("privacy-row").hidden = figures.mode !== "generate";
  notice(figures);
}

// Says that there is no picture yet, or none now: the server's own word for it would be seen in a mirror.
function wait(isWaiting) {
  $("stage").classList.toggle("stopped", isWaiting);
  $("hint").dataset.say = isWaiting ? "waiting" : "promise";
  $("hint").textContent = say($("hint").dataset.say);
}

// Offers to send the voice, off until it is asked for, where the server takes sound.
function voice(sound) {
  const key = { "another voice": "voice", kept: "ownVoice" }[sound];
  $("voice-row").hidden = !key;
  if (!key) return;
  $("voice-text").dataset.say = key;
  $("voice-help").dataset.say = `${key}Help`;
  for (const id of ["voice-text", "voice-help"]) $(id).textContent = say($(id).dataset.say);
}

function meters(isShown) {
  keep("figures", isShown ? "on" : "off");
  $("figures").setAttribute("aria-pressed", isShown);
  $("meters").hidden = !isShown || !link;
}

// Says in one sentence what is done for lack of time, with one tap to choose something else.
function notice({ eased, mode: now }) {
  if (!eased) {
    if (performance.now() - noticed > NOTICE_MS) $("notice").hidden = true;
    return;
  }
  noticed = performance.now();
  const text = say({ smaller: "easedSmaller", slower: "easedSlower", covered: "easedCovered" }[eased]);
  const canShrink = $("size").selectedIndex > 0 && eased !== "smaller";
  if ($("notice-text").textContent !== text) $("notice-text").textContent = text;
  $("notice-act").textContent = say(canShrink ? "doSmaller" : "doCover");
  $("notice-act").hidden = !canShrink && now === "cover";
  $("notice-act").onclick = () => {
    if (canShrink) {
      $("size").selectedIndex = 0;
      change("size").catch(fail);
    } else {
      document.querySelector("[name=mode][value=cover]").checked = true;
      control().catch(fail);
    }
    $("notice").hidden = true;
  };
  $("notice").hidden = false;
}

// Choices

const mode = () => document.querySelector("[name=mode]:checked").value;

function said() {
  $("privacy-value").textContent = `${Math.round(100 * $("privacy").value)} %`;
  $("privacy").setAttribute("aria-valuetext", $("privacy-value").textContent);
}

async function control() {
  clearTimeout(changing);
  changing = 0;
  keep("privacy", $("privacy").value);
  keep("mode", mode());
  if (!link?.session) return;
  const body = JSON.stringify({ beta: 1 - $("privacy").value, mode: mode(), always: regions.texts });
  draw(await (await call("PATCH", link.session, { body, headers: { "Content-Type": "application/json" }, ms: START_MS })).json());
}

function share() {
  $("address").textContent = $("address").href = address;
  $("qr").replaceChildren(picture(address));
  $("link").showModal();
}

async function copy() {
  await navigator.clipboard.writeText(address);
  $("copy").textContent = say("copied");
  setTimeout(() => ($("copy").textContent = say("copy")), 1500);
}
