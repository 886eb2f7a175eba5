// The page: sends the camera and shows only what comes back, or shows what somebody else sends.

import { send } from "./sender.js";
import { watch } from "./viewer.js";
import { say, translate, language, languages } from "./words.js";
import { $, fail, keep, kept, show } from "./page.js";

const asked = location.pathname.match(/^\/r\/([^/]+)$/);
const watched = asked ? location.hash.slice(1) || decodeURIComponent(asked[1]) : new URLSearchParams(location.search).get("watch");

$("language").replaceChildren(...Object.entries(languages).map(([code, name]) => new Option(name, code)));
$("language").value = language;
$("language").onchange = () => {
  keep("language", $("language").value);
  translate($("language").value);
  document.dispatchEvent(new Event("translated"));
};
const dress = () => {
  if (kept("theme", "auto") === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = kept("theme");
};
$("theme").value = kept("theme", "auto");
$("theme").onchange = () => {
  keep("theme", $("theme").value);
  dress();
};
dress();
translate();

$("full").onclick = () => (document.fullscreenElement ? document.exitFullscreen() : $("stage").requestFullscreen());
$("pip").onclick = () => (document.pictureInPictureElement ? document.exitPictureInPicture() : $("video").requestPictureInPicture()).catch(fail);

if (watched) watch(watched);
else if (!navigator.mediaDevices) fail(new Error(say("needsHttps")));
else send();
show();
