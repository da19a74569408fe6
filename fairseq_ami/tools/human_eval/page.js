"use strict";
(() => {
  const ANSWERS = ["left", "right", "tie"];
  const find = (id) => document.getElementById(id);
  const study = JSON.parse(find("study").textContent);
  const items = study.items;
  const store = `fairseq-ami human-eval ${study.study} ${study.set}`;
  const choices = [...document.querySelectorAll("[data-answer]")];
  let state = restore();

  // ---- state: the judge's name, the item in view, the answers

  function restore() {
    const state = { judge: "", position: 0, answers: {} };
    try {
      const kept = JSON.parse(localStorage.getItem(store)) || {};
      state.judge = String(kept.judge || "");
      state.position = items[kept.position] ? kept.position : 0;
      for (const { item } of items) {
        if (kept.answers && ANSWERS.includes(kept.answers[item])) state.answers[item] = kept.answers[item];
      }
    } catch {
      // nothing usable is kept; whether anything can be kept shows at the first answer
    }
    return state;
  }

  function keep() {
    try {
      localStorage.setItem(store, JSON.stringify(state));
      find("not-kept").hidden = true;
    } catch {
      find("not-kept").hidden = false;
    }
  }

  const answered = () => Object.keys(state.answers).length;

  // ---- view; texts enter as textContent only

  function show() {
    const item = items[state.position];
    const done = answered() === items.length;
    const set = study.sets > 1 ? `Set ${study.set}, item` : "Item";
    find("position").textContent = `${set} ${state.position + 1} of ${items.length}, ${answered()} answered`;
    find("progress").max = items.length;
    find("progress").value = answered();
    find("turns").replaceChildren(...item.turns.map(turn));
    for (const side of ["left", "right"]) fill(find(side), item[side]);
    for (const choice of choices) {
      choice.setAttribute("aria-pressed", String(state.answers[item.item] === choice.dataset.answer));
    }
    find("back").disabled = state.position === 0;
    find("next").disabled = state.position === items.length - 1;
    find("unanswered").disabled = done;
    find("done").hidden = !done;
  }

  function turn(text, index) {
    const entry = document.createElement("li");
    const who = document.createElement("span");
    const what = document.createElement("span");
    entry.className = index % 2 ? "b" : "a";
    who.className = "who";
    who.textContent = "AB"[index % 2];
    what.className = "text";
    what.dir = "auto";
    fill(what, text);
    entry.append(who, what);
    return entry;
  }

  function fill(element, text) {
    element.textContent = text.trim() ? text : "(empty)";
    element.classList.toggle("empty", !text.trim());
  }

  // ---- actions

  function go(position) {
    if (!items[position]) return;
    state.position = position;
    keep();
    show();
    window.scrollTo(0, 0);
  }

  function answer(value) {
    state.answers[items[state.position].item] = value;
    find("saved").textContent = "";
    go(Math.min(state.position + 1, items.length - 1));
  }

  function goToUnanswered() {
    const open = items.map((item, at) => at).filter((at) => !state.answers[items[at].item]);
    go(open.find((at) => at > state.position) ?? open[0]);
  }

  function startOver() {
    if (!window.confirm("Remove your name and all answers on this page?")) return;
    state = { judge: "", position: 0, answers: {} };
    find("judge").value = "";
    find("saved").textContent = "";
    go(0);
  }

  function rows() {
    const judge = state.judge.trim();
    return items.map(({ item }) => ({ study: study.study, judge, item, answer: state.answers[item] || "" }));
  }

  function asCsv(rows) {
    const line = (cells) => cells.map((cell) => `"${String(cell).replaceAll('"', '""')}"`).join(",") + "\n";
    return [Object.keys(rows[0]), ...rows.map(Object.values)].map(line).join("");
  }

  function download(ending, kind, text) {
    if (!find("judge").reportValidity()) return;
    const link = document.createElement("a");
    const judge = state.judge.trim().replace(/[^\p{L}\p{M}\p{N}]+/gu, "-");
    link.download = `answers-${study.study}-set-${study.set}-${judge}.${ending}`;
    link.href = URL.createObjectURL(new Blob([text(rows())], { type: kind }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    find("saved").textContent = `Saved as ${link.download}: ${answered()} of ${items.length} items answered.`;
  }

  // ---- events

  for (const choice of choices) {
    choice.addEventListener("click", (event) => {
      if (event.detail < 2) answer(choice.dataset.answer); // the second half of a double click is meant for this item
    });
  }
  find("back").addEventListener("click", () => go(state.position - 1));
  find("next").addEventListener("click", () => go(state.position + 1));
  find("unanswered").addEventListener("click", goToUnanswered);
  find("reset").addEventListener("click", startOver);
  find("csv").addEventListener("click", () => download("csv", "text/csv;charset=utf-8", asCsv));
  find("json").addEventListener("click", () => download("json", "application/json", (rows) => JSON.stringify(rows)));
  find("judge").addEventListener("input", (event) => {
    state.judge = event.target.value;
    keep();
  });
  document.addEventListener("keydown", (event) => {
    // a key held down must not answer the items after this one
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.target === find("judge")) return;
    if (["1", "2", "3"].includes(event.key)) answer(ANSWERS[event.key - 1]);
    else if (event.key === "ArrowLeft") go(state.position - 1);
    else if (event.key === "ArrowRight") go(state.position + 1);
  });
  window.addEventListener("storage", (event) => {
    if (event.key !== store) return; // the same page in another tab
    state = restore();
    find("judge").value = state.judge;
    show();
  });

  find("question").textContent = study.question;
  find("judge").value = state.judge;
  show();
})();
