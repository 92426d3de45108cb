// What every page does: times in the reader's zone, keys, forms that shorten their lists.
document.documentElement.classList.add("scripted");

const shown = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.valueOf())) {
    time.title = `${at.toISOString().slice(0, 16).replace("T", " ")} UTC`;
    time.textContent = shown.format(at);
  }
}

for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// Only the reasons of the chosen action.
for (const fieldset of document.querySelectorAll(".actions")) {
  const form = fieldset.closest("form");
  const reasons = form.querySelector("select[name=reason]");
  const groups = [...reasons.querySelectorAll("optgroup")];
  const narrow = () => {
    const chosen = form.querySelector("input[name=action]:checked");
    for (const group of groups) {
      const fits = !chosen || group.dataset.action === chosen.value;
      if (fits && !group.isConnected) reasons.append(group);
      if (!fits) group.remove();
    }
    if (!reasons.selectedOptions.length) reasons.value = "";
  };
  fieldset.addEventListener("change", narrow);
  narrow();
}

const all = document.querySelector("[data-all]");
const ticks = () => [...document.querySelectorAll("input[name=item]")];
all?.addEventListener("change", () => ticks().forEach((one) => { one.checked = all.checked; }));
// What is folded away must not be asked for.
const bulk = document.querySelector(".bulk");
if (bulk) {
  const able = () => bulk.querySelectorAll("input, select, textarea, button").forEach((one) => { one.disabled = !bulk.open; });
  bulk.addEventListener("toggle", able);
  able();
}

const rows = [...document.querySelectorAll("tr[data-row]")];
let chosen = -1;
function choose(index) {
  rows[chosen]?.classList.remove("chosen");
  chosen = Math.max(0, Math.min(rows.length - 1, index));
  rows[chosen].classList.add("chosen");
  rows[chosen].querySelector("th a").focus();
}

const help = document.querySelector("#help");
document.querySelector("[data-help]")?.addEventListener("click", () => help.showModal());

function typing(target) {
  return target.matches("input:not([type=radio]):not([type=checkbox]), textarea, select") || target.isContentEditable;
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.target.closest?.("form")?.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || help?.open || typing(event.target)) return;
  const act = {
    "?": () => help?.showModal(),
    "/": () => document.querySelector("#number")?.focus(),
    j: () => (rows.length ? choose(chosen + 1) : document.querySelector("#following")?.click()),
    k: () => (rows.length ? choose(chosen - 1) : document.querySelector("#before")?.click()),
    x: () => rows[chosen]?.querySelector("input[name=item]")?.click(),
    u: () => document.querySelector("#undo")?.requestSubmit(),
  }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const action = document.querySelector(`form[data-decide] input[data-key="${event.key}"]`);
  if (action) {
    event.preventDefault();
    action.click();
    action.form.querySelector("select[name=reason]").focus();
  } else if (act) {
    event.preventDefault();
    act();
  }
});
