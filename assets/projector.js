// Projector view of a session: the page itself, one idea per screen, in large type, with a
// countdown for each part of the plan.
//
// A session is a page with headings such as "30-55: The one hard idea". Its screens are
// clones of what stands there, made when the view opens: the page stays as it is. Left out
// is what is for the leader alone: the folded "Notes for the leader", and `leader` in the
// text. Folded answers, and `answer` in the text, wait until the leader unfolds them.
//
// The whole state stands in the hash, so that a reload, or the address in another window,
// shows the same screen and the same countdown.
"use strict";
{
  const TIMED = /^(\d+)-(\d+): (.+)$/;
  const ONE_BY_ONE = /^(Who is stuck|Stretch)/; // here each item of a list is a screen
  const HASH = "#projector";
  const HALF_A_DAY = 12 * 3600; // a clock that is older was left running

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };

  const words = (block) => block?.textContent.replace(/\s+/g, " ").trim() ?? "";

  // ---- from the page to screens ----

  const clean = (block) => {
    const copy = block.cloneNode(true);
    for (const inner of [copy, ...copy.querySelectorAll("*")])
      if (!inner.closest("svg")) inner.removeAttribute("id");
    for (const inner of copy.querySelectorAll(".headerlink, .copybtn, .leader"))
      inner.remove();
    for (const details of copy.matches("details") ? [copy] : copy.querySelectorAll("details"))
      details.open = false;
    return copy;
  };

  const heading = (section) => {
    const found = section.querySelector("h1, h2");
    return found ? words(clean(found)) : "";
  };

  // A question of quiz.js, without what the leader has chosen on the page.
  const asked = (form) => {
    const options = [...form.querySelectorAll(".fs-option")].map((option) => {
      const item = element("li", {}, ...clean(option).childNodes);
      item.dataset.letter = words(option)[0];
      return item;
    });
    const [legend, ...more] = form.querySelectorAll("legend, fieldset > :not(legend, label)");
    return element("div", { className: "fs-asked" },
      element("p", {}, ...clean(legend).childNodes), ...more.map(clean),
      element("ul", { className: "fs-options" }, ...options));
  };

  const forTheLeader = (block) =>
    block.matches(".fs-score, .leader")
    || words(block.querySelector(".sd-summary-text")).startsWith("Notes for the leader")
    || (block.matches("p") && words(block) && !words(clean(block)));

  const bold = (block) => {
    const first = block.matches("p, li, form") && block.querySelector("strong");
    return first && words(block).startsWith(words(first)) ? words(first) : "";
  };

  // The blocks of a section: first what opens it, then a group for each idea.
  const grouped = (section) => {
    const groups = [[]];
    for (const block of section.children) {
      if (block.matches("h1, h2, span, section") || forTheLeader(block)) continue;
      const list = block.matches("ul, ol");
      if (list && ONE_BY_ONE.test(heading(section).replace(TIMED, "$3"))) {
        groups.push(...[...block.children].map((item) => [item]));
        continue;
      }
      const aside = block.matches("details") && words(block).startsWith("If someone asks");
      if (bold(block) || aside || (list && groups.length === 1)) groups.push([]);
      groups.at(-1).push(block);
    }
    return groups;
  };

  const titleOf = ([first], section) => {
    if (first.matches("form")) return `Question ${bold(first).replace(".", "")}`;
    if (first.matches("details")) return words(first.querySelector(".sd-summary-text"));
    const title = bold(first).replace(/[.:]$/, "");
    return /^\d+$/.test(title) ? `Question ${title}` : title || heading(section).replace(TIMED, "$3");
  };

  // A bold beginning stands on a line of its own, and so does each question in a text.
  const spaced = (block) => {
    const title = block.querySelector("strong");
    if (bold(block) && !/^\d+\.$/.test(words(title))) title.classList.add("fs-title");
    for (const word of block.querySelectorAll("em"))
      word.classList.toggle("fs-question", words(word) === "Question:");
    return block;
  };

  const unwrapped = (block) => {
    if (block.matches("form")) return asked(block);
    const copy = spaced(clean(block));
    return block.matches("li") ? element("div", {}, ...copy.childNodes) : copy;
  };

  const screenOf = (section, part, kicker, group) => ({
    section, part, kicker, title: titleOf(group, section),
    content: element("div", { className: "fs-idea" }, ...group.map(unwrapped)),
  });

  const opening = (section, part, kicker, title, blocks) => ({
    section, part, kicker, title, opens: true,
    content: element("div", { className: "fs-idea fs-opening" },
      element("h3", {}, title), ...blocks.map(unwrapped)),
  });

  const rowsOf = (article) => {
    const rows = [...article.querySelectorAll("section > * tbody tr")];
    return new Map(rows.map((row) => [words(row.cells[0]), row]));
  };

  const partOf = (section, rows) => {
    const [, from, to, name] = heading(section).match(TIMED);
    const who = words(rows.get(`${from}-${to}`)?.cells[2]);
    return { section, name, who, from: +from, to: +to, minutes: to - from };
  };

  const when = (part) => `${part.from}–${part.to}`;

  // Before the parts: the title, and what has no time of its own. Behind them: what is not
  // for this meeting, or only for some.
  const cut = (article, parts) => {
    const top = article.querySelector("section");
    const title = heading(top);
    const before = [opening(top, -1, "", title, [])];
    const during = [], after = [];
    const box = top.querySelector(":scope > .admonition");
    if (box) {
      const name = words(box.querySelector(".admonition-title"));
      const rest = [...box.children].filter((child) => !child.matches(".admonition-title"));
      after.push(opening(box, -1, title, name, rest));
    }
    for (const section of top.querySelectorAll(":scope > section")) {
      const index = parts.findIndex((part) => part.section === section);
      const [first, ...groups] = grouped(section);
      if (index < 0) {
        const kept = groups.length && ONE_BY_ONE.test(heading(section)) ? groups : [];
        const blocks = kept.length ? first : [first, ...groups].flat();
        const place = during.length ? after : before;
        place.push(opening(section, -1, title, heading(section), blocks));
        place.push(...kept.map((group) => screenOf(section, -1, heading(section), group)));
        continue;
      }
      const part = parts[index];
      const begin = opening(section, index, title, part.name, first);
      const said = `${part.minutes} minutes${part.who ? `: ${part.who}` : ""}`;
      begin.content.prepend(element("p", { className: "fs-when" }, when(part)));
      begin.content.querySelector("h3").after(element("p", { className: "fs-who" }, said));
      const kicker = `${when(part)} · ${part.name}`;
      during.push(begin, ...groups.map((group) => screenOf(section, index, kicker, group)));
    }
    return [...before, ...during, ...after];
  };

  // ---- the state, and the hash that holds it ----

  const now = () => Math.floor(Date.now() / 1000);

  const fresh = () => ({ at: 0, open: 0, began: null, clocks: new Map() });

  const parsed = (hash, parts) => {
    const given = new URLSearchParams(hash.slice(HASH.length + 1));
    const number = (text) => (/^\d{1,12}$/.test(text ?? "") ? +text : null);
    const recent = (time) => (time !== null && Math.abs(now() - time) < HALF_A_DAY ? time : null);
    const clocks = new Map();
    for (const clock of (given.get("clock") ?? "").split(",")) {
      const [part, ran, since] = clock.split(":").map(number);
      if (!parts[part - 1] || (ran ?? null) === null) continue;
      clocks.set(part - 1, { ran, since: recent(since ?? null) });
    }
    return {
      at: (number(given.get("screen")) || 1) - 1, open: number(given.get("open")) ?? 0,
      began: recent(number(given.get("began"))), clocks,
    };
  };

  const written = ({ at, open, began, clocks }) => {
    const clock = [...clocks].map(([part, { ran, since }]) =>
      [part + 1, ran, since].filter((value) => value !== null).join(":"));
    return `${HASH}?screen=${at + 1}${open ? `&open=${open}` : ""}`
      + (began === null ? "" : `&began=${began}`) + (clock.length ? `&clock=${clock}` : "");
  };

  const minutes = (seconds) =>
    `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  const timeOfDay = (seconds) => {
    const date = new Date(seconds * 1000);
    return [date.getHours(), date.getMinutes()]
      .map((number) => String(number).padStart(2, "0")).join(":");
  };

  // ---- the view ----

  const KEYS = [
    ["→ Space Page down", "the next screen"],
    ["← Page up", "the screen before"],
    ["↓ ↑", "the next part, the part before"],
    ["Home End", "the first screen, the last"],
    ["A", "unfold the next answer; fold them"],
    ["T", "start or pause the countdown"],
    ["R", "set the countdown back"],
    ["F", "full screen"],
    ["?", "these keys"],
    ["Esc", "back to the page"],
  ];

  const viewOf = (article, parts) => {
    let state = fresh(), screens = [], ticking = null, scrolled = 0, lamp = null;

    const button = (label, action, properties = {}) => {
      const made = element("button", { type: "button", ...properties }, label);
      made.addEventListener("click", (event) => {
        action();
        if (event.detail) stage.focus({ preventScroll: true }); // by mouse: keys go on
      });
      return made;
    };
    const named = (name) => ({ ariaLabel: name, title: name });

    const kicker = element("h2", {});
    const stage = element("div", { className: "fs-stage", tabIndex: -1 });
    stage.setAttribute("aria-live", "polite");
    const back = button("←", () => go(state.at - 1), named("The screen before"));
    const next = button("→", () => go(state.at + 1), named("The next screen"));
    const list = element("select", named("All screens"));
    const answer = button("Answer", () => unfold(), { className: "fs-unfold" });
    const left = element("span", { className: "fs-left" });
    left.setAttribute("role", "timer");
    const whose = element("span", { className: "fs-whose" });
    const start = button("Start", () => toggleClock());
    const reset = button("↺", () => resetClock(), named("Set the countdown back"));
    const coming = element("span", {});
    const planned = element("span", {});
    const full = button("Full screen", () => fullScreen());
    const help = button("?", () => showHelp(keys.hidden), named("Keys"));
    const close = button("Leave", () => leave());
    const keys = element("div", { className: "fs-keys", hidden: true, id: "fs-projector-keys" },
      element("dl", {}, ...KEYS.map(([key, does]) =>
        element("div", {}, element("dt", {}, key), element("dd", {}, does)))));
    help.setAttribute("aria-controls", keys.id);
    const passed = element("div", { className: "fs-passed" });
    const dialog = element("dialog", { className: "fs-projector" },
      element("div", { className: "fs-head" }, kicker, element("p", {}, coming, planned)),
      stage, keys,
      element("div", { className: "fs-bar" }, passed,
        element("div", { className: "fs-steps" }, back, next, list, answer),
        element("div", { className: "fs-clock" },
          element("div", {}, left, whose), start, reset),
        element("div", { className: "fs-steps" }, full, help, close)));
    dialog.setAttribute("aria-label", `Projector view of ${heading(article)}`);
    dialog.setAttribute("aria-modal", "true");

    // The largest type with which the screen needs no scrolling.
    const fit = () => {
      const fits = (size) => {
        stage.style.fontSize = `${size}px`;
        const idea = stage.firstElementChild;
        return stage.scrollHeight <= stage.clientHeight + 1
          && idea.scrollWidth <= idea.clientWidth + 1;
      };
      const side = Math.min(dialog.clientHeight, dialog.clientWidth * 0.75);
      let low = Math.max(16, side * 0.03), high = Math.max(low, side * 0.068);
      if (fits(high)) return reach(stage);
      while (high - low > 0.5) {
        const middle = (low + high) / 2;
        if (fits(middle)) low = middle;
        else high = middle;
      }
      fits(low);
      reach(stage);
    };
    // What still scrolls, on a small phone, is reached by the keyboard.
    const reach = (box) => (box.tabIndex = box.scrollHeight > box.clientHeight + 1 ? 0 : -1);

    const folded = () => [...stage.querySelectorAll("details, .answer")];

    const showAnswers = () => {
      const all = folded();
      state.open = Math.min(state.open, all.length);
      all.forEach((one, index) => {
        if (one.matches("details")) one.open = index < state.open;
        else one.hidden = index >= state.open;
      });
      const right = words(stage.querySelector("details[open] .sd-summary-content strong"))[0];
      for (const option of stage.querySelectorAll("[data-letter]"))
        option.classList.toggle("fs-right", option.dataset.letter === right);
      answer.disabled = all.length === 0;
      answer.textContent = state.open < all.length || !all.length ? "Answer" : "Fold";
      fit();
    };

    const unfold = () => {
      const count = folded().length;
      state.open = state.open < count ? state.open + 1 : 0;
      showAnswers();
      save();
    };

    const show = () => {
      const screen = screens[state.at];
      kicker.textContent = screen.kicker;
      stage.replaceChildren(screen.content);
      stage.scrollTop = 0;
      back.disabled = state.at === 0;
      next.disabled = state.at === screens.length - 1;
      list.value = state.at;
      showAnswers();
      tick();
    };

    const go = (to, open = 0) => {
      state.at = Math.max(0, Math.min(to, screens.length - 1));
      state.open = open;
      show();
      save();
    };

    const goPart = (step) => {
      const starts = screens.flatMap(({ opens }, index) => (opens ? [index] : []));
      const to = step > 0 ? starts.find((index) => index > state.at)
        : starts.findLast((index) => index < state.at);
      if (to !== undefined) go(to);
    };

    // ---- the countdown: one runs at a time ----

    const running = () => [...state.clocks].find(([, clock]) => clock.since !== null)?.[0] ?? -1;
    const ran = (part) => {
      const clock = state.clocks.get(part);
      return clock ? clock.ran + (clock.since === null ? 0 : Math.max(0, now() - clock.since)) : 0;
    };
    const pause = (part) => state.clocks.set(part, { ran: ran(part), since: null });
    // The part whose countdown is seen: the one that runs, or that of the screen.
    const timed = () => (running() >= 0 ? running() : screens[state.at].part);

    const toggleClock = () => {
      const here = screens[state.at].part, going = running();
      if (going >= 0) pause(going);
      if (here >= 0 && here !== going) {
        state.clocks.set(here, { ran: ran(here), since: now() });
        if (parts[here].from === 0) state.began ??= now();
      }
      tick();
      save();
    };

    const resetClock = () => {
      state.clocks.delete(timed());
      tick();
      save();
    };

    const plannedNow = () => {
      if (state.began === null) return "";
      const minute = Math.floor((now() - state.began) / 60);
      const due = parts.find(({ from, to }) => from <= minute && minute < to);
      if (due) return `By the plan: minute ${minute}, ${due.name}`;
      return minute < 0 ? `By the plan: begins at ${timeOfDay(state.began)}` : "By the plan: over";
    };

    const tick = () => {
      const part = parts[timed()];
      const here = screens[state.at].part, going = running();
      const rest = part ? part.minutes * 60 - ran(timed()) : 0;
      left.textContent = !part ? "" : rest < 0 ? `over by ${minutes(-rest)}` : minutes(rest);
      left.classList.toggle("fs-over", rest < 0);
      left.classList.toggle("fs-still", going < 0);
      passed.style.width = part ? `${Math.min(100, 100 - rest / part.minutes / 0.6)}%` : 0;
      whose.textContent = part && going >= 0 && going !== here ? part.name : "";
      const seen = here >= 0 ? here : timed();
      const after = parts[seen + 1];
      coming.textContent = seen < 0 ? "" : after ? `Next: ${when(after)} ${after.name}` : "Next: the end";
      planned.textContent = plannedNow();
      start.hidden = !part;
      start.textContent = going >= 0 ? (here >= 0 && here !== going ? "Start this part" : "Pause")
        : ran(here) ? "Go on" : "Start";
      reset.hidden = !part || going >= 0 || !ran(timed());
    };

    // ---- when the meeting began: on the screen of the plan ----

    const beginning = () => {
      const input = element("input", { type: "time", value: state.began ? timeOfDay(state.began) : "" });
      const set = (time) => {
        state.began = time;
        input.value = time === null ? "" : timeOfDay(time);
        tick();
        save();
      };
      input.addEventListener("change", () => {
        const [hour, minute] = input.value.split(":").map(Number);
        set(input.value ? Math.floor(new Date().setHours(hour, minute, 0, 0) / 1000) : null);
      });
      return element("div", { className: "fs-began" },
        element("label", {}, "We began at ", input), button("Now", () => set(now())));
    };

    // The rows of the plan lead to their parts.
    const preparePlan = () => {
      for (const { content } of screens.filter((screen) => screen.content.querySelector("tbody"))) {
        for (const row of content.querySelectorAll("tbody tr")) {
          const part = parts.find(({ from, to }) => words(row.cells[0]) === `${from}-${to}`);
          const cell = row.cells[1]?.querySelector("p") ?? row.cells[1];
          if (part) cell.replaceChildren(element("a", { href: `#${part.section.id}` }, ...cell.childNodes));
        }
        content.append(beginning());
      }
    };

    // ---- opening and leaving ----

    const save = () => history.replaceState(history.state, "", written(state));

    const fill = () => {
      screens = cut(article, parts);
      state.at = Math.min(state.at, screens.length - 1);
      preparePlan();
      list.replaceChildren(...screens.map(({ title, opens }, index) =>
        element("option", { value: index }, `${opens ? "" : "\u2003"}${index + 1}. ${title}`)));
    };

    const open = async () => {
      await loaded;
      await window.MathJax?.startup?.promise; // its formulas are set once, on the page
      if (!location.hash.startsWith(HASH)) return;
      if (location.hash !== HASH) state = parsed(location.hash, parts);
      fill();
      if (ticking === null) {
        scrolled = scrollY;
        dialog.showModal();
        stage.focus({ preventScroll: true });
        ticking = setInterval(tick, 250);
        keepLight();
      }
      show();
      save();
    };

    const leave = () => {
      if (ticking === null) return;
      clearInterval(ticking);
      ticking = null;
      lamp?.release();
      showHelp(false);
      if (document.fullscreenElement === document.documentElement) document.exitFullscreen();
      dialog.close();
      if (location.hash.startsWith(HASH)) {
        if (history.state?.projector) history.back();
        else history.replaceState(null, "", location.href.split("#")[0]);
      }
      scrollTo({ top: scrolled, behavior: "instant" });
      opener.focus({ preventScroll: true });
    };

    // During pair work nobody touches a key for a long time: the screen stays lit, where the
    // browser allows it.
    const keepLight = async () => {
      lamp = (await navigator.wakeLock?.request("screen").catch(() => null)) ?? null;
    };

    const showHelp = (shown) => {
      keys.hidden = !shown;
      help.setAttribute("aria-expanded", String(shown));
    };

    const fullScreen = () => {
      if (document.fullscreenElement) document.exitFullscreen();
      else document.documentElement.requestFullscreen?.().catch(() => {});
    };

    // ---- keys and links ----

    const ACTIONS = {
      ArrowRight: () => go(state.at + 1), ArrowLeft: () => go(state.at - 1),
      PageDown: () => go(state.at + 1), PageUp: () => go(state.at - 1),
      ArrowDown: () => goPart(1), ArrowUp: () => goPart(-1),
      Home: () => go(0), End: () => go(screens.length - 1),
      A: unfold, T: toggleClock, R: () => running() < 0 && resetClock(), F: fullScreen,
      "?": () => showHelp(keys.hidden),
    };

    // The key as it is labelled; while Hangul is typed, its place on the keyboard.
    const pressed = ({ key, code }) =>
      key === "Process" || /[^\x20-\x7e]/.test(key) ? code.replace("Key", "")
        : key.length === 1 ? key.toUpperCase() : key;

    dialog.addEventListener("keydown", (event) => {
      event.stopPropagation(); // the page has keys of its own
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.target.matches("input, select")) return;
      if (stage.tabIndex === 0 && /^Arrow(Up|Down)$/.test(event.key)) return; // it scrolls
      const key = pressed(event);
      const space = key === " " && !event.target.closest("button, summary, a");
      const action = space ? () => go(state.at + (event.shiftKey ? -1 : 1)) : ACTIONS[key];
      if (!action) return;
      event.preventDefault();
      action();
    });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      if (keys.hidden) leave();
      else showHelp(false);
    });
    dialog.addEventListener("close", leave);
    list.addEventListener("change", () => {
      go(+list.value);
      stage.focus({ preventScroll: true });
    });
    stage.addEventListener("click", (event) => {
      const link = event.target.closest("a[href^='#']");
      const summary = event.target.closest("summary");
      if (summary) {
        event.preventDefault(); // the state says what is open
        const index = folded().indexOf(summary.parentElement);
        state.open = index < state.open ? index : index + 1;
        showAnswers();
        save();
      } else if (link) {
        event.preventDefault();
        const target = document.getElementById(link.hash.slice(1));
        const to = screens.findIndex(({ section }) => section === target?.closest("section"));
        if (to >= 0) go(to);
      }
    });
    new ResizeObserver(() => dialog.open && fit()).observe(stage);
    addEventListener("visibilitychange", () => {
      if (ticking !== null && document.visibilityState === "visible") keepLight();
    });
    addEventListener("hashchange", () => {
      if (location.hash.startsWith(HASH)) open();
      else leave();
    });

    const opener = button("Projector view", () => {
      history.pushState({ projector: true }, "", written(state));
      open();
    }, { className: "fs-project" });
    document.body.append(dialog);
    article.querySelector("h1").after(opener);
    if (location.hash.startsWith(HASH)) open();
  };

  const loaded = new Promise((done) => {
    if (document.readyState === "complete") done();
    else addEventListener("load", done);
  });

  const article = document.querySelector("article.bd-article");
  const timed = [...(article?.querySelectorAll("section") ?? [])]
    .filter((section) => TIMED.test(heading(section)));
  if (timed.length > 0) {
    const rows = rowsOf(article);
    viewOf(article, timed.map((section) => partOf(section, rows)));
  }
}
