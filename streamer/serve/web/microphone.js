// The microphone: off, and not even asked for, until its switch is turned on; off again with the call.

import { say } from "./words.js";

export class Microphone {
  constructor(checkbox) {
    Object.assign(this, { checkbox, sender: null, track: null });
  }

  // Makes a place for sound in a connection that is about to begin.
  join(pc) {
    this.sender = pc.addTransceiver(this.track ?? "audio", { direction: "sendrecv" }).sender;
  }

  async turn() {
    if (!this.checkbox.checked) return this.close();
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
      [this.track] = stream.getAudioTracks();
    } catch {
      this.close();
      throw new Error(say("noMicrophone"));
    }
    if (this.checkbox.checked) await this.sender?.replaceTrack(this.track);
    else this.close();
  }

  close() {
    this.track?.stop();
    this.sender?.replaceTrack(null).catch(() => {}); // of a connection that is over
    this.track = null;
    this.checkbox.checked = false;
  }
}
