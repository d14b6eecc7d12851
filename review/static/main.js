// The page: it shows one take at a time, the worst first, and sends what a person decides.

import { Changes, Outbox, get } from "./api.js";
import { Curve } from "./curve.js";
import { $, say } from "./dom.js";
import { bindKeys } from "./keys.js";
import { Player } from "./player.js";
import { Filters, List, Queue } from "./queue.js";
import { RejectDialog, offerReasons, showProgress, showTake } from "./take.js";

const LOOK_EVERY_MS = 2000;
const NAME_KEY = "singalong.review.name";

const queue = new Queue();
const changes = new Changes();
const made = []; // decisions made on this page, to be undone in turn
let current = null;
let detail = null;
let list, filters, outbox, about, dialog, asked;
let starts = true;

const player = new Player((seconds) => curve.at(seconds));
const curve = new Curve((seconds) => player.seek(seconds));

async function start() {
  const first = changes.next(); // at once: of a large run it is what takes longest
  first.catch(() => {});
  about = await get("/api/run");
  document.title = `${about.name} · review`;
  $("run-name").textContent = about.name;
  $("run-name").title = about.path;
  $("hint-command").textContent = about.again;
  $("reviewer").value = localStorage.getItem(NAME_KEY) || about.reviewer;
  $("reviewer").addEventListener("change", () => localStorage.setItem(NAME_KEY, $("reviewer").value.trim()));
  list = new List(queue, choose);
  filters = new Filters(queue, filtered);
  dialog = new RejectDialog(about.reasons, (decision) => decide("reject", decision));
  outbox = new Outbox(about.run_id, {
    onSent: (item) => take({ pairs: [item] }),
    onRefused: (sent, message) => refused(sent, message),
    onChange: () => showTrouble(),
  });
  bindKeys(actions, about.reasons);
  bindButtons();
  offerReasons(about.reasons, (reason) => actions.rejectFor(reason));
  take(await first);
  look();
  setInterval(look, LOOK_EVERY_MS);
}

// ---- what the server says

let lost = null;

async function look() {
  if (look.busy) return;
  look.busy = true;
  try {
    await outbox.flush();
    const found = await changes.next();
    lost = null;
    if (found) take(found);
  } catch (error) {
    lost = error.message;
  } finally {
    look.busy = false;
    showTrouble();
  }
}

function take({ pairs, anew = false, holder }) {
  const before = queue.items.get(current);
  queue.take(pairs, anew);
  filters.offer();
  if (holder !== undefined) say($("live"), holder ? "being made" : "");
  if (holder) $("live").title = holder;
  const wanted = current ?? new URLSearchParams(location.search).get("pair");
  if (starts || !queue.items.has(current)) {
    starts = false;
    choose(queue.items.has(wanted) ? wanted : queue.order[0]);
  } else {
    const now = queue.items.get(current);
    if (now.film !== before?.film || now.status !== before?.status) choose(current);
    else if (JSON.stringify(now) !== JSON.stringify(before)) refreshDetail();
  }
  redraw();
}

function showTrouble() {
  const waiting = outbox?.waiting.length ?? 0;
  const held = waiting ? `${waiting} ${waiting === 1 ? "decision is" : "decisions are"} kept here until the server has them. ` : "";
  if (lost) say($("trouble"), `${held}The server does not answer (${lost}). If it was started again, open the address it printed.`);
  else say($("trouble"), waiting > 0 && showTrouble.before > 0 ? held : "");
  showTrouble.before = waiting;
}

function refused(sent, message) {
  tell(`Not recorded: ${message}`);
  get("/api/pair", { pair: sent.pair }).catch(() => {});
  changes.revision = -1; // what was shown in advance is not so
  changes.epoch = "";
}

// ---- what is looked at

function choose(id) {
  if (!id) {
    current = null;
    asked = null;
    player.load({ id: "", film: null, status: "pending", done: 0, shards: 0 });
    curve.clear();
    showTake(null, null);
    redraw();
    return;
  }
  current = id;
  detail = null;
  const item = queue.items.get(id);
  player.load(item);
  curve.clear();
  showTake(item, null);
  redraw();
  load(id).catch((error) => tell(error.message));
  if (document.querySelector("#queue-body.open")) toggleQueue(false);
}

async function load(id) {
  const token = (asked = {});
  const [found, points] = await Promise.all([get("/api/pair", { pair: id }), get("/api/curve", { pair: id })]);
  if (asked !== token) return;
  detail = found;
  $("clip-caption").textContent = "Clip as it was, silent";
  curve.show(points, found.row.num_frames, found.thresholds);
  const { width, height } = found.row;
  $("screens").style.setProperty("--shape", width && height ? `${width} / ${height}` : "16 / 9");
  player.know(found, points);
  showTake(queue.items.get(id), found);
  if (made.length) player.play(); // somebody is at work: the next take plays at once
}

