// Two screens in step: the result with its song leads, the clip as it was follows by the times in the frames table.

import { $, clock, say } from "./dom.js";
import { get, media, reasonOf } from "./api.js";

const DRIFT_S = 0.08; // two frames at 25 a second: less is not seen, and every seek costs a stutter
const SLOPE_FRAMES = 3;
const STILL_REST_MS = 40; // between one still and the next: as many as the server decodes, without crowding it
const STILL_LOST_MS = 5000;
const COPY_EVERY_MS = 1000;
const NOT_PLAYABLE = "This browser cannot play the clip's format, so you see single frames of it";

export class Player {
  curve = null;
  #item = null;
  #stillAt = -1;
  #stillTimer = null;
  #boxShown = false;
  #playsClip = false;
  #clipStart = 0; // where in the clip what plays begins: 0 but for copies of its span

  constructor(onTime) {
    this.film = $("film");
    this.clip = $("clip");
    this.still = $("still");
    this.onTime = onTime;
    for (const event of ["seeked", "pause", "ended", "loadeddata", "timeupdate"]) {
      this.film.addEventListener(event, () => this.#tick());
    }
    this.film.addEventListener("play", () => this.#run());
    // the poster is a frame of the middle: it must not stand beside the first frame of the clip
    this.film.addEventListener("loadeddata", () => this.film.removeAttribute("poster"));
    for (const event of ["play", "pause", "ended"]) this.film.addEventListener(event, () => this.#label());
    this.film.addEventListener("error", () => {
      if (!this.film.getAttribute("src")) return;
      say($("film-absent"), this.#item.film ? "This browser cannot play the film." : absence(this.#item));
    });
    this.clip.addEventListener("error", () => this.#useStills());
    this.clip.addEventListener("loadedmetadata", () => {
      if (!this.clip.videoWidth) this.#useStills();
      else if (this.clip.hidden) this.#useCopy();
    });
    this.still.addEventListener("load", () => this.#stillDone());
    this.still.addEventListener("error", () => this.#explainClip());
    new ResizeObserver(() => this.#drawBox()).observe($("film-screen"));
  }

  get fps() {
    return this.curve?.fps ?? this.#item?.fps ?? 25;
  }

  get duration() {
    return Number.isFinite(this.film.duration) ? this.film.duration : 0;
  }

  /** The time of the clip that is on the screen; null where nobody knows. */
  get sourceTime() {
    return this.#source()?.at ?? null;
  }

  /** The output frame on the screen. */
  get frame() {
    return Math.floor(this.film.currentTime * this.fps + 1e-3);
  }

  /** Show another pair; what it is called, and its film, if it has one. */
  load(item) {
    this.#item = item;
    this.curve = null;
    this.film.pause();
    this.#stillAt = -1;
    clearTimeout(this.#stillTimer);
    this.#stillTimer = null;
    for (const video of [this.film, this.clip]) {
      video.removeAttribute("src");
      video.removeAttribute("poster");
      video.load();
    }
    this.still.hidden = true;
    this.still.removeAttribute("src");
    this.clip.hidden = false;
    this.#playsClip = false;
    this.#clipStart = 0;
    say($("clip-absent"), "");
    if (item.film) {
      if (item.thumb) this.film.poster = media("thumb", item.id, item.film);
      this.film.src = media("film", item.id, item.film);
      this.film.playbackRate = Number($("speed").value);
    }
    const isPart = !item.film && item.done > 0;
    if (isPart) this.film.src = media("part", item.id, String(item.done)); // while the run goes on
    $("film-caption").textContent = isPart ? "The first part, still without its song" : "Result, with the song";
    say($("film-absent"), item.film || isPart ? "" : absence(item));
    for (const id of ["play", "back", "forth", "worst", "show-box", "speed"]) $(id).disabled = !(item.film || isPart);
    this.#label();
  }

  /** What is known of the pair by now: whether its clip is a picture, and its curve. */
  know(detail, curve) {
    this.curve = curve;
    if (detail.is_still) {
      this.clip.hidden = true;
      this.still.hidden = false;
      this.still.src = media("clip", this.#item.id);
    } else if (detail.fit !== null) {
      this.#playsClip = true;
      this.clip.src = media("clip", this.#item.id);
    } else {
      say($("clip-absent"), "The clip cannot be shown: its row could not be planned.");
    }
    this.#tick();
  }

  play() {
    if (this.film.getAttribute("src")) this.film.play().catch(() => {}); // before the first click a browser may say no
  }

  toggle() {
    if (this.film.paused) this.play();
    else this.film.pause();
  }

  seek(seconds) {
    if (this.film.getAttribute("src")) this.film.currentTime = Math.max(0, Math.min(this.duration || seconds, seconds));
  }

  step(frames) {
    this.film.pause();
    this.seek((this.frame + frames + 0.5) / this.fps);
  }

  speed(rate) {
    this.film.playbackRate = rate;
  }

  toggleBox() {
    this.#boxShown = !this.#boxShown;
    $("show-box").setAttribute("aria-pressed", String(this.#boxShown));
    this.#drawBox();
  }

  #label() {
    $("play").firstChild.textContent = this.film.paused ? "Play " : "Pause ";
  }

  #run() {
    if (this.film.paused || this.film.ended) return;
    this.#tick();
    requestAnimationFrame(() => this.#run());
  }

  #tick() {
    this.#follow();
    this.#drawBox();
    $("clock").textContent = this.duration
      ? `${clock(this.film.currentTime)} of ${clock(this.duration)} · frame ${this.frame}`
      : "";
    this.onTime(this.film.currentTime, this.duration);
  }

  /** Where in the clip the frame on the screen comes from, and how fast the clip goes on there. */
  #source() {
    const times = this.curve?.source_s;
    if (!times?.length) return null;
    const index = this.#index();
    if (index < 0) return null;
    const later = Math.min(times.length - 1, index + SLOPE_FRAMES);
    const slope = later > index ? ((times[later] - times[index]) * this.fps) / (later - index) : 0;
    const into = Math.max(0, this.film.currentTime - this.frame / this.fps);
    return { at: times[index] + Math.min(into, 0.5 / this.fps), slope };
  }

  /** Place of the frame on the screen in the curve's lists; -1 where its shard is not done. */
  #index() {
    const { frames, first_frame, source_s } = this.curve;
    if (frames) return frames.indexOf(this.frame);
    return Math.max(0, Math.min(source_s.length - 1, this.frame - first_frame));
  }

  #follow() {
    const source = this.#source();
    if (source === null) return;
    if (!this.#playsClip) {
      if (!this.still.hidden && this.#stillAt >= 0) this.#askStill(source.at);
      return;
    }
    const { clip } = this;
    if (clip.readyState < 1) return;
    const rate = source.slope * this.film.playbackRate;
    const runs = !this.film.paused && !this.film.ended && rate > 0.1 && rate < 4;
    if (runs) {
      if (Math.abs(clip.playbackRate - rate) > 0.02) clip.playbackRate = rate;
      if (clip.paused) clip.play().catch(() => {});
    } else if (!clip.paused) {
      clip.pause();
    }
    const at = Math.max(0, source.at - this.#clipStart);
    const off = Math.abs(clip.currentTime - at);
    if (!clip.seeking && off > (runs ? DRIFT_S : 0.002)) clip.currentTime = at; // also where it runs backwards
  }

  #useStills() {
    if (!this.clip.getAttribute("src") || this.clip.hidden) return; // hidden: it is the copy that cannot be played
    this.#playsClip = false;
    this.clip.hidden = true;
    this.still.hidden = false;
    $("clip-caption").textContent = `${NOT_PLAYABLE} while a copy is made.`;
    this.#stillAt = 0;
    this.#askStill(this.#source()?.at ?? 0);
    this.#awaitCopy(this.#item);
  }

  /** Ask for a copy that can be played until there is one, or none can be made. */
  async #awaitCopy(item) {
    while (this.#item === item && this.clip.hidden) {
      const found = await get("/api/viewable", { pair: item.id }).catch(() => null);
      if (this.#item !== item) return;
      if (found?.problem) {
        $("clip-caption").textContent = `${NOT_PLAYABLE}.`;
        return;
      }
      if (found?.is_ready) {
        this.#clipStart = found.start_s;
        this.clip.src = media("viewable", item.id, "", { from: found.start_s });
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, COPY_EVERY_MS));
    }
  }

  #useCopy() {
    clearTimeout(this.#stillTimer);
    this.#stillTimer = null;
    this.#playsClip = true;
    this.clip.hidden = false;
    this.still.hidden = true;
    this.still.removeAttribute("src");
    this.#stillAt = -1;
    $("clip-caption").textContent = "Clip as it was, silent; a copy that this browser can play";
    this.#tick();
  }

  /** Not even a single frame can be shown: the server knows why, e.g. that the file is gone. */
  async #explainClip() {
    const address = this.still.getAttribute("src");
    if (!address) return;
    const why = await reasonOf(address);
    if (this.still.getAttribute("src") !== address || why === null) return;
    this.still.hidden = true;
    this.still.removeAttribute("src");
    this.#stillAt = -1;
    $("clip-caption").textContent = "Clip as it was";
    say($("clip-absent"), why);
  }

  /** A frame of the clip from the server, the next one only when it is there. */
  #askStill(seconds) {
    if (this.#stillTimer !== null || (Math.abs(seconds - this.#stillAt) < 0.01 && this.still.src)) return;
    this.#stillAt = seconds;
    this.still.src = media("still", this.#item.id, "", { at_s: seconds.toFixed(3) });
    this.#stillTimer = setTimeout(() => this.#stillDone(), STILL_LOST_MS);
  }

  #stillDone() {
    if (this.#stillTimer === null) return;
    clearTimeout(this.#stillTimer);
    this.#stillTimer = setTimeout(() => {
      this.#stillTimer = null;
      this.#follow();
    }, STILL_REST_MS);
  }

  #drawBox() {
    const canvas = $("box");
    const { clientWidth: width, clientHeight: height } = canvas;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.clearRect(0, 0, width, height);
    const { boxes } = this.curve ?? {};
    const { videoWidth, videoHeight } = this.film;
    if (!this.#boxShown || !boxes?.length || !videoWidth) return;
    const index = this.#index();
    if (index < 0 || boxes[4 * index] < 0) return;
    const scale = Math.min(width / videoWidth, height / videoHeight);
    const [left, top] = [(width - scale * videoWidth) / 2, (height - scale * videoHeight) / 2];
    const [x1, y1, x2, y2] = boxes.slice(4 * index, 4 * index + 4).map((value) => value * scale);
    pen.lineWidth = 4;
    pen.strokeStyle = "rgb(0 0 0 / 60%)";
    pen.strokeRect(left + x1, top + y1, x2 - x1, y2 - y1);
    pen.lineWidth = 2;
    pen.strokeStyle = "#7fe0a5";
    pen.strokeRect(left + x1, top + y1, x2 - x1, y2 - y1);
  }
}

function absence(item) {
  if (item.status === "pending") return `Not made yet: ${item.done} of ${item.shards} parts are done.`;
  return item.error ?? "There is no film.";
}
