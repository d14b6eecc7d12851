// What can be asked for of a take that is to be made again: another face, generator, mask, part of the song.

import { $, clock, el, number } from "./dom.js";
import { get, media, post, Refused } from "./api.js";

const CHECK_AFTER_MS = 350;
const STEP_S = 0.5;
const SHARE = 100;

// name, label, kind; the words of a choice that is not simply its value
const GROUPS = [
  ["How the mouth is made", [
    ["generator", "Generator", "choice"],
    ["lipsync.mask", "What is laid back", "choice", { lower_face: "lower face", box: "whole box" }],
    ["lipsync.rest", "Mouth shut where nobody sings", "choice", { true: "yes", false: "no" }],
    ["lipsync.keep_detail", "Keep the clip's fine detail", "choice", { true: "yes", false: "no" }],
    ["lipsync.feather", "Soft edge, 0 to 0.5 of the face", "number"],
  ]],
  ["Which part, which voice", [
    ["song_start_s", "Song from, seconds", "number"],
    ["song_end_s", "Song to, seconds", "number"],
    ["clip_start_s", "Clip from, seconds", "number"],
    ["clip_end_s", "Clip to, seconds", "number"],
    ["fit", "A clip shorter than its song", "choice"],
    ["vocals", "Voice", "choice", { auto: "found in the song", none: "all that is loud" }],
  ]],
  ["Which faces are good enough", [
    ["analysis.min_face_px", "Lowest face, pixels", "number"],
    ["analysis.max_turn_deg", "Furthest turn, degrees", "number"],
    ["analysis.max_tilt_deg", "Furthest tilt, degrees", "number"],
    ["analysis.min_sharpness", "Least sharpness", "number"],
  ]],
];
const FACES = [["largest", "the largest"], ["speaker", "who speaks"], ["index:0", "first from the left"], ["index:1", "second from the left"], ["index:2", "third from the left"]];
const FLAWS = { hidden: "hidden", too_small: "too small", turned: "turned away", tilted: "tilted", blurred: "blurred" };

/** The fields; `words()` gives what was filled in, as the server takes it. */
export class Redo {
  #fields = new Map();
  #item = null;
  #detail = null;
  #at = 0;
  #timer = null;
  #asked = 0;