async function refreshDetail() {
  const id = current;
  const found = await get("/api/pair", { pair: id }).catch(() => null);
  if (found && id === current) {
    detail = found;
    showTake(queue.items.get(id), found);
  }
}

function filtered() {
  queue.arrange();
  if (queue.place(current) < 0 && queue.order.length) choose(queue.order[0]);
  redraw();
}

function redraw() {
  list.show(current);
  showProgress(queue);
  const values = new URLSearchParams();
  for (const [name, value] of Object.entries(queue.filters)) if (value) values.set(name, value);
  if (current) values.set("pair", current);
  history.replaceState(null, "", `/?${values}`); // the token leaves the address, too
}

// ---- what is decided

function decide(ruling, { reason = "", note = "", settings = [] } = {}) {
  const item = queue.items.get(current);
  if (!item) return;
  const following = nextToJudge(item.id);
  const reviewer = $("reviewer").value.trim() || about.reviewer;
  made.push(item.id);
  send(item, { ruling, reviewer, reason, note, settings });
  tell(`${item.id}: ${ruling === "accept" ? "accepted" : "rejected"}`);
  choose(following && queue.items.has(following) ? following : queue.order[0]);
}

function sendBack(options) {
  const item = queue.items.get(current);
  if (!item) return;
  player.film.pause();
  dialog.open(item, detail, player.sourceTime ?? detail?.row.clip_start_s ?? 0, options);
}

/** The pair after this one in the queue that nobody has judged; else simply the next. */
function nextToJudge(id) {
  const rest = queue.order.slice(queue.place(id) + 1);
  const others = queue.order.filter((one) => one !== id);
  const open = (one) => queue.items.get(one).decision === null;
  return rest.find(open) ?? others.find(open) ?? rest[0] ?? others[0];
}

function send(item, decision) {
  if (decision.ruling !== "undo") queue.put({ ...item, decision: { ...decision, disputed: false } });
  outbox.add({ pair: item.id, film: item.film, ...decision });
}

function undo() {
  const id = made.pop() ?? (queue.items.get(current)?.decision ? current : null);
  const item = queue.items.get(id);
  if (!item) {
    tell("There is nothing to undo.");
    return;
  }
  send(item, { ruling: "undo", reviewer: $("reviewer").value.trim() || about.reviewer, reason: "", note: "", settings: [] });
  queue.put({ ...item, decision: null });
  tell(`${id}: taken back`);
  choose(id);
}

function tell(text) {
  $("said").textContent = text;
  $("said").classList.add("shown");
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => $("said").classList.remove("shown"), 4000);
}

// ---- hands

function changeSpeed(by) {
  const field = $("speed");
  field.selectedIndex = Math.min(field.options.length - 1, Math.max(0, field.selectedIndex + by));
  player.speed(Number(field.value));
}

function toggleQueue(open) {
  $("queue-body").classList.toggle("open", open);
  $("toggle-queue").setAttribute("aria-expanded", String(open));
  list.show(current);
}

const actions = {
  accept: () => decide("accept"),
  reject: () => sendBack(),
  redo: () => sendBack({ settings: true }),
  point: () => sendBack({ point: true }),
  rejectFor: (reason) => decide("reject", { reason }),
  undo,
  next: () => choose(queue.step(current, 1)),
  previous: () => choose(queue.step(current, -1)),
  toggle: () => player.toggle(),
  frameBack: () => player.step(-1),
  frameForth: () => player.step(1),
  secondBack: () => player.seek(player.film.currentTime - 0.5),
  secondForth: () => player.seek(player.film.currentTime + 0.5),
  toStart: () => player.seek(0),
  worst: () => curve.worst() !== null && player.seek(curve.worst()),
  box: () => player.toggleBox(),
  slower: () => changeSpeed(-1),
  faster: () => changeSpeed(1),
  find: () => (toggleQueue(true), $("f-text").focus()),
  help: () => $("help").showModal(),
};

function bindButtons() {
  const buttons = {
    accept: "accept", reject: "reject", redo: "redo", undo: "undo", next: "next", previous: "previous", play: "toggle",
    back: "frameBack", forth: "frameForth", worst: "worst", "show-box": "box", "open-help": "help",
  };
  for (const [id, name] of Object.entries(buttons)) $(id).addEventListener("click", () => actions[name]());
  $("speed").addEventListener("change", () => player.speed(Number($("speed").value)));
  $("film-screen").addEventListener("click", () => player.toggle());
  $("toggle-queue").addEventListener("click", () => toggleQueue(!$("queue-body").classList.contains("open")));
}

start().catch((error) => say($("trouble"), error.message));
