// Shows what somebody sends, and waits for them when they are gone.

import { $, fail, show } from "./page.js";
import { Connection, call, pause, persist } from "./server.js";
import { say } from "./words.js";

const ASK_MS = 600;
const MISSES = 2; // questions without an answer, after which that is said

export async function watch(key) {
  document.body.classList.add("viewer");
  $("hint").dataset.say = "waiting";
  $("hint").textContent = say("waiting");
  $("unmute").onclick = () => {
    $("video").muted = false;
    $("unmute").hidden = true;
  };
  $("full").hidden = false;
  $("pip").hidden = !document.pictureInPictureEnabled;
  const link = new Connection({
    path: `/whep/${encodeURIComponent(key)}`,
    fill: (pc) => ["video", "audio"].forEach((kind) => pc.addTransceiver(kind, { direction: "recvonly" })),
    show: (stream) => ($("video").srcObject = stream),
    changed: () => {},
  });
  addEventListener("online", () => link.restart());
  addEventListener("pagehide", () => link.close({ keepalive: true }));
  const isVain = ({ status }) => [400, 401, 403, 406].includes(status);
  for (;;) {
    show("wait", "connecting");
    try {
      await persist(() => link.open(), { isWanted: () => true, isVain });
    } catch (error) {
      $("hint").textContent = error.message;
      return fail(error);
    }
    $("unmute").hidden = !link.pc.getTransceivers()[1]?.currentDirection?.includes("recv");
    await follow(link);
    await link.close();
    stopped(true, "wait", "lost");
  }
}

// Asks how the sender is until this viewer is gone, or its connection is.
async function follow(link) {
  for (let missed = 0; link.pc.connectionState !== "failed"; await pause(ASK_MS)) {
    try {
      const { sender } = await (await call("GET", link.session)).json();
      missed = 0;
      if (sender === "live") await link.check();
      else link.bytes = null; // silence counts from their return
      if (sender === "live" && link.isSilent) stopped(true, "wait", "lost");
      else if (link.pc.connectionState === "connected") stopped(sender === "stopped", sender === "live" ? "live" : "wait", sender === "live" ? "live" : "waiting");
    } catch (error) {
      if (error.status) return;
      if (++missed >= MISSES) stopped(true, "wait", "lost"); // it may still be there when the network is again
    }
  }
}

function stopped(isStopped, kind, key) {
  show(kind, key);
  $("stage").classList.add("on");
  $("stage").classList.toggle("stopped", isStopped);
  $("hint").dataset.say = isStopped ? "stopped" : "waiting";
  $("hint").textContent = say($("hint").dataset.say);
}
