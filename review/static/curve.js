// The curve under the film: sync confidence around each moment, who sings when, and what was passed through.

import { $, clock, el, number, svg } from "./dom.js";

const HEIGHT = 100;
const STRIP = 7; // of the height, at the top and at the bottom
const WORDS = {
  no_face: "no face", too_small: "face too small", turned: "turned away",
  blurred: "blurred", hidden: "hidden", outside: "outside the picture",
};

export class Curve {
  #curve = null;
  #duration = 0;
  #head = null;

  constructor(onSeek) {
    this.box = $("curve");
    this.onSeek = onSeek;
    this.box.addEventListener("pointerdown", (event) => {
      this.box.setPointerCapture(event.pointerId);
      onSeek(this.#timeAt(event));
    });
    this.box.addEventListener("pointermove", (event) => {
      if (event.buttons) onSeek(this.#timeAt(event));
      this.#read(this.#timeAt(event));
    });
    this.box.addEventListener("pointerleave", () => $("reading").replaceChildren());
  }

  clear() {
    this.#curve = null;
    this.#head = null;
    this.box.replaceChildren();
    $("legend").replaceChildren();
    $("reading").replaceChildren();
  }

  show(curve, numFrames, thresholds) {
    this.#curve = curve;
    this.#duration = Math.max(numFrames / curve.fps, 0.04);
    const wide = this.#duration;
    const found = curve.points.confidence.filter((value) => value !== null);
    const lines = thresholds ? [["pass", thresholds.pass_confidence], ["fail", thresholds.fail_confidence]] : [];
    const top = 1.1 * Math.max(1e-6, ...found, ...lines.map(([, value]) => value));
    const low = Math.min(0, ...found);
    const y = (value) => HEIGHT - STRIP - ((value - low) / (top - low)) * (HEIGHT - 2 * STRIP);
    const rect = (kind, start, end, at, high, words) =>
      svg("rect", { class: kind, x: start, y: at, width: Math.max(end - start, wide / 800), height: high }, svg("title", {}, words));
    const span = ([start, end]) => [start / curve.fps, end / curve.fps];
    const passed = curve.outcomes.filter(([, , outcome]) => outcome !== "synced");
    const picture = svg(
      "svg",
      { viewBox: `0 0 ${wide} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      ...curve.voiced.map((one) => rect("sings", ...span(one), HEIGHT - STRIP, STRIP, "somebody sings")),
      ...passed.map(([start, end, outcome]) => rect(`passed o-${outcome}`, ...span([start, end]), 0, STRIP, WORDS[outcome] ?? outcome)),
      ...passed.map(([start, end]) => rect("shade", ...span([start, end]), STRIP, HEIGHT - 2 * STRIP, "passed through as it was")),
      ...curve.cuts.map((frame) => svg("line", { class: "cut", x1: frame / curve.fps, x2: frame / curve.fps, y1: 0, y2: HEIGHT })),
      ...lines.map(([name, value]) => svg("line", { class: `line ${name}`, x1: 0, x2: wide, y1: y(value), y2: y(value) })),
      ...this.#paths(y, thresholds),
    );
    this.#head = svg("line", { class: "head", x1: 0, x2: 0, y1: 0, y2: HEIGHT });
    picture.append(this.#head);
    this.box.replaceChildren(picture, ...lines.map(([name, value]) => this.#label(name, value, y(value))));
    this.box.setAttribute("aria-valuemax", this.#duration.toFixed(2));
    this.#head.toggleAttribute("hidden", !curve.source_s.length);
    this.#explain(passed, curve, found.length > 0);
  }

  /** Move the head to a time. */
  at(seconds) {
    if (!this.#head) return;
    const x = Math.min(seconds, this.#duration);
    this.#head.setAttribute("x1", x);
    this.#head.setAttribute("x2", x);
    this.box.setAttribute("aria-valuenow", seconds.toFixed(2));
    this.box.setAttribute("aria-valuetext", this.#words(seconds));
  }

  /** The moment of the lowest confidence; null where there is no curve. */
  worst() {
    const { t, confidence } = this.#curve?.points ?? { t: [], confidence: [] };
    let lowest = null;
    confidence.forEach((value, place) => {
      if (value !== null && (lowest === null || value < confidence[lowest])) lowest = place;
    });
    return lowest === null ? null : t[lowest];
  }

  /** Stretches of the curve without gaps; those where the best offset is too far off are drawn over in red. */
  #paths(y, thresholds) {
    const { t, confidence, offset } = this.#curve.points;
    const limit = thresholds?.max_offset_frames ?? 2;
    const draw = (kind, keep) => {
      let text = "";
      let inside = false;
      t.forEach((time, place) => {
        const there = confidence[place] !== null && keep(place);
        if (there) text += `${inside ? "L" : "M"}${time} ${y(confidence[place]).toFixed(2)}`;
        inside = there;
      });
      return svg("path", { class: kind, d: text || "M0 0", "vector-effect": "non-scaling-stroke" });
    };
    const off = (place) => Math.abs(offset[place] ?? 0) > limit;
    return [draw("confidence", () => true), draw("confidence off", (place) => off(place) || off(place - 1) || off(place + 1))];
  }

  #label(name, value, top) {
    const label = el("span", { class: `mark ${name}` }, `${name} ${number(value)}`);
    label.style.top = `${top}%`;
    return label;
  }

  #explain(passed, curve, hasScore) {
    const entry = (kind, words) => el("li", {}, el("i", { class: kind }), words);
    const kinds = new Map();
    for (const [start, end, outcome] of passed) kinds.set(outcome, (kinds.get(outcome) ?? 0) + end - start);
    const { offset } = curve.points;
    $("legend").replaceChildren(
      hasScore ? entry("confidence", "sync confidence within 1 s") : entry("none", curve.source_s.length ? "too little to score here" : "no part of it is made, so there is no curve"),
      ...(offset.some((value) => Math.abs(value ?? 0) > 2) ? [entry("off", "best at another offset")] : []),
      ...(curve.voiced.length ? [entry("sings", "somebody sings")] : []),
      ...[...kinds].map(([outcome, frames]) => entry(`passed o-${outcome}`, `${WORDS[outcome] ?? outcome}: ${frames} frames as they were`)),
      ...(curve.cuts.length ? [entry("cut", `${curve.cuts.length} cuts`)] : []),
    );
  }

  #timeAt(event) {
    const bounds = this.box.getBoundingClientRect();
    return (Math.min(Math.max(event.clientX - bounds.left, 0), bounds.width) / bounds.width) * this.#duration;
  }

  #words(seconds) {
    const { t, confidence, offset } = this.#curve.points;
    const place = t.reduce((best, time, index) => (Math.abs(time - seconds) < Math.abs(t[best] - seconds) ? index : best), 0);
    if (confidence[place] === null || confidence[place] === undefined) return `${clock(seconds)}, not scored`;
    return `${clock(seconds)}, confidence ${number(confidence[place])}, offset ${offset[place]}`;
  }

  #read(seconds) {
    if (this.#curve) $("reading").textContent = this.#words(seconds);
  }
}
