// The demo page: two users with any number of devices each, and a form that sends to them.

const LOG_LINES = 200;
const { socket_port: port, token_required: isTokenRequired } = await (await fetch("settings.json")).json();
const gateway = new URL("..", location.href).href.replace(/\/$/, "");
const node = `${location.protocol === "https:" ? "wss" : "ws"}://${location.hostname}:${port}/ws`;
const asked = new URLSearchParams(location.search);
const users = [asked.get("left") || "user_id1", asked.get("right") || "user_id2"];
const form = document.querySelector("#send");
const key = document.querySelector("#key");

function headers() {
  return { "Content-Type": "application/json", ...(key.value ? { "X-API-Key": key.value } : {}) };
}

async function post(path, document) {
  const response = await fetch(gateway + path, { method: "POST", headers: headers(), body: JSON.stringify(document) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail || answer.title || `the gateway answered ${response.status}`);
  return answer;
}

/** Gets a token as the backend of an application would do it. Here the page has the right to ask for everybody. */
async function tokenFor(user) {
  return (await post("/auth/token", { user_id: user })).token;
}

// -- Devices ---------------------------------------------------------------------------------------------------------

const copyOf = (name) => document.querySelector(`#${name}`).content.firstElementChild.cloneNode(true);

function describe({ state, transport, code, reason, retryAt, role }) {
  const ways = { socket: "a socket", sse: "server-sent events", poll: "long polls" };
  switch (state) {
    case "connecting":
      return "connecting ...";
    case "live":
      return role === "follower" ? "live, through another tab" : `live, over ${ways[transport]}`;
    case "waiting":
      return `lost (${code}${reason ? `, ${reason}` : ""}), tries again in ${Math.max(0, (retryAt - Date.now()) / 1000).toFixed(1)} s`;
    case "paused":
      return `evicted by a newer connection (${code})`;
    case "closed":
      return code === 1000 ? "disconnected" : `stays away (${code}${reason ? `, ${reason}` : ""})`;
    default:
      return state;
  }
}

class User {
  constructor(id) {
    this.id = id;
    this.devices = 0;
    this.section = copyOf("user");
    this.section.querySelector("h2").textContent = id;
    this.list = this.section.querySelector(".devices");
    this.lines = this.section.querySelector(".log");
    this.section.querySelector(".add").addEventListener("click", () => this.add());
    document.querySelector("#users").append(this.section);
    this.add();
  }

  add() {
    const number = (this.devices += 1);
    const item = copyOf("device");
    const name = `Device ${number}`;
    const inbox = document.createElement("notify-inbox");
    if (isTokenRequired) inbox.getToken = () => tokenFor(this.id);
    inbox.setAttribute("user", this.id);
    inbox.setAttribute("node", node);
    inbox.setAttribute("api", gateway);
    // The first device is this browser, with all its tabs; the others are as if they were other browsers.
    if (number > 1) {
      inbox.setAttribute("share", "off");
      inbox.setAttribute("storage", "off");
      inbox.setAttribute("toasts", "off");
    }
    item.querySelector("b").textContent = name;
    item.querySelector(".switch").before(inbox);
    const toggle = item.querySelector(".switch");
    toggle.addEventListener("click", () => {
      if (isAway(inbox.client.status.state)) inbox.client.connect();
      else inbox.client.disconnect();
    });
    item.querySelector(".remove").addEventListener("click", () => {
      item.remove();
      this.log(name, "removed");
    });
    const isAway = (state) => state === "closed" || state === "paused";
    let shown = "";
    inbox.addEventListener("notify-status", ({ detail }) => {
      item.querySelector(".light").dataset.state = detail.state;
      item.querySelector(".state").textContent = describe(detail);
      toggle.textContent = isAway(detail.state) ? "Connect" : "Disconnect";
      if (detail.state !== shown && detail.state !== "connecting") this.log(name, describe(detail));
      shown = detail.state;
    });
    inbox.addEventListener("notify-notification", ({ detail }) => this.log(name, `live: ${detail.row.title}`));
    inbox.addEventListener("notify-missed", ({ detail }) => this.logMissed(name, inbox.client.unread, detail));
    let unread = 0;
    inbox.addEventListener("notify-change", () => {
      if (inbox.client.unread < unread) this.log(name, `${inbox.client.unread} unread (were ${unread})`);
      unread = inbox.client.unread;
    });
    this.list.append(item);
  }

  logMissed(name, unread, { items, fresh, recovered, first }) {
    if (first) this.log(name, `first load: ${unread} unread`);
    else if (!recovered) this.log(name, `everything was loaded anew: ${unread} unread`, "missed");
    else if (items.length) {
      const titles = fresh.slice(-3).map((row) => row.title);
      const what = titles.length ? `: ${titles.join(", ")}${fresh.length > 3 ? ", ..." : ""}` : "";
      this.log(name, `missed ${items.length} changes, ${fresh.length} of them new${what}`, "missed");
    } else this.log(name, "missed nothing");
  }

  log(device, text, kind = "") {
    const line = document.createElement("li");
    const time = document.createElement("time");
    const who = document.createElement("span");
    const what = document.createElement("div");
    time.textContent = new Date().toLocaleTimeString([], { hour12: false });
    who.textContent = device;
    what.textContent = text;
    what.className = kind;
    what.dir = "auto";
    line.append(time, who, what);
    this.lines.prepend(line);
    while (this.lines.childElementCount > LOG_LINES) this.lines.lastElementChild.remove();
  }
}

for (const id of users) new User(id);

// -- Sending ---------------------------------------------------------------------------------------------------------

for (const [value, text] of [...users.map((id) => [id, id]), ["", "both"]]) form.elements.to.append(new Option(text, value));

function envelopes() {
  const { to, title, body, type, priority, count, link } = form.elements;
  const made = [];
  for (let number = 1; number <= Number(count.value); number += 1) {
    const suffix = count.value === "1" ? "" : ` ${number}`;
    for (const user of to.value ? [to.value] : users) {
      const content = { title: title.value + suffix };
      if (body.value) content.body = body.value;
      if (link.value) content.link = link.value;
      made.push({
        request_id: `demo-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`,
        notification_type: "websocket",
        user_id: user,
        content,
        type: type.value,
        priority: priority.value,
      });
    }
  }
  return made;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const result = form.elements.result;
  const button = form.querySelector("button.first");
  button.disabled = true;
  result.className = "";
  result.textContent = "Sending ...";
  try {
    const all = envelopes();
    if (all.length === 1) await post("/notifications", all[0]);
    else {
      const { results } = await post("/notifications/batch", all);
      const refused = results.find(({ status }) => status !== 202);
      if (refused) throw new Error(refused.error?.detail ?? `refused with ${refused.status}`);
    }
    result.textContent = `${all.length} accepted at ${new Date().toLocaleTimeString([], { hour12: false })}.`;
  } catch (error) {
    result.className = "bad";
    result.textContent = `Not sent: ${error.message}`;
  }
  button.disabled = false;
});
