// What is told of a take: its numbers, who decided what of it, and the dialog for sending it back.

import { $, clock, el, fileName, number, percent } from "./dom.js";
import { badgeOf, decisionText } from "./queue.js";
import { Redo } from "./redo.js";

export function showTake(item, detail) {
  $("pair-name").textContent = item ? item.id : "Nothing in the queue passes the filters";
  const badge = $("badge");
  badge.hidden = !item;
  for (const id of ["accept", "reject", "redo"]) $(id).disabled = !item;
  if (!item) {
    for (const id of ["why", "decided"]) $(id).textContent = "";
    $("facts").replaceChildren();
    $("history").replaceChildren();
    return;
  }
  badge.textContent = badgeOf(item);
  badge.className = `badge c-${badgeOf(item).replace(" ", "-")}`;
  $("why").textContent = whyText(item);
  $("decided").textContent = item.decision ? decisionText(item.decision) : item.replaced ? "Judged before, but the film is a new one." : "";
  $("decided").className = `decided ${item.decision?.ruling ?? ""}`;
  $("facts").replaceChildren(...(detail ? facts(item, detail) : []));
  $("history").replaceChildren(...(detail ? pastDecisions(detail.decisions) : []));
}

function whyText(item) {
  const parts = [item.why];
  if (item.before !== null && item.confidence !== null) parts.push(`${number(item.before)} before, ${number(item.confidence)} now`);
  return parts.join(": ");
}

function* facts(item, { row, fit, face }) {
  const pairs = [
    ["confidence", row.sync_confidence === null ? null : `${number(row.sync_confidence)}; wrong audio ${number(row.confidence_mismatched)}, untouched clip ${number(row.confidence_untouched)}`],
    ["offset", row.sync_offset_frames === null ? null : `${row.sync_offset_frames} frames of 1/25 s, distance ${number(row.sync_distance)}`],
    ["face in", row.face_coverage === null ? null : `${percent(row.face_coverage)} of ${row.num_frames} frames; somebody sings in ${percent(row.voiced_share)}`],
    ["at rest", row.rest_motion === null ? null : `mouth moves ${number(row.rest_motion)}`],
    ["clip", withSpan(row.clip, row.clip_start_s, row.clip_end_s)],
    ["song", withSpan(row.song, row.song_start_s, row.song_end_s)],
    ["face, fit", face === null ? null : `${face}, ${fit}`],
    ["generator", row.generator],
    ["scorer", row.scorer],
    ["montage", row.montage],
    ["sent back", row.asked_by ? `by ${row.asked_by}${row.asked_reason ? `: ${row.asked_reason}` : ""}` : null],
    ["made with", row.asked_settings?.length ? row.asked_settings.join("  ") : null],
    ["takes", row.num_takes > 1 ? `${row.num_takes}; this one is of run ${row.take_run_id}` : null],
    [row.error_class ?? "error", row.error_message],
    ...Object.entries(row.tags),
    ["rights", row.rights ?? "none given"],
  ];
  for (const [name, value] of pairs) {
    if (value !== null && value !== undefined) yield* [el("dt", {}, name), el("dd", { title: name === "clip" || name === "song" ? row[name] : null }, value)];
  }
}

function withSpan(path, start, end) {
  return start === null || end === null ? fileName(path) : `${fileName(path)}, ${clock(start)} to ${clock(end)}`;
}

function pastDecisions(decisions) {
  if (!decisions.length) return [];
  const line = (one) =>
    el("li", {}, `${decisionText(one)} · ${new Date(one.at).toLocaleString()}`, one.settings.length ? el("code", {}, one.settings.join("  ")) : "");
  return [el("h3", {}, "Decisions"), el("ol", {}, ...decisions.map(line))];
}

export function showProgress(queue) {
  const { all, accepted, rejected, done } = queue.counts();
  const judged = accepted + rejected;
  $("progress").max = Math.max(all, 1);
  $("progress").value = judged;
  const parts = [`${judged} of ${all} judged`, `${accepted} accepted`, `${rejected} rejected`];
  if (done < all) parts.push(`${all - done} not made yet`);
  $("progress-text").textContent = parts.join(" · ");
  $("hint").hidden = !(all > 0 && judged === all && rejected > 0);
  $("count").textContent = queue.order.length === all ? `${all} takes` : `${queue.order.length} of ${all} takes`;
  $("toggle-queue").textContent = `Queue: ${$("count").textContent}`;
}

/** The reasons as buttons, each with its key. */
export function offerReasons(reasons, onReason) {
  $("reasons").replaceChildren(
    ...reasons.map((reason, place) =>
      el("li", {}, el("button", { type: "button", class: "quiet small", on: { click: () => onReason(reason) } }, el("kbd", {}, String(place + 1)), ` ${reason}`)),
    ),
  );
}

/** Sending a take back with a reason in words, or to be made again with something else. */
export class RejectDialog {
  constructor(reasons, onReject) {
    this.dialog = $("reject-dialog");
    this.redo = new Redo((words, isWrong) => this.#told(words, isWrong));
    $("reject-reasons").replaceChildren(
      ...[...reasons, ""].map((reason, place) =>
        el("label", { class: "choice" }, el("input", { type: "radio", name: "reason", value: reason, checked: place === reasons.length }), reason || "another, or none"),
      ),
    );
    $("reject-cancel").addEventListener("click", () => this.dialog.close());
    $("reject-form").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("reject-form").requestSubmit();
    });
    $("reject-form").addEventListener("submit", async (event) => {
      event.preventDefault();
      const settings = this.redo.words;
      const reason = new FormData(event.target).get("reason") ?? "";
      $("reject-submit").disabled = true;
      const wrong = await this.redo.check();
      $("reject-submit").disabled = false;
      this.#told(wrong ?? "", wrong !== null);
      if (wrong !== null) {
        $("reject-error").scrollIntoView({ block: "nearest" });
        return;
      }
      if (!this.dialog.open) return; // Escape was faster
      this.dialog.close();
      onReject({ reason, note: $("reject-note").value.trim(), settings });
    });
  }

  /** `open` unfolds the wishes, `point` shows the picture to point at a face. */
  open(item, detail, seconds, { settings = false, point = false } = {}) {
    const { decision } = item;
    $("reject-title").textContent = `Reject ${item.id}`;
    $("reject-note").value = decision?.ruling === "reject" ? decision.note : "";
    const reason = decision?.ruling === "reject" ? decision.reason : point ? "wrong face" : "";
    for (const field of $("reject-reasons").querySelectorAll("input")) field.checked = field.value === reason;
    this.redo.open(item, detail, seconds);
    $("asks").open = settings || point || Boolean(decision?.settings?.length);
    this.dialog.showModal();
    if (point) this.redo.point();
    else (settings ? $("ask-face") : $("reject-note")).focus();
  }

  #told(words, isWrong) {
    $("reject-error").textContent = isWrong ? words : "";
    $("reject-asked").textContent = isWrong ? "" : words;
    $("reject-submit").textContent = words && !isWrong ? "Reject, to be made again so" : "Reject";
  }
}
