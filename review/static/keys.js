// The keyboard: one table for what the keys do and for what the help says of them.

import { $, el } from "./dom.js";

/** Bind keys; `actions` maps a name of KEYS to what it does. */
export function bindKeys(actions, reasons) {
  const acts = new Map();
  for (const [keys, name] of KEYS) for (const key of keys) acts.set(key, actions[name]);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { target } = event;
    if (target.closest("input, textarea, select")) {
      if (event.key === "Escape" || (event.key === "Enter" && target.matches("#f-text, #reviewer"))) target.blur();
      return;
    }
    if (event.key === " " && target.closest("button")) return; // a button that has the focus is pressed
    if (event.key === "Enter") return;
    const reason = reasons[Number(event.key) - 1];
    const act = acts.get(event.key) ?? (/^[1-9]$/.test(event.key) && reason ? () => actions.rejectFor(reason) : null);
    if (!act) return;
    event.preventDefault();
    act(event);
  });
  $("help-keys").replaceChildren(
    ...KEYS.flatMap(([keys, , words]) => [
      el("dt", {}, ...keys.filter((key) => key !== "N" && key !== "P").map((key) => el("kbd", {}, NAMES[key] ?? key))),
      el("dd", {}, words),
    ]),
    ...reasons.flatMap((reason, place) => [el("dt", {}, el("kbd", {}, String(place + 1))), el("dd", {}, `reject: ${reason}`)]),
  );
}

const NAMES = { " ": "space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Home: "Home", End: "End" };

const KEYS = [
  [["a"], "accept", "accept, and go on"],
  [["r"], "reject", "reject, with reason, note or settings"],
  [["s"], "redo", "reject, to be made again with other settings"],
  [["f"], "point", "reject: point at the face that is to sing"],
  [["u"], "undo", "undo the last decision"],
  [["j", "n", "ArrowDown"], "next", "next take"],
  [["k", "p", "ArrowUp"], "previous", "previous take"],
  [[" "], "toggle", "play or pause"],
  [[","], "frameBack", "one frame back"],
  [["."], "frameForth", "one frame on"],
  [["ArrowLeft"], "secondBack", "half a second back"],
  [["ArrowRight"], "secondForth", "half a second on"],
  [["Home"], "toStart", "to the start"],
  [["w"], "worst", "to the moment of the lowest confidence"],
  [["b"], "box", "show or hide the face box"],
  [["["], "slower", "slower"],
  [["]"], "faster", "faster"],
  [["/"], "find", "find a take"],
  [["?"], "help", "these keys"],
];