  constructor(onChecked) {
    this.onChecked = onChecked;
    this.face = $("ask-face");
    $("ask-groups").addEventListener("input", () => this.#changed());
    $("ask-more").addEventListener("input", () => this.#changed());
    this.face.addEventListener("change", () => {
      this.#markFaces();
      this.#changed();
    });
    $("ask-point").addEventListener("click", () => this.point());
    $("ask-earlier").addEventListener("click", () => this.#lookAt(this.#at - STEP_S));
    $("ask-later").addEventListener("click", () => this.#lookAt(this.#at + STEP_S));
  }

  /** Fill the form for a take: what it is made with, and what was asked for before. */
  open(item, detail, seconds) {
    this.#item = item;
    this.#detail = detail;
    this.#at = seconds;
    clearTimeout(this.#timer);
    $("ask-picture").hidden = true;
    $("ask-point").disabled = !this.#canPoint;
    $("ask-faces").replaceChildren();
    const { now = {}, choices = {} } = detail?.offers ?? {};
    this.face.replaceChildren(
      el("option", { value: "" }, now.face ? `as it is: ${now.face}` : "as it is"),
      ...FACES.map(([value, words]) => el("option", { value }, words)),
    );
    this.#fields = new Map();
    $("ask-groups").replaceChildren(
      ...GROUPS.map(([title, fields]) => el("fieldset", {}, el("legend", {}, title), el("div", { class: "asks" }, ...fields.map((field) => this.#field(field, now, choices))))),
    );
    $("ask-known").textContent = detail?.offers?.settings?.join(", ") ?? "";
    this.#fill(item.decision?.settings ?? []);
  }

  get #canPoint() {
    return Boolean(this.#detail?.offers && this.#detail.row.width);
  }

  get words() {
    const words = this.face.value ? [`face=${this.face.value}`] : [];
    for (const [name, field] of this.#fields) if (field.value.trim()) words.push(`${name}=${field.value.trim()}`);
    return words.concat($("ask-more").value.split("\n").map((line) => line.trim()).filter(Boolean));
  }

  /** Ask the server whether it can be done; null where it can, or where the server is not there to say. */
  async check() {
    const { words } = this;
    if (!words.length) return null;
    try {
      return (await post("/api/check", { pair: this.#item.id, settings: words })).problem;
    } catch (error) {
      return error instanceof Refused ? error.message : null;
    }
  }

  /** Show the frame with its faces, to point at one. */
  point() {
    if (!this.#canPoint) return;
    $("ask-picture").hidden = false;
    this.#lookAt(this.#at).then(async () => {
      await $("ask-still").decode().catch(() => {}); // only then does it have its height
      $("ask-faces").querySelector("button")?.focus({ preventScroll: true });
      $("ask-picture").scrollIntoView({ block: "end" });
    });
  }

  #field([name, label, kind, words = {}], now, choices) {
    const is = now[name];
    let field;
    if (kind === "number") {
      field = el("input", { inputmode: "decimal", autocomplete: "off", maxlength: 20, placeholder: is === undefined || is === null ? "" : `as it is: ${Number.isInteger(is) ? is : number(is, 3).replace(/0+$/, "")}` });
    } else {
      const values = Object.keys(words).length && !choices[name] ? Object.keys(words) : (choices[name] ?? []);
      const told = is === undefined ? "" : `: ${words[String(is)] ?? is}`;
      field = el("select", {}, el("option", { value: "" }, `as it is${told}`), ...values.filter((value) => String(is) !== value).map((value) => el("option", { value }, words[value] ?? value)));
    }
    field.name = name;
    this.#fields.set(name, field);
    return el("label", {}, label, field);
  }

  #fill(settings) {
    const rest = [];
    for (const word of settings) {
      const [name, value] = [word.slice(0, word.indexOf("=")).trim(), word.slice(word.indexOf("=") + 1).trim()];
      const field = this.#fields.get(name === "lipsync.generator" ? "generator" : name);
      if (name === "face") this.#wantFace(value, value);
      else if (field && (field.tagName === "INPUT" || [...field.options].some((option) => option.value === value))) field.value = value;
      else rest.push(word);
    }
    $("ask-more").value = rest.join("\n");
    this.onChecked("", false);
    if (settings.length) this.#changed();
  }

  #wantFace(value, words) {
    if (![...this.face.options].some((option) => option.value === value)) this.face.append(el("option", { value }, words));
    this.face.value = value;
  }

  #changed() {
    clearTimeout(this.#timer);
    const asked = (this.#asked += 1);
    const { words } = this;
    this.onChecked(words.length ? "…" : "", false);
    if (!words.length) return;
    this.#timer = setTimeout(async () => {
      const wrong = await this.check();
      if (asked === this.#asked) this.onChecked(wrong ?? `Will be made again with ${words.join(", ")}`, wrong !== null);
    }, CHECK_AFTER_MS);
  }

  async #lookAt(seconds) {
    const { row, is_still: isStill } = this.#detail;
    this.#at = Math.min(Math.max(seconds, row.clip_start_s ?? 0), Math.max((row.clip_end_s ?? seconds) - 0.04, 0));
    const at = this.#at;
    $("ask-still").src = isStill ? media("clip", this.#item.id) : media("still", this.#item.id, "", { at_s: at.toFixed(3) });
    $("ask-when").textContent = `clip at ${clock(at)}`;
    let faces = [];
    let trouble = null;
    try {
      ({ faces, problem: trouble } = await get("/api/faces", { pair: this.#item.id, at_s: isStill ? 0 : at.toFixed(3) }));
    } catch (error) {
      trouble = error.message;
    }
    if (at !== this.#at) return;
    const { width, height } = row;
    $("ask-faces").replaceChildren(
      ...faces.map(({ box, flaw, ask }, place) => {
        const [x1, y1, x2, y2] = box;
        const words = `face ${place + 1} of ${faces.length}, from the left${flaw ? `, ${FLAWS[flaw] ?? flaw}` : ""}`;
        const button = el("button", { type: "button", class: "face", "aria-label": words, title: words, "data-ask": ask.slice("face=".length), "aria-pressed": "false" }, String(place + 1));
        Object.assign(button.style, { left: `${(SHARE * x1) / width}%`, top: `${(SHARE * y1) / height}%`, width: `${(SHARE * (x2 - x1)) / width}%`, height: `${(SHARE * (y2 - y1)) / height}%` });
        button.addEventListener("click", () => {
          const value = button.dataset.ask;
          if (this.face.value === value) this.face.value = "";
          else this.#wantFace(value, `face ${place + 1} at ${clock(at)}`);
          this.#markFaces();
          this.#changed();
        });
        return button;
      }),
    );
    const count = faces.length === 1 ? "one face" : `${faces.length} faces`;
    $("ask-seen").textContent = trouble ?? (faces.length ? `${count} at this moment: choose who is to sing` : "no face is found at this moment: look earlier or later");
    this.#markFaces();
  }

  #markFaces() {
    for (const button of $("ask-faces").children) button.setAttribute("aria-pressed", String(button.dataset.ask === this.face.value));
  }
}
