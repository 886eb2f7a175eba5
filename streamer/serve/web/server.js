// Talks to the server: requests, and connections that begin again by themselves.

import { say } from "./words.js";

const GATHER_MS = 2000; // at most, for candidates: all of them go into the offer
const QUIET_MS = 1500; // nothing comes for so long: ICE begins anew, and again after twice as long, and so on up to
const MOST_QUIET_MS = 12000; // as each attempt ends the one before, which a slow machine had not finished
const AGAIN_MS = 500; // from one attempt to begin ICE anew to the next
const ANSWER_MS = 2000; // that an answer may take: on a network that is gone it never comes
const MOST_ANSWER_MS = 6000; // to ICE that begins anew: each time it came too late it may take twice as long, up to this
export const START_MS = 15000; // to what a call begins with
const WAITS = [250, 500, 1000, 2000, 4000]; // before calling again
const FRAGMENT = "application/trickle-ice-sdpfrag";

export class Refused extends Error {
  constructor(status, text, { retry, isLate } = {}) {
    super(text);
    Object.assign(this, { status, retry, isLate });
  }
}

export async function call(method, path, { body, headers = {}, keepalive = false, ms = ANSWER_MS } = {}) {
  const token = sessionStorage.getItem("token");
  const sent = { Accept: "application/json", ...(token && { Authorization: `Bearer ${token}` }), ...headers };
  const signal = AbortSignal.timeout(ms);
  const response = await fetch(path, { method, headers: sent, body, keepalive, signal }).catch(() => {
    throw new Refused(0, say("noServer"), { isLate: signal.aborted });
  });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Refused(response.status, response.status === 401 ? say("needsToken") : error ?? response.statusText, { retry: response.headers.get("Retry-After") });
}

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// One WebRTC connection: `path` takes its offer, `fill` adds what is sent, `show` takes what comes.
export class Connection {
  constructor({ path, fill, show, changed }) {
    Object.assign(this, { path, fill, show, changed, session: null, pc: null, answerMs: ANSWER_MS });
  }

  async open() {
    try {
      return await this.begun();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async begun() {
    const iceServers = await call("GET", "/ice", { ms: START_MS }).then(async (response) => (await response.json()).iceServers, () => []);
    const pc = (this.pc = new RTCPeerConnection({ iceServers }));
    const stream = new MediaStream();
    pc.ontrack = ({ track }) => {
      stream.addTrack(track);
      this.show(stream);
    };
    pc.onconnectionstatechange = () => this.note();
    this.fill(pc);
    await this.offered();
    const response = await call("POST", this.path, { body: pc.localDescription.sdp, headers: { "Content-Type": "application/sdp" }, ms: START_MS });
    this.etag = response.headers.get("ETag");
    const isJson = response.headers.get("Content-Type").startsWith("application/json");
    const said = isJson ? await response.json() : { sdp: await response.text(), session: response.headers.get("Location") };
    this.session = said.session;
    this.answer = said.sdp;
    await pc.setRemoteDescription({ type: "answer", sdp: said.sdp });
    return said;
  }

  // Offers with all addresses. When ICE begins anew the state is still "complete" at first: only its change tells.
  async offered(options) {
    const { pc } = this;
    const gathered = new Promise((resolve) => {
      setTimeout(resolve, GATHER_MS);
      pc.onicegatheringstatechange = () => pc.iceGatheringState === "complete" && resolve();
    });
    await pc.setLocalDescription(await pc.createOffer(options));
    await gathered;
  }

  note() {
    const state = this.pc?.connectionState;
    if (state === "disconnected") this.soon(QUIET_MS);
    else clearTimeout(this.quiet);
    this.changed(state);
  }

  soon(ms) {
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => this.restart(), ms);
  }

  // Begins ICE anew where the server answers and yet nothing comes: browsers notice only after six seconds.
  async check() {
    const all = [...((await this.pc?.getStats())?.values() ?? [])], now = performance.now();
    const bytes = all.filter(({ type }) => type === "inbound-rtp").reduce((sum, one) => sum + one.bytesReceived, 0);
    if (bytes !== this.bytes) Object.assign(this, { bytes, heard: now, began: now, wait: QUIET_MS });
    this.isSilent = bytes > 0 && now - this.heard > QUIET_MS;
    if (!this.isSilent || now - this.began < this.wait) return;
    Object.assign(this, { began: now, wait: Math.min(2 * this.wait, MOST_QUIET_MS) });
    await this.restart();
  }

  // Begins ICE anew in the same session, over whatever network there is now; again and again while there is none.
  async restart() {
    if (!this.session || this.isRestarting) return;
    this.isRestarting = true;
    try {
      await this.offered({ iceRestart: true });
      if (!this.pc.localDescription.sdp.includes("\r\na=candidate:")) throw new Refused(0); // there is no network yet
      const wanted = /^(a=(ice-ufrag|ice-pwd|candidate|mid)|m=)/;
      const body = `${this.pc.localDescription.sdp.split("\r\n").filter((line) => wanted.test(line)).join("\r\n")}\r\n`;
      const response = await call("PATCH", this.session, { body, headers: { "Content-Type": FRAGMENT, "If-Match": "*" }, ms: this.answerMs });
      this.answerMs = ANSWER_MS;
      this.answer = withIce(this.answer, await response.text());
      await this.pc.setRemoteDescription({ type: "answer", sdp: this.answer });
    } catch (error) {
      await this.failed(error);
    } finally {
      this.isRestarting = false;
    }
  }

  async failed({ status, retry, isLate }) {
    if (isLate) this.answerMs = Math.min(2 * this.answerMs, MOST_ANSWER_MS);
    if (this.pc?.signalingState === "have-local-offer") await this.pc.setLocalDescription({ type: "rollback" });
    if (!this.session) return;
    if (status === 0 || status === 409) this.soon(retry ? 1000 * retry : AGAIN_MS);
    else this.changed("failed"); // then all of it begins anew
  }

  async close({ keepalive = false } = {}) {
    clearTimeout(this.quiet);
    const { session, pc } = this;
    this.session = this.pc = null;
    if (pc) pc.onconnectionstatechange = null;
    if (session) await call("DELETE", session, { keepalive }).catch(() => {});
    pc?.close(); // not before: the session would be gone already
  }
}

// Returns an answer with other ICE credentials and candidates, in each medium.
function withIce(answer, fragment) {
  const ice = /^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/;
  const theirs = fragment.split("\r\n").filter((line) => ice.test(line)).join("\r\n");
  const kept = answer.split("\r\n").filter((line) => !ice.test(line)).join("\r\n");
  return kept.replace(/(\r\nm=[^\r]*\r\nc=[^\r]*)/g, `$1\r\n${theirs}`);
}

// Calls `attempt` until it is done or says that it is in vain; ever less often.
export async function persist(attempt, { isWanted, isVain }) {
  for (let n = 0; isWanted(); n++) {
    try {
      return await attempt();
    } catch (error) {
      if (isVain(error)) throw error;
      await pause(error.retry ? 1000 * error.retry : WAITS[Math.min(n, WAITS.length - 1)]);
    }
  }
  return null;
}
