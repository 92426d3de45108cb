// The player: outline and spectrogram from the server, sound streamed, windows as coloured regions.
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";
import Regions from "./vendor/wavesurfer/regions.esm.js";
import Timeline from "./vendor/wavesurfer/timeline.esm.js";

const player = document.querySelector("[data-player]");
const part = (name) => player.querySelector(`[data-${name}]`);
const { base, nonce } = player.dataset;
const audio = part("audio");
const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(`--${name}`).trim();
const bands = { "far-human": "far-human", human: "band-human", neither: "neither", synthetic: "band-synthetic", "far-synthetic": "far-synthetic" };

let channel = player.dataset.channel;
let surfer = null;
let current = null; // the window that plays
let repeats = false;

const windows = () => [...player.querySelectorAll(`[data-windows="${channel}"] tr[data-window]`)];
const startOf = (row) => Number(row.dataset.start);
const endOf = (row) => Number(row.dataset.end);

function clock(seconds) {
  const whole = Math.floor(seconds / 60);
  return `${whole}:${(seconds - whole * 60).toFixed(2).padStart(5, "0")}`;
}

function mark(row) {
  if (row === current) return;
  current?.classList.remove("playing");
  current = row;
  current?.classList.add("playing");
}

function playWindow(row) {
  mark(row);
  audio.currentTime = startOf(row);
  audio.play();
}

function toggle() {
  if (audio.paused) audio.play();
  else audio.pause();
}

function repeat() {
  repeats = !repeats;
  part("loop").setAttribute("aria-pressed", String(repeats));
  if (repeats && !current) mark(windows().find((row) => endOf(row) > audio.currentTime) ?? null);
}

function next() {
  const list = windows();
  if (list.length) playWindow(list[(list.indexOf(current) + 1) % list.length]);
}

// Of the window that plays, or else of the strongest one.
function mapped() {
  const list = windows();
  const strongest = list.reduce((one, other) => (Number(other.dataset.score) > Number(one?.dataset.score ?? -Infinity) ? other : one), null);
  (current ?? strongest)?.querySelector("[data-map-window]").click();
}

function speed(step) {
  const select = part("speed");
  const index = Math.max(0, Math.min(select.options.length - 1, select.selectedIndex + step));
  select.selectedIndex = index;
  audio.playbackRate = Number(select.value);
}

async function open() {
  current = null;
  surfer?.destroy();
  surfer = null;
  const wait = part("loading");
  wait.hidden = false;
  part("map").replaceChildren();
  for (const list of player.querySelectorAll("[data-windows]")) list.hidden = list.dataset.windows !== channel;
  audio.src = `${base}/audio/${channel}`;
  const picture = part("spectrogram");
  picture.src = `${base}/spectrogram/${channel}`;
  picture.onload = () => { picture.hidden = false; };
  const answer = await fetch(`${base}/outline/${channel}`);
  if (!answer.ok) {
    wait.textContent = "The recording can’t be loaded. Its file may be missing from the store.";
    return;
  }
  const outline = await answer.json();
  wait.hidden = true;
  const regions = Regions.create();
  surfer = WaveSurfer.create({
    container: part("wave"), cspNonce: nonce, media: audio, peaks: [outline.peaks], duration: outline.duration_s,
    height: 108, waveColor: colour("edge"), progressColor: colour("accent"), cursorColor: colour("ink"), cursorWidth: 2,
    plugins: [regions, Timeline.create({ height: 20, style: { color: colour("soft"), fontSize: "11px" } })],
  });
  surfer.once("ready", () => {
    for (const row of windows()) {
      regions.addRegion({
        id: row.dataset.start, start: startOf(row), end: endOf(row), drag: false, resize: false,
        color: `color-mix(in srgb, ${colour(bands[row.dataset.band])} 45%, transparent)`,
      });
    }
    player.dataset.ready = "true";
  });
  regions.on("region-clicked", (region) => mark(windows().find((row) => row.dataset.start === region.id)));
}

audio.addEventListener("timeupdate", () => {
  part("time").textContent = clock(audio.currentTime);
  if (repeats && current && (audio.currentTime >= endOf(current) || audio.currentTime < startOf(current) - 0.3)) {
    audio.currentTime = startOf(current);
    player.dataset.loops = String(Number(player.dataset.loops ?? 0) + 1);
  } else if (!repeats && !audio.paused) {
    mark(windows().find((row) => audio.currentTime >= startOf(row) && audio.currentTime < endOf(row)) ?? null);
  }
});
for (const kind of ["play", "pause", "ended"]) {
  audio.addEventListener(kind, () => {
    part("play-label").textContent = audio.paused ? "Play" : "Pause";
    part("play").setAttribute("aria-pressed", String(!audio.paused));
  });
}
part("play").addEventListener("click", toggle);
part("loop").addEventListener("click", repeat);
part("speed").addEventListener("change", () => speed(0));
part("channels")?.addEventListener("change", (event) => { channel = event.target.value; open(); });
for (const row of player.querySelectorAll("tr[data-window]")) {
  row.querySelector("button").addEventListener("click", () => playWindow(row));
}

// Which parts of a window moved its score: made when asked for, which takes a second or more.
async function showMap(button) {
  const place = part("map");
  place.innerHTML = '<p class="loading" role="status">Finding what moved the score …</p>';
  const answer = await fetch(`${base}/map/${channel}/${button.dataset.mapWindow}`);
  if (answer.ok) {
    place.innerHTML = await answer.text();
    place.querySelector("h3").focus();
  } else {
    place.textContent = answer.status === 409 ? "Another model gave this score: what moved it can’t be found with the present one." : "What moved the score can’t be found just now.";
  }
}
for (const button of player.querySelectorAll("[data-map-window]")) {
  button.addEventListener("click", () => showMap(button));
}

document.addEventListener("keydown", (event) => {
  const target = event.target;
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (target.matches("input:not([type=radio]), textarea, select")) return;
  if (event.key === " " && target.matches("a, summary, button:not([data-play])")) return;
  const act = {
    " ": toggle, n: next, l: repeat, m: mapped, "-": () => speed(-1), "+": () => speed(1), "=": () => speed(1),
    ArrowLeft: () => { audio.currentTime = Math.max(0, audio.currentTime - 2); },
    ArrowRight: () => { audio.currentTime += 2; },
  }[event.key];
  if (act && !(target.matches("input[type=radio], [tabindex='0'].scroll") && event.key.startsWith("Arrow"))) {
    event.preventDefault();
    act();
  }
});

// The cues last: they keep the server busy for a second or more, and the player must not wait for it.
const cues = document.querySelector("[data-cues]");
open().finally(async () => {
  const answer = await fetch(`${base}/cues/${player.dataset.channel}`);
  if (answer.ok) cues.innerHTML = await answer.text();
  else cues.textContent = "The cues can’t be measured just now.";
});
