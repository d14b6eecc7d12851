// The queue: what is in it, in which order, and a list that holds only the rows one can see.

import { $, el, number } from "./dom.js";
import { media } from "./api.js";

const ROW_PX = 68;
const SPARE_ROWS = 6;
const ANY = "";
const MAX_TAGS = 400;

/** The word that says where a pair stands: its verdict if it is done, else its status. */
export const badgeOf = (item) => (item.status === "done" && item.verdict ? item.verdict : item.status);

/** What went wrong, without the path it begins with: the list has room for a few words. */
const failureText = (item) => item.error?.replace(/^(\S*\/\S*?|row \d+)(, (row|column) [^:]*)*: /, "") ?? item.why;

const isJudged = (item) => item.decision !== null;

const JUDGED = {
  no: ["not judged", (item) => !isJudged(item)],
  accept: ["accepted", (item) => item.decision?.ruling === "accept"],
  reject: ["rejected", (item) => item.decision?.ruling === "reject"],
  disputed: ["disputed", (item) => item.decision?.disputed],
  yes: ["judged", isJudged],
};

/** The pairs of a run, those that pass the filters in the order in which they want to be looked at. */
export class Queue {
  items = new Map();
  order = [];
  #places = new Map();
  #texts = new WeakMap();
  filters = { text: ANY, verdict: ANY, judged: ANY, status: ANY, montage: ANY, tag: ANY, need: ANY };

  take(items, anew) {
    if (anew) this.items = new Map();
    for (const item of items) this.items.set(item.id, item);
    this.arrange();
  }

  put(item) {
    this.items.set(item.id, item);
    this.arrange();
  }

  arrange() {
    const shown = [...this.items.values()].filter((item) => this.#passes(item));
    shown.sort(before);
    this.order = shown.map((item) => item.id);
    this.#places = new Map(this.order.map((id, place) => [id, place]));
  }

  place(id) {
    return this.#places.get(id) ?? -1;
  }

  /** The pair some steps away; at the ends it stays. */
  step(id, by) {
    const place = this.place(id);
    if (place < 0) return this.order[0];
    return this.order[Math.min(this.order.length - 1, Math.max(0, place + by))];
  }

  counts() {
    const counts = { all: this.items.size, accepted: 0, rejected: 0, done: 0 };
    for (const item of this.items.values()) {
      if (item.decision?.ruling === "accept") counts.accepted += 1;
      if (item.decision?.ruling === "reject") counts.rejected += 1;
      if (item.status !== "pending") counts.done += 1;
    }
    return counts;
  }

  #passes(item) {
    const { text, verdict, judged, status, montage, tag, need } = this.filters;
    if (verdict && item.verdict !== verdict) return false;
    if (status && item.status !== status) return false;
    if (need && item.why !== need) return false;
    if (montage && item.montage !== montage) return false;
    if (judged && JUDGED[judged] && !JUDGED[judged][1](item)) return false;
    if (tag && !Object.entries(item.tags).some(([name, value]) => `${name}:${value}` === tag)) return false;
    return !text || text.toLowerCase().split(/\s+/).every((word) => this.#text(item).includes(word));
  }

  #text(item) {
    let text = this.#texts.get(item);
    if (text === undefined) {
      const decision = item.decision ?? {};
      text = [item.id, item.montage, item.error, item.why, decision.reason, decision.note, decision.reviewer]
        .concat(Object.entries(item.tags).map(([name, value]) => `${name}:${value}`))
        .join("\n")
        .toLowerCase();
      this.#texts.set(item, text);
    }
    return text;
  }
}

function before(one, other) {
  return (
    isJudged(one) - isJudged(other) ||
    one.need - other.need ||
    (one.confidence ?? Infinity) - (other.confidence ?? Infinity) ||
    one.row - other.row ||
    0
  );
}

/** The filters as form fields, and as part of the page's address. */
export class Filters {
  #seen = "";

  constructor(queue, onChange) {
    this.queue = queue;
    const values = new URLSearchParams(location.search);
    for (const name of Object.keys(queue.filters)) queue.filters[name] = values.get(name) ?? ANY;
    $("filters").addEventListener("submit", (event) => event.preventDefault());
    for (const name of Object.keys(queue.filters)) {
      const field = $(`f-${name}`);
      field.addEventListener("input", () => {
        queue.filters[name] = field.value;
        onChange();
      });
    }
    $("f-clear").addEventListener("click", () => {
      for (const name of Object.keys(queue.filters)) queue.filters[name] = ANY;
      this.offer();
      onChange();
    });
  }

