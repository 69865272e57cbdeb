// The page of channels: a form that sends, one connection that listens to any number of channels, and their history.

const LOG_LINES = 200;
const PRIORITIES = ["high", "medium", "low"];
const { socket_port: port, token_required: isTokenRequired } = await (await fetch("settings.json")).json();
const gateway = new URL("..", location.href).href.replace(/\/$/, "");
const node = `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname}:${port}/ws`;
const key = document.querySelector("#key");
const live = document.querySelector("#live");
const history_ = document.querySelector("#history");

function headers() {
  return { "Content-Type": "application/json", ...(key.value ? { "X-API-Key": key.value } : {}) };
}

async function call(path, options = {}) {
  const response = await fetch(gateway + path, { headers: headers(), ...options });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    const [error] = answer.errors ?? [];
    throw new Error(error ? `${error.field}: ${error.detail}` : answer.detail || `the gateway answered ${response.status}`);
  }
  return answer;
}

const post = (path, document) => call(path, { method: "POST", body: JSON.stringify(document) });
const clock = (date = new Date()) => date.toLocaleTimeString([], { hour12: false });

function line(list, when, who, text, kind = "") {
  const item = document.createElement("li");
  const [time, span, div] = ["time", "span", "div"].map((name) => document.createElement(name));
  time.textContent = when;
  span.textContent = who;
  div.textContent = text;
  div.className = kind;
  div.dir = "auto";
  item.append(time, span, div);
  list.append(item);
  return item;
}

// -- Listening -------------------------------------------------------------------------------------------------------

/** Is one channel that this page listens to: where it is, and how many messages of each priority have arrived. */
class Watched {
  constructor(name) {
    this.name = name;
    this.epoch = "";
    this.offset = 0;
    this.known = false;
    this.counts = { high: 0, medium: 0, low: 0 };
    this.seen = new Set();
    this.row = document.createElement("tr");
    for (let cell = 0; cell < 5; cell += 1) this.row.append(document.createElement("td"));
    live.querySelector("tbody").append(this.row);
    this.show();
  }

  show() {
    const texts = [this.name, ...PRIORITIES.map((priority) => this.counts[priority]), this.known ? this.offset : "..."];
    texts.forEach((text, index) => (this.row.cells[index].textContent = text));
  }

  take(message) {
    // What could not be continued comes whole, with messages that are shown already.
    if (this.seen.has(message.id)) return;
    this.seen.add(message.id);
    this.counts[message.priority] += 1;
    const list = live.querySelector(".log");
    list.prepend(line(list, clock(new Date(message.created_at)), this.name, message.message, message.priority));
    while (list.childElementCount > LOG_LINES) list.lastElementChild.remove();
  }

  /** Applies `subscribed`: what was missed, or everything that is kept if the position could not be continued. */
  subscribed({ items, recovered, epoch, offset }) {
    if (!recovered && this.known) this.note("not everything that was missed is kept");
    for (const message of items) this.take(message);
    if (offset !== undefined) Object.assign(this, { epoch, offset, known: true });
    this.show();
  }

  message(message) {
    // A message that does not follow on the position is part of a pull that comes by itself.
    if (message.prev !== this.offset) return;
    this.offset = message.offset;
    this.take(message);
    this.show();
  }

  note(text) {
    const list = live.querySelector(".log");
    list.prepend(line(list, clock(), this.name, text, "missed"));
  }
}

const watched = new Map();
let socket = null;
let attempt = 0;

function subscribe({ name, epoch, offset, known }) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "subscribe", channel: name, ...(known ? { epoch, offset } : {}) }));
}

function light(state) {
  live.querySelector(".light").dataset.state = state;
}

async function connect() {
  light("connecting");
  let frame = { type: "auth" };
  try {
    if (isTokenRequired) frame.token = (await post("/auth/token", { user_id: "channels-demo", channels: ["*"] })).token;
  } catch {
    return again();
  }
  socket = new WebSocket(`${node}?user_id=channels-demo`);
  socket.addEventListener("open", () => socket.send(JSON.stringify(frame)));
  socket.addEventListener("close", again);
  socket.addEventListener("message", ({ data }) => {
    frame = JSON.parse(data);
    const channel = watched.get(frame.channel);
    if (frame.type === "welcome") {
      attempt = 0;
      light("live");
      for (const one of watched.values()) subscribe(one);
    } else if (frame.type === "subscribed") channel?.subscribed(frame);
    else if (frame.type === "channel_message") channel?.message(frame);
    else if (frame.type === "error") for (const one of watched.values()) if (!one.known) one.note(frame.detail);
  });
}

function again() {
  light("waiting");
  attempt += 1;
  setTimeout(connect, Math.random() * Math.min(30_000, 500 * 2 ** attempt));
}

function watch(name) {
  if (watched.has(name)) return;
  watched.set(name, new Watched(name));
  subscribe(watched.get(name));
}

// -- The forms -------------------------------------------------------------------------------------------------------

document.querySelector("#send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { channel, priority, message, result } = event.target.elements;
  result.className = "";
  result.textContent = "Sending ...";
  try {
    await post("/send", { channel: channel.value, priority: priority.value, message: message.value });
    result.textContent = `Sent at ${clock()}.`;
  } catch (error) {
    result.className = "bad";
    result.textContent = `Not sent: ${error.message}`;
  }
});

document.querySelector("#watch").addEventListener("submit", (event) => {
  event.preventDefault();
  const { channel } = event.target.elements;
  watch(channel.value);
  channel.value = "";
});

async function showHistory() {
  const { channel, priority } = document.querySelector("#fetch").elements;
  const list = history_.querySelector(".log");
  const kept = history_.querySelector(".kept");
  try {
    const path = [channel.value, priority.value].filter(Boolean).map(encodeURIComponent).join("/");
    const { counts, items } = await call(`/history/${path}`);
    kept.textContent = `kept: ${PRIORITIES.map((one) => `${counts[one]} ${one}`).join(", ")}; sent in all: ${counts.sent}`;
    list.replaceChildren();
    for (const one of items) line(list, clock(new Date(one.created_at)), `${one.offset}`, one.message, one.priority);
  } catch (error) {
    kept.textContent = error.message;
    list.replaceChildren();
  }
}

document.querySelector("#fetch").addEventListener("submit", (event) => {
  event.preventDefault();
  showHistory();
});

watch("channel1");
connect();
showHistory();
