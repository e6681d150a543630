// The chat page: what was said, an answer that grows, and how likely each token was.
//
// It speaks to the server as any program does, through /v1. What a model wrote is only
// ever put into the page as text.
"use strict";
{
  const EXAMPLE =
    "One rainy evening Milo bought a green medal for Ada. He placed it in the wood " +
    "pile, so that nobody would see it. Not much later Ada climbed over the fence with " +
    "five buns, and together they ate three. \"What are you hiding?\" asked Ada. Milo " +
    "laughed. So Ada searched behind the stove, but there was nothing but one lonely " +
    "sock. \"Very cold,\" said Milo. \"Look in the wood pile.\" And there it was, the " +
    "green medal. Ada danced in the doorway. Then they ate the other two buns. Milo " +
    "slept well that night.\n\nWhere was the medal hidden?";

  const TOP = 5; // alternatives of each token
  const LEAST = 0.0005; // what is shown as 0.1%

  const find = (id) => document.getElementById(id);
  const thread = find("thread"), said = find("said"), welcome = find("welcome");
  const form = find("ask"), text = find("text"), choice = find("model");
  const shade = find("shade"), heat = find("heat"), status = find("status");

  const element = (name, properties, ...children) => {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  };
  const button = (label, onclick) =>
    element("button", { type: "button", textContent: label, onclick });

  let models = []; // as /v1/models describes them
  let exchanges = []; // {asked, answer, node, ...}: what was said so far
  let running = null; // the controller of the request that is under way

  const model = () => models.find(({ id }) => id === choice.value);

  // ---- the server --------------------------------------------------------------------

  // A token comes after the # of the address, which no server ever sees.
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }

  class Refusal extends Error {
    constructor(status, error) {
      super(error?.message ?? `the server answered with the status ${status}`);
      this.status = status;
      this.code = error?.code;
    }
  }

  const request = async (path, options = {}) => {
    const headers = { "Content-Type": "application/json" };
    const token = sessionStorage.getItem("token");
    if (token) headers.Authorization = `Bearer ${token}`;
    const response = await fetch(path, { ...options, headers });
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    throw new Refusal(response.status, body.error);
  };

  // The events of a stream, up to [DONE].
  const events = async function* (response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let held = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) throw new TypeError("the stream has no end");
      const parts = (held + value).split("\n\n");
      held = parts.pop();
      for (const part of parts) {
        const data = part.slice("data: ".length);
        if (data === "[DONE]") return;
        const event = JSON.parse(data);
        if (event.error) throw new Refusal(response.status, event.error);
        yield event;
      }
    }
  };

  const messagesTo = (exchange) => {
    const before = exchanges.slice(0, exchanges.indexOf(exchange));
    const told = before.filter(({ answer }) => answer.trim());
    return [
      ...told.flatMap(({ asked, answer }) => [
        { role: "user", content: asked },
        { role: "assistant", content: answer },
      ]),
      { role: "user", content: exchange.asked },
    ];
  };

  // Both kinds of models: where to ask, and what an event says in one shape,
  // {text, tokens, finish, leftOut}; a token is {text, p, top: [{text, p}]}.
  const talks = {
    path: "/v1/chat/completions",
    body: (exchange) => ({
      messages: messagesTo(exchange),
      truncation: "auto",
      logprobs: true,
      top_logprobs: TOP,
    }),
    read: ({ choices: [{ delta, logprobs, finish_reason }], messages_left_out }) => ({
      text: delta.content ?? "",
      tokens: (logprobs?.content ?? []).map(({ token, logprob, top_logprobs }) => ({
        text: token,
        p: Math.exp(logprob),
        top: top_logprobs.map((other) => ({
          text: other.token,
          p: Math.exp(other.logprob),
        })),
      })),
      finish: finish_reason,
      leftOut: messages_left_out ?? 0,
    }),
  };
  const continues = {
    path: "/v1/completions",
    body: (exchange) => ({ prompt: exchange.asked, logprobs: TOP }),
    read: ({ choices: [{ text, logprobs, finish_reason }] }) => ({
      text,
      tokens: (logprobs?.tokens ?? []).map((token, place) => ({
        text: token,
        p: Math.exp(logprobs.token_logprobs[place]),
        top: Object.entries(logprobs.top_logprobs[place]).map(([other, logprob]) => ({
          text: other,
          p: Math.exp(logprob),
        })),
      })),
      finish: finish_reason,
      leftOut: 0,
    }),
  };

  // ---- an answer ---------------------------------------------------------------------

  const begin = (asked) => {
    const exchange = { asked, answer: "" };
    exchange.shown = element("p");
    exchange.box = element("div", { className: "answer" }, exchange.shown);
    exchange.box.setAttribute("role", "group");
    exchange.box.setAttribute("aria-label", "Answer");
    exchange.below = element("div", { className: "below" });
    exchange.node = element("article", { className: "exchange" });
    if (model().chat) {
      exchange.node.append(element("p", { className: "user", textContent: asked }));
    }
    exchange.node.append(exchange.box, exchange.below);
    exchanges.push(exchange);
    said.append(exchange.node);
    return run(exchange);
  };

  const run = async (exchange) => {
    const kind = model().chat ? talks : continues;
    exchange.answer = "";
    exchange.shown.replaceChildren();
    exchange.below.replaceChildren();
    exchange.node.querySelector(".notice")?.remove();
    if (!model().chat) {
      exchange.shown.append(
        element("span", { className: "given", textContent: exchange.asked }),
      );
    }
    // Only the newest answer can be had again.
    for (const old of said.querySelectorAll(".retry, .notice button")) old.remove();
    exchange.box.classList.add("writing");
    const controller = (running = new AbortController());
    showBusy();
    say("The model is writing.");
    toEnd(true);
    let finish = null;
    try {
      const response = await request(kind.path, {
        method: "POST",
        signal: controller.signal,
        body: JSON.stringify({
          model: choice.value,
          temperature: Number(heat.value),
          stream: true,
          ...kind.body(exchange),
        }),
      });
      for await (const event of events(response)) {
        const part = kind.read(event);
        finish = part.finish ?? finish;
        if (part.leftOut) showLeftOut(part.leftOut);
        grow(exchange, part);
      }
      say(exchange.answer || "The answer is empty.");
    } catch (error) {
      if (controller.signal.aborted) finish = "stopped";
      else fail(exchange, error);
    }
    exchange.box.classList.remove("writing");
    if (running === controller) running = null;
    if (exchanges.includes(exchange)) conclude(exchange, finish);
    showBusy();
  };

  // Shows some more text, and remembers with each token what else could have stood there.
  const grow = (exchange, { text: more, tokens }) => {
    if (!more) return;
    exchange.answer += more;
    // A character that is made of several tokens is shown as one.
    const apart = tokens.map((token) => token.text).join("") === more;
    const pieces = apart ? tokens.map((token) => [token.text, [token]]) : [[more, tokens]];
    for (const [shown, its] of pieces) {
      exchange.shown.append(...(its.length ? tokenNodes(shown, its) : [shown]));
    }
    toEnd();
  };

  const conclude = (exchange, finish) => {
    if (finish === "stopped") exchange.below.append("Stopped.");
    if (finish === "length") {
      exchange.below.append(
        `It ends here because the model reads no more than ${model().max_model_len} tokens.`,
      );
    }
    if (finish) {
      exchange.below.append(
        Object.assign(button("Retry", () => run(exchange)), {
          className: "retry",
          title: "Let the model answer once more",
        }),
      );
    }
    letFocus();
    toEnd();
  };

  const fail = (exchange, error) => {
    const notice = element("div", { className: "notice" });
    exchange.node.append(notice);
    if (error.status === 401) {
      askForToken(notice, () => run(exchange));
    } else if (error instanceof Refusal) {
      notice.append(element("p", { textContent: sentence(error.message) }));
      if (error.code === "context_length_exceeded") {
        notice.append(button("Begin anew", fresh), button("Edit", () => edit(exchange)));
      } else {
        notice.append(button("Try again", () => run(exchange)));
      }
    } else {
      const lost = exchange.answer ? "The connection broke." : "The server does not answer.";
      notice.append(
        element("p", { textContent: `${lost} Is "sundays serve" still running?` }),
        button("Try again", () => run(exchange)),
      );
    }
    say(notice.firstChild.textContent);
    toEnd(true);
  };

  const sentence = (message) => `${message[0].toUpperCase()}${message.slice(1)}.`;

  // Takes a message that was too long back into the line at the bottom.
  const edit = (exchange) => {
    exchanges = exchanges.filter((other) => other !== exchange);
    exchange.node.remove();
    welcome.hidden = exchanges.length > 0;
    write(exchange.asked);
  };

  // What is not read any more is marked; the newest answer alone says why.
  const leftOut = element("span");
  const showLeftOut = (count) => {
    // The first exchange stays: the story is in it.
    const unread = exchanges.filter(({ answer }) => answer.trim()).slice(1, 1 + count / 2);
    for (const { node } of unread) node.classList.add("unread");
    const which = unread.length === 1 ? "oldest question is" : `${unread.length} oldest questions are`;
    leftOut.textContent =
      `The model reads ${model().max_model_len} tokens: the story stays, the ${which} ` +
      "left out (dashed).";
    exchanges.at(-1).below.append(leftOut);
  };

  // ---- probabilities -----------------------------------------------------------------

  // The space before a word is part of its token, but at the end of a line it would
  // stand alone in its color.
  const tokenNodes = (shown, tokens) => {
    const word = shown.trimStart() || shown;
    const p = tokens.reduce((product, token) => product * token.p, 1);
    const node = element("span", { className: "token", textContent: word });
    node.style.setProperty("--surprise", 1 - p);
    node.tokens = tokens;
    node.name = `${word}, ${percent(p)}`;
    if (shade.ariaPressed === "true") reach(node, true);
    return [shown.slice(0, shown.length - word.length), node];
  };

  // Whether a token can be reached by keys and fingers.
  const reach = (node, on) => {
    if (on) {
      node.setAttribute("role", "button");
      node.setAttribute("aria-label", node.name);
      node.tabIndex = -1;
    } else {
      for (const name of ["role", "aria-label", "tabindex"]) node.removeAttribute(name);
    }
  };

  // Of each answer, one token is a stop of the Tab key; the arrow keys do the rest.
  const letFocus = () => {
    for (const { shown } of exchanges) {
      const tokens = [...shown.querySelectorAll(".token[role]")];
      if (tokens.length && !tokens.some((node) => node.tabIndex === 0)) tokens[0].tabIndex = 0;
    }
  };

  const percent = (p) => {
    if (p < LEAST) return "<0.1%";
    return `${(100 * p).toFixed(p < 0.1 || p > 0.995 ? 1 : 0).replace("100.0", "100")}%`;
  };
  const visible = (token) => token.replaceAll(" ", "␣").replaceAll("\n", "⏎");

  const card = element("div", { className: "card", id: "card" });
  card.setAttribute("role", "tooltip");

  const table = ({ text: drawn, p, top }) => {
    const likely = top.filter((other) => other.p >= LEAST || other.text === drawn);
    const rows = likely.some((other) => other.text === drawn)
      ? likely
      : [...likely, { text: drawn, p }];
    return element(
      "table",
      {},
      element("caption", { textContent: `Here ${visible(drawn)} was drawn.` }),
      ...rows.map((other) => {
        const bar = element("span", { className: "bar" });
        bar.style.width = `${100 * other.p}%`;
        return element(
          "tr",
          { className: other.text === drawn ? "drawn" : "" },
          Object.assign(element("th", { textContent: visible(other.text) }), { scope: "row" }),
          element("td", {}, bar),
          element("td", { textContent: percent(other.p) }),
        );
      }),
    );
  };

  const showCard = (node) => {
    const box = node.closest(".answer");
    card.replaceChildren(...node.tokens.map(table));
    box.append(card);
    node.setAttribute("aria-describedby", "card");
    const place = node.getClientRects()[0], frame = box.getBoundingClientRect();
    const room = frame.width - card.offsetWidth;
    card.style.left = `${Math.max(0, Math.min(place.left - frame.left, room))}px`;
    const below = place.bottom + 6, above = place.top - card.offsetHeight - 6;
    const fits = below + card.offsetHeight <= thread.getBoundingClientRect().bottom;
    card.style.top = `${(fits || above < 0 ? below : above) - frame.top}px`;
  };
  const hideCard = () => {
    card.parentElement
      ?.querySelector("[aria-describedby=card]")
      ?.removeAttribute("aria-describedby");
    card.remove();
  };

  said.addEventListener("focusin", ({ target }) => {
    if (!target.matches(".token")) return;
    for (const other of target.parentElement.querySelectorAll(".token[tabindex='0']")) {
      other.tabIndex = -1;
    }
    target.tabIndex = 0;
    showCard(target);
  });
  said.addEventListener("focusout", hideCard);
  said.addEventListener("keydown", (event) => {
    if (!event.target.matches(".token")) return;
    const tokens = [...event.target.parentElement.querySelectorAll(".token")];
    const at = tokens.indexOf(event.target);
    const to = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      Home: 0,
      End: tokens.length - 1,
    }[event.key];
    if (event.key === "Escape") event.target.blur();
    if (to === undefined) return;
    event.preventDefault();
    tokens[Math.max(0, Math.min(to, tokens.length - 1))].focus();
  });

  shade.addEventListener("click", () => {
    const on = shade.ariaPressed !== "true";
    shade.ariaPressed = String(on);
    find("legend").hidden = !on;
    document.body.toggleAttribute("data-shaded", on);
    for (const node of said.querySelectorAll(".token")) reach(node, on);
    letFocus();
  });

  // ---- the page ----------------------------------------------------------------------

  const onPhone = () => matchMedia("(pointer: coarse)").matches;

  const say = (what) => {
    status.textContent = what;
  };

  // Follows the text as it grows, unless the reader has scrolled up.
  const toEnd = (always) => {
    const left = thread.scrollHeight - thread.scrollTop - thread.clientHeight;
    if (always || left < 120) thread.scrollTop = thread.scrollHeight;
  };

  const showBusy = () => {
    welcome.hidden = exchanges.length > 0;
    find("send").hidden = running !== null;
    find("stop").hidden = running === null;
    find("send").disabled = !models.length;
  };

  const write = (what) => {
    text.value = what;
    fit();
    text.focus();
    text.setSelectionRange(what.length, what.length);
  };

  // The line at the bottom is as high as what is written in it.
  const fit = () => {
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
  };

  const fresh = () => {
    running?.abort();
    running = null;
    exchanges = [];
    said.replaceChildren();
    greet();
    showBusy();
    if (!onPhone()) text.focus(); // there it would open the keyboard
  };

  const greet = () => {
    const { id, chat, max_model_len: context } = model();
    const [title, about] = welcome.children;
    title.textContent = chat ? "A story, and questions" : "Begin a text";
    about.textContent = chat
      ? "This small model knows one kind of story. Let it tell you one, or tell it yours; " +
        "then ask who, whose, where, what, how many. Asked anything else, it answers all " +
        "the same, and is wrong."
      : `${id} goes on with what you write, until it has ${context} tokens.`;
    text.placeholder = chat ? "A story, or a question" : "How does it begin?";
    find("chips").replaceChildren(
      ...(chat
        ? [
            button("Tell me a story.", () => send("Tell me a story.")),
            button("Show me an example", () => write(EXAMPLE)),
          ]
        : [button("Begin for me", () => send(""))]),
    );
  };

  const send = (what) => {
    if (running || !models.length) return;
    text.value = "";
    fit();
    begin(what);
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (text.value.trim()) send(text.value.trim());
  });
  text.addEventListener("input", fit);
  text.addEventListener("keydown", (event) => {
    // On a phone the key for a new line makes one; there is the button.
    const sends = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (!sends || onPhone()) return;
    event.preventDefault();
    form.requestSubmit();
  });
  const stop = () => running?.abort();
  find("stop").addEventListener("click", () => {
    stop();
    text.focus();
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    if (find("settings").open) find("settings").open = false;
    else stop();
  });
  document.addEventListener("click", ({ target }) => {
    if (!find("settings").contains(target)) find("settings").open = false;
  });
  find("fresh").addEventListener("click", fresh);
  choice.addEventListener("change", fresh);
  heat.addEventListener("input", () => {
    find("heat-shown").value = Number(heat.value).toFixed(1);
  });

  const askForToken = (notice, then) => {
    const field = element("input", { type: "password", autocomplete: "off", required: true });
    const asking = element(
      "form",
      {},
      element("label", {}, "This server wants its token: ", element("br"), field),
      element("button", { type: "submit", textContent: "Use it" }),
    );
    asking.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem("token", field.value.trim());
      notice.remove();
      then();
    });
    notice.append(asking);
    field.focus();
  };

  const load = async () => {
    said.replaceChildren();
    try {
      models = (await (await request("/v1/models")).json()).data;
    } catch (error) {
      const notice = element("div", { className: "notice" });
      said.append(notice);
      if (error.status === 401) {
        askForToken(notice, load);
      } else {
        const what = error instanceof Refusal
          ? sentence(error.message)
          : "The server does not answer. Is \"sundays serve\" running?";
        notice.append(element("p", { textContent: what }), button("Try again", load));
        say(what);
      }
      return;
    }
    models.sort((a, b) => b.chat - a.chat);
    choice.replaceChildren(...models.map(({ id }) => element("option", { textContent: id })));
    find("choice").hidden = models.length < 2;
    fresh();
  };

  showBusy();
  load();
}