  /** Offer what there is to choose among. */
  offer() {
    const items = [...this.queue.items.values()];
    const montages = new Set(items.map((item) => item.montage).filter(Boolean));
    const tags = new Set(items.flatMap((item) => Object.entries(item.tags).map(([name, value]) => `${name}:${value}`)));
    const needs = new Map(items.map((item) => [item.why, item.need]));
    const offers = {
      verdict: ["fail", "review", "not scorable", "pass"].map((name) => [name, name]),
      judged: Object.entries(JUDGED).map(([name, [words]]) => [name, words]),
      status: ["done", "pending", "failed", "quarantined"].map((name) => [name, name]),
      montage: [...montages].map((name) => [name, name]),
      need: [...needs].sort(([, one], [, other]) => one - other).map(([words]) => [words, words]),
      tag: [...tags].sort().slice(0, MAX_TAGS).map((name) => [name, name]),
    };
    const told = JSON.stringify(offers);
    if (told !== this.#seen) {
      for (const [name, choices] of Object.entries(offers)) {
        const chosen = this.queue.filters[name];
        if (chosen && !choices.some(([value]) => value === chosen)) choices.push([chosen, chosen]);
        $(`f-${name}`).replaceChildren(
          el("option", { value: ANY }, "any"),
          ...choices.map(([value, words]) => el("option", { value }, words)),
        );
        $(`f-${name}`).parentElement.hidden = choices.length === 0;
      }
      this.#seen = told;
    }
    for (const [name, value] of Object.entries(this.queue.filters)) $(`f-${name}`).value = value;
  }
}

/** The list: rows of one height, of which only those in sight exist. */
export class List {
  #current = null;
  #drawn = "";

  constructor(queue, onChoose) {
    Object.assign(this, { queue, onChoose, box: $("list"), rows: $("rows") });
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.rows.addEventListener("click", (event) => {
      const row = event.target.closest("[data-place]");
      if (row) onChoose(queue.order[Number(row.dataset.place)]);
    });
  }

  /** Draw anew: something changed, or another pair is looked at. */
  show(current) {
    const moved = current !== this.#current;
    this.#current = current;
    this.#drawn = "";
    if (moved) this.#bringIntoSight(this.queue.place(current));
    this.draw();
  }

  draw() {
    const { order } = this.queue;
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW_PX) - SPARE_ROWS);
    const last = Math.min(order.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / ROW_PX) + SPARE_ROWS);
    const wanted = `${first} ${last} ${order.length}`;
    if (wanted === this.#drawn) return;
    this.#drawn = wanted;
    this.rows.style.height = `${order.length * ROW_PX}px`;
    const nodes = [];
    for (let place = first; place < last; place += 1) nodes.push(this.#row(this.queue.items.get(order[place]), place));
    this.rows.replaceChildren(...nodes);
    const place = this.queue.place(this.#current);
    if (place >= first && place < last) this.box.setAttribute("aria-activedescendant", `row-${place}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  #row(item, place) {
    const badge = badgeOf(item);
    const ruling = item.decision?.ruling;
    const mark = { accept: "✓", reject: "✗" }[ruling] ?? "";
    const row = el(
      "div",
      {
        class: `row${ruling ? ` judged ${ruling}` : ""}`, role: "option", id: `row-${place}`, "data-place": place,
        "aria-selected": String(item.id === this.#current), "aria-posinset": place + 1, "aria-setsize": this.queue.order.length,
      },
      item.thumb
        ? el("img", { class: "thumb", src: media("thumb", item.id, item.film), alt: "", loading: "lazy", decoding: "async" })
        : el("span", { class: "thumb", "aria-hidden": "true" }),
      el(
        "span",
        { class: "row-text" },
        el("span", { class: "row-name", title: item.id }, item.id),
        el("span", { class: "row-why" }, item.decision ? decisionText(item.decision) : failureText(item)),
      ),
      el(
        "span",
        { class: "row-end" },
        el("span", { class: `badge c-${badge.replace(" ", "-")}` }, badge),
        el("span", { class: "row-number" }, mark ? el("b", { class: ruling, "aria-label": ruling }, mark) : "", item.confidence === null ? "" : number(item.confidence)),
      ),
    );
    row.style.transform = `translateY(${place * ROW_PX}px)`;
    return row;
  }

  #bringIntoSight(place) {
    if (place < 0) return;
    const top = place * ROW_PX;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + ROW_PX > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = top + ROW_PX - this.box.clientHeight;
  }
}

/** A decision in a few words. */
export function decisionText(decision) {
  const verb = { accept: "accepted", reject: "rejected", undo: "taken back" }[decision.ruling];
  const why = [decision.reason, decision.note].filter(Boolean).join("; ");
  return `${verb} by ${decision.reviewer}${why ? `: ${why}` : ""}${decision.disputed ? " (others disagree)" : ""}`;
}
