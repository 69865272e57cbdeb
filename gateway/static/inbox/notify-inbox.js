/**
 * Shows the inbox of one user in a web page. It is one ES module without dependencies:
 *
 *   <script type="module" src="https://gateway.example.org/notify-inbox.js"></script>
 *   <notify-inbox user="u1" token-url="/my/token"></notify-inbox>
 *
 * `Inbox` holds the rows and applies the server's frames. `NotifyClient` keeps an Inbox equal to the server's: it
 * connects, resumes, and shares one connection between the tabs of a browser. `<notify-inbox>` shows it.
 *
 * The device rules that this file keeps; docs/realtime.md explains them:
 *   1. A row is kept by its id, and of two forms of a row the one with the higher offset wins.
 *   2. The number of unread rows is set from frames and never counted here.
 *   3. The position moves only when a frame has been applied, and it survives a reload, together with the rows.
 *   4. A frame whose `prev` is not the position is not applied: the client connects again and resumes.
 *   5. Whatever an old connection still delivers is ignored once a new one is being opened.
 *   6. A toast is shown only for an id that was never seen before.
 *   7. One connection per browser: the tab that holds a Web Lock has it, and tells the others by BroadcastChannel.
 *      Without Web Locks every tab has its own connection, and no tab tells another anything.
 */

// -- What the end of a connection means ------------------------------------------------------------------------------

/**
 * Maps each close code to what the device does:
 * "resume": it comes back after a random wait; "told": after the time that the server named; "slowly": after 10 s or
 * more; "token": with a fresh token; "stay": not by itself; "user": when its user looks at it; "never": not at all.
 */
export const CLOSE_CODES = Object.freeze({
  1000: "stay",
  1002: "stay",
  1003: "stay",
  1006: "resume",
  1007: "stay",
  1009: "stay",
  1011: "resume",
  1012: "told",
  1013: "told",
  4401: "token",
  4413: "resume",
  4429: "slowly",
  4500: "stay",
  4501: "stay",
  4503: "stay",
  4504: "stay",
  4505: "user",
  4506: "never",
});

/** Returns what the device does after this code. Unknown codes follow the rule: 4500 to 4999 stay away. */
export function afterClose(code) {
  return CLOSE_CODES[code] ?? (code >= 4500 && code <= 4999 ? "stay" : "resume");
}

/** The errors after which a change is sent again, until it takes too long. */
const TEMPORARY = new Set(["rate_limited", "store_unavailable"]);

/** The times of a client, in milliseconds. */
export const TIMING = Object.freeze({
  /** Longest first wait. It is random like the others: a killed server gives no advice, and all its devices return. */
  firstMs: 1_000,
  /** The wait doubles from here ... */
  baseMs: 500,
  /** ... up to here. */
  capMs: 30_000,
  /** A connection that was up for this long makes the next wait a first one again. */
  stableMs: 60_000,
  /** Least wait after the server said that this device sends too much. */
  slowlyMs: 10_000,
  /** A connection that did not greet within this time has failed. */
  greetMs: 12_000,
  /** How long the answer to a ping may take. */
  pongMs: 8_000,
  /** How long a change (read, archive, ...) may wait for a connection and its answer. */
  changeMs: 20_000,
  /** After how long a change is sent again that the server could not make now. */
  againMs: 1_000,
  /** How long a fallback is used before the client looks whether sockets work again; it doubles up to an hour. */
  upgradeMs: 300_000,
  /** How long a long poll waits at the server, and the least time between two of them. */
  pollMs: 25_000,
  pollGapMs: 500,
  /** Least time between two writes of the state to storage, and between two acknowledgements. */
  saveMs: 1_000,
  ackMs: 2_000,
  /** Longest wait that a server may ask for: a browser would not wait at all for more than 24 days. */
  toldMs: 3_600_000,
});

/** How many signs of life a visible tab asks for in vain before it takes the connection from a tab that is frozen. */
const TICKS_IN_VAIN = 3;

/** Returns a random wait before connection attempt number `attempt` (0 is the first after a loss). It is never 0. */
export function backoffMs(attempt, random = Math.random, timing = TIMING) {
  const longest = attempt === 0 ? timing.firstMs : Math.min(timing.capMs, timing.baseMs * 2 ** attempt);
  return longest * (1 - random());
}

// -- The rows --------------------------------------------------------------------------------------------------------

const STORED_ROWS = 200;
const STORED_SEEN = 500;
/** A page has about five million characters of storage for everything, and writing them holds it up. */
const STORED_CHARS = 500_000;
const MOST_SEEN = 5_000;
const MOST_ROWS = 3_000;

/** Tells whether everything of the row is known: a change may arrive before its row, and leaves a stub. */
const isWhole = (row) => "title" in row;
const isUnread = (row) => !row.read_at && !row.archived_at && !row.deleted;
/** Tells whether it can be resumed from: the server would refuse anything else for good. */
const isPosition = (position) => typeof position?.epoch === "string" && Number.isSafeInteger(position.offset);

/**
 * Holds rows, position and counter, and applies frames. It does no I/O.
 *
 * Rows are never changed but replaced, so two forms of a row can be told apart by `===`.
 */
export class Inbox {
  #rows = new Map();
  #seen = new Set();
  /** Every "read all up to an id": a list that was asked for earlier may still arrive after it. */
  #readUpto = [];
  #pull = null;
  #sorted = null;

  /** The position {epoch, offset}, or null while nothing has been loaded. */
  position = null;
  /** The number of unread rows that the server named last, or null. */
  unread = null;
  /** Whether the server has older unread rows than those that it sent. */
  more = false;
  /** Counts how often everything was replaced: rows that were asked for before that must not be added. */
  generation = 0;

  /** Returns the rows that can be shown, newest first. Do not change them. */
  get items() {
    this.#sorted ??= [...this.#rows.values()]
      .filter((row) => isWhole(row) && !row.deleted)
      .sort((one, other) => other.id - one.id);
    return this.#sorted;
  }

  get(id) {
    const row = this.#rows.get(id);
    return row && isWhole(row) && !row.deleted ? row : undefined;
  }

  /** Forgets the frames of a pull that was cut short: the next connection brings all of them again. */
  beginConnection() {
    this.#pull = null;
  }

  /**
   * Applies a frame. Returns {kind}: "gap" (connect again and resume), "old" (nothing to do), "partial" (more frames of
   * this pull follow) or "applied". With the latter: `frame`, which may be given to another Inbox; `fresh`, the unread
   * rows that were never seen before; `synced`, whether a pull is complete; `reset`, whether everything was replaced.
   */
  apply(frame) {
    switch (frame.type) {
      case "missed_notifications":
        return this.#applyPull(frame);
      case "notification":
        return this.#applyLive(frame, () => this.#put(frame.notification));
      case "updated":
        return this.#applyLive(frame, () => this.#update(frame));
      default:
        return { kind: "old" };
    }
  }

  /** Adds rows of a list that was read by HTTP; they mix with frames in any order. */
  add(rows) {
    for (const row of rows) {
      this.#put(row);
      this.#see(row.id);
    }
  }

  /** Returns everything, for another tab. */
  snapshot() {
    return {
      position: this.position,
      unread: this.unread,
      more: this.more,
      rows: [...this.#rows.values()],
      readUpto: this.#readUpto,
      seen: [...this.#seen],
    };
  }

  /** Returns the newest rows with their position, for a later visit of this page. */
  stored(most = STORED_ROWS) {
    return {
      position: this.position,
      unread: this.unread,
      more: this.more || this.items.length > most,
      rows: this.items.slice(0, most),
      readUpto: [],
      seen: [...this.#seen].slice(-STORED_SEEN),
    };
  }

  /** Replaces everything by a snapshot. Returns the unread rows that were not seen here before. */
  adopt({ position, unread, more, rows, readUpto, seen }) {
    const known = this.#seen;
    this.#rows = new Map(rows.map((row) => [row.id, row]));
    this.#seen = new Set([...known, ...seen, ...this.#rows.keys()]);
    this.#readUpto = readUpto;
    this.#sorted = this.#pull = null;
    Object.assign(this, { position, unread, more, generation: this.generation + 1 });
    return this.items.filter((row) => isUnread(row) && !known.has(row.id));
  }

  /**
   * Forgets the oldest rows if there are too many, and returns whether it did: lists have to be read again then, because
   * what they had loaded is not there any more.
   */
  trim() {
    if (this.#rows.size <= MOST_ROWS) return false;
    const old = [...this.#rows.keys()].sort((one, other) => one - other).slice(0, this.#rows.size - MOST_ROWS / 2);
    for (const id of old) this.#rows.delete(id);
    this.#sorted = null;
    this.generation += 1;
    return true;
  }

  #applyPull(frame) {
    // A pull comes in several frames, and only the last has the position. They are applied together, so what is shown
    // always belongs to the position; if the connection ends in between, nothing has happened.
    // Only the first frame of a pull has to say that everything is replaced.
    if (this.#pull === null || (this.#pull.recovered && !frame.recovered)) this.#pull = { ...frame, items: [] };
    this.#pull.items.push(...frame.items);
    if (frame.offset === undefined) return { kind: "partial" };
    const whole = { ...frame, recovered: this.#pull.recovered, items: this.#pull.items };
    this.#pull = null;
    const first = this.position === null;
    const before = this.#seen;
    if (!whole.recovered) {
      this.#rows.clear();
      this.#readUpto = [];
      this.generation += 1;
    }
    const fresh = whole.items.filter((row) => isUnread(row) && !before.has(row.id));
    for (const row of whole.items) {
      this.#put(row);
      this.#see(row.id);
    }
    this.position = { epoch: whole.epoch, offset: whole.offset };
    this.unread = whole.unread;
    if (!whole.recovered || whole.unread === 0) this.more = Boolean(whole.more);
    this.#sorted = null;
    return { kind: "applied", frame: whole, fresh, synced: true, reset: !whole.recovered, first };
  }

  #applyLive(frame, change) {
    if (this.position === null || frame.prev !== this.position.offset) {
      return { kind: this.position !== null && frame.offset <= this.position.offset ? "old" : "gap" };
    }
    const row = frame.notification;
    const isFresh = row !== undefined && isUnread(row) && !this.#seen.has(row.id);
    change();
    if (row !== undefined) this.#see(row.id);
    this.position = { epoch: this.position.epoch, offset: frame.offset };
    this.unread = frame.unread;
    return { kind: "applied", frame, fresh: isFresh ? [row] : [], synced: false, reset: false, first: false };
  }

  #update(frame) {
    for (const change of frame.items ?? []) {
      const old = this.#rows.get(change.id);
      if (old && old.offset >= frame.offset) continue;
      const row = { ...old, ...change, offset: frame.offset };
      this.#set(change.deleted ? { id: change.id, offset: frame.offset, deleted: true } : row);
    }
    if (frame.upto !== undefined) {
      const mark = { upto: frame.upto, offset: frame.offset, read_at: frame.read_at ?? new Date().toISOString() };
      this.#readUpto = this.#readUpto.filter((one) => one.upto > mark.upto).concat(mark);
      for (const row of this.#rows.values()) this.#set(this.#marked(row));
    }
  }

  #put(row) {
    const old = this.#rows.get(row.id);
    let next = row;
    if (old) {
      if (row.offset < old.offset) {
        if (isWhole(old) || old.deleted || row.deleted) return;
        // A change came before its row: the row's texts, and the newer state.
        next = { ...row, ...old };
      } else if (row.partial && isWhole(old) && !old.partial) {
        // The server cuts long texts in a pull, but they never change, and they are known here.
        next = { ...row, body: old.body, data: old.data, metadata: old.metadata, partial: false };
      }
      if (row.offset === old.offset && isWhole(old) && !(old.partial && !row.partial)) return;
    }
    this.#set(next.deleted ? { id: next.id, offset: next.offset, deleted: true } : this.#marked(next));
  }

  /** Returns the row as it is after every "read all" that is newer than it. */
  #marked(row) {
    for (const { upto, offset, read_at } of this.#readUpto) {
      if (row.id <= upto && row.offset < offset && isUnread(row)) return { ...row, read_at, offset };
    }
    return row;
  }

  #set(row) {
    this.#rows.set(row.id, row);
    this.#sorted = null;
  }



  #see(id) {
    this.#seen.add(id);
    if (this.#seen.size > MOST_SEEN) this.#seen = new Set([...this.#seen].slice(-MOST_SEEN / 2));
  }
}

// -- Three ways to the server ----------------------------------------------------------------------------------------
// Each opens one connection: it calls `on.frame(frame)` for each frame and `on.end(code, reason, afterMs)` at the end,
// and returns {send, close}; `send` is absent where devices can only listen.

const positionText = (position) => `${position.epoch}:${position.offset}`;

/** Returns the address with more in its query. Without a token, the user is named: development may believe that. */
function withQuery(url, { token, user }, more = {}) {
  const full = new URL(url);
  for (const [key, value] of Object.entries(more)) full.searchParams.set(key, value);
  if (!token) full.searchParams.set("user_id", user);
  return full.href;
}

function openSocket({ node, user, token, position, on }) {
  const socket = new WebSocket(withQuery(node, { token, user }));
  socket.onopen = () => {
    const auth = { type: "auth" };
    if (token) auth.token = token;
    if (position) auth.resume = position;
    socket.send(JSON.stringify(auth));
  };
  socket.onmessage = ({ data }) => {
    try {
      on.frame(JSON.parse(data));
    } catch (error) {
      // What was in it is unknown: the next connection brings it again.
      on.end(1006, `a frame was not understood: ${error.message}`);
    }
  };
  socket.onclose = ({ code, reason }) => on.end(code, reason);
  return {
    send: (frame) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame)),
    close: () => socket.close(1000),
  };
}

/** Splits a stream of server-sent events, given in pieces, into events {type, data, id}. */
export class EventParser {
  #rest = "";
  #type = "";
  #data = [];
  #id;
  #afterCr = false;

  constructor(onEvent) {
    this.onEvent = onEvent;
  }

  feed(text) {
    // "\r\n" may be cut in two: then its "\n" ends no second line.
    if (this.#afterCr && text.startsWith("\n")) text = text.slice(1);
    if (text) this.#afterCr = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length) this.onEvent({ type: this.#type || "message", data: this.#data.join("\n"), id: this.#id });
      this.#type = "";
      this.#data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#type = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id") this.#id = value;
  }
}

/** Ends a connection that got an HTTP status other than 200, which means one of the close codes. */
async function endRefused(response, on) {
  // A proxy that blocks something may answer 403 as well, but not with these words: then another way may work.
  const { code } = await response.json().catch(() => ({}));
  const known = { wrong_user: 4503, revoked: 4506 }[code] ?? { 401: 4401, 429: 1013, 503: 1013 }[response.status] ?? 1006;
  const seconds = Number(response.headers.get("Retry-After"));
  on.end(known, `HTTP ${response.status}`, seconds > 0 ? seconds * 1000 : undefined);
}

function bearer(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function openEvents({ base, user, token, position, on }) {
  const controller = new AbortController();
  const query = position ? { position: positionText(position) } : {};
  const parser = new EventParser(({ type, data }) => on.frame({ type, ...JSON.parse(data) }));
  // An EventSource gives up at the first error status, and can send its token only in the URL, which ends in logs.
  const listen = async () => {
    const response = await fetch(withQuery(`${base}/sse`, { token, user }, query), {
      headers: { Accept: "text/event-stream", ...bearer(token) },
      cache: "no-store",
      signal: controller.signal,
    });
    if (!response.ok) return endRefused(response, on);
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return on.end(1006, "the stream ended");
      parser.feed(decoder.decode(value, { stream: true }));
    }
  };
  listen().catch((error) => on.end(1006, error.message));
  return { close: () => controller.abort() };
}

function openPoll({ base, user, token, position, on, timing }) {
  const controller = new AbortController();
  const listen = async () => {
    for (let waitMs = 0, at = position; ; waitMs = timing.pollMs) {
      const since = Date.now();
      const query = { wait: String(waitMs / 1000), ...(at ? { position: positionText(at) } : {}) };
      const response = await fetch(withQuery(`${base}/poll`, { token, user }, query), {
        headers: bearer(token),
        cache: "no-store",
        signal: AbortSignal.any([controller.signal, AbortSignal.timeout(waitMs + timing.greetMs)]),
      });
      if (!response.ok) return endRefused(response, on);
      const answer = await response.json();
      if (controller.signal.aborted) return undefined;
      if (waitMs === 0) on.frame({ type: "welcome", user_id: user, recovered: answer.recovered });
      on.frame({ ...answer, type: "missed_notifications" });
      at = { epoch: answer.epoch, offset: answer.offset };
      // Whoever gets a hundred notifications in a second does not ask a hundred times.
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, since + timing.pollGapMs - Date.now()));
    }
  };
  listen().catch((error) => on.end(1006, error.message));
  return { close: () => controller.abort() };
}

const TRANSPORTS = { socket: openSocket, sse: openEvents, poll: openPoll };
/** The order in which the ways are tried while none of them works. */
const ATTEMPTS = ["socket", "socket", "sse", "poll"];

// -- The client ------------------------------------------------------------------------------------------------------

/** Returns when a JWT expires, in milliseconds since the epoch; 0 if the text is not a JWT that says so. */
function expiryOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    return JSON.parse(atob(payload)).exp * 1000 || 0;
  } catch {
    return 0;
  }
}

/** Returns the storage of this browser, or null if the page may not use it. */
function browserStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

/** Is thrown by a function that makes tokens if there is no sense in asking it again: nobody is logged in. */
export class NotSignedIn extends Error {}

/** An error with the code that the server gave, or "timeout". */
export class ChangeFailed extends Error {
  constructor(code, detail) {
    super(detail || code);
    this.code = code;
  }
}

/**
 * Keeps the inbox of one user equal to the server's.
 *
 * Options: `user`, the user's id; `node`, the address of the sockets (ws://host:5055/ws); `api`, the gateway's address,
 * for lists (without it there are only those rows that the socket brings); `token`, a text, or a function that returns
 * one (or a promise of it, or {token}) and gets {reason}: "connect", "expiring", "expired" or "refused" (null: none, for
 * a development server that needs none); it throws NotSignedIn if there will be none, and is asked again after any other
 * error; `share`: whether the tabs of this browser share one connection; `storage`: where rows and position survive a
 * reload, or null.
 *
 * Events, each with `detail`: "status" (see `status`), "change" (rows or counter changed), "notification" ({row}: it came
 * just now and was never seen), "missed" ({items, fresh, recovered, first}: what a connection brought that was made),
 * "reset" (everything was replaced: lists have to be read again).
 */
export class NotifyClient extends EventTarget {
  inbox = new Inbox();
  #options;
  #timing;
  #random;
  #me = Math.random().toString(36).slice(2);
  #name;
  #stopping = null;
  #status = { state: "stopped", transport: null, role: null, code: null, reason: "", retryAt: null };
  #role = "alone";
  #channel = null;
  #queue = null;
  #release = null;
  #ticks = 0;
  #asked = false;
  #link = null;
  #timer = 0;
  #attempt = 0;
  #tries = 0;
  #works = null;
  #worksUntil = 0;
  #hasSockets = false;
  #upgradeMs;
  #upgradeTimer = 0;
  #watch = 0;
  #token = null;
  #coming = null;
  #tokenReason = "connect";
  #pending = new Map();
  #changes = 0;
  #saveTimer = 0;
  #ackTimer = 0;

  constructor({
    user,
    node,
    api = null,
    token = null,
    share = true,
    storage = browserStorage(),
    random = Math.random,
    timing = {},
  }) {
    super();
    if (!user || !node) throw new TypeError("NotifyClient needs a user and a node");
    this.#options = { user: String(user), node, api: api?.replace(/\/$/, "") ?? null, token, share, storage };
    this.#timing = { ...TIMING, ...timing };
    this.#random = random;
    this.#name = `notify-inbox:${node}#${user}`;
    this.#upgradeMs = this.#timing.upgradeMs;
  }

  /**
   * Returns {state, transport, role, code, reason, retryAt}. `state` is "connecting", "live" (equal to the server),
   * "waiting" (until `retryAt`), "paused" (another device took the place; it comes back when the user returns),
   * "closed" (with `code` and `reason`; it stays away until `connect` is called) or "stopped".
   */
  get status() {
    return this.#status;
  }

  get user() {
    return this.#options.user;
  }

  get items() {
    return this.inbox.items;
  }

  get unread() {
    return this.inbox.unread ?? 0;
  }

  /** Whether lists can be read: the address of the gateway is known. */
  get canList() {
    return this.#options.api !== null;
  }

  start() {
    if (this.#stopping) return this;
    this.#stopping = new AbortController();
    this.#restore();
    this.#listenToPage();
    this.#watch = setInterval(() => this.#look(), Math.min(5_000, this.#timing.pongMs));
    this.#enter();
    return this;
  }

  /** Closes the connection and frees everything. What is stored stays. */
  stop() {
    if (!this.#stopping) return;
    this.#leave();
    clearInterval(this.#watch);
    this.#stopping.abort();
    this.#stopping = null;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new ChangeFailed("stopped", "the client was stopped"));
    }
    this.#pending.clear();
    this.#setStatus("stopped");
  }

  /**
   * Stops, in all tabs of this browser, and removes what the browser stores of the user: call it when the user logs out.
   */
  forget() {
    this.#tell({ kind: "forget" });
    this.stop();
    this.#empty();
  }

  /** Connects now, whatever the client was waiting for. */
  connect() {
    if (!this.#stopping) this.start();
    else if (this.#role === "follower") this.#tell({ kind: "connect", token: this.#fixedToken() });
    else if (!this.#link) {
      this.#attempt = 0;
      this.#connect();
    }
  }

  /** Closes the connection, and stays away until `connect` is called. */
  disconnect() {
    if (this.#role === "follower") this.#tell({ kind: "disconnect" });
    else this.#stay("closed", 1000, "disconnected here");
  }

  /** Gives the client another token (or function), and lets it come back if the old one was refused. */
  setToken(token) {
    this.#options.token = token;
    this.#token = null;
    this.#tell({ kind: "token", token: this.#fixedToken() });
    if (this.#status.state === "closed" && this.#status.code >= 4000) this.connect();
    else this.#showToken();
  }

  // Each returns a promise that is fulfilled when the server has made the change, and rejected with ChangeFailed.
  read(ids) {
    return this.#changeIds("read", ids);
  }
  unreadAgain(ids) {
    return this.#changeIds("unread", ids);
  }
  archive(ids) {
    return this.#changeIds("archive", ids);
  }
  /** Takes notifications out of the archive; this is possible by HTTP only. */
  unarchive(ids) {
    return this.#changeIds("unarchive", ids);
  }
  delete(ids) {
    return this.#changeIds("delete", ids);
  }
  /** Marks as read everything up to the newest row that is shown here: what arrives meanwhile stays unread. */
  readAll(upto = this.items[0]?.id) {
    return upto === undefined ? Promise.resolve() : this.#change({ type: "read_all", upto });
  }

  /** Reads a part of the list by HTTP, and adds it to `items`. Returns {items, next}; `next` is null after the last. */
  async list({ status = "all", cursor = null, limit = 50 } = {}) {
    const generation = this.inbox.generation;
    const query = new URLSearchParams({ status, limit: String(limit) });
    if (cursor !== null) query.set("cursor", String(cursor));
    const page = await this.#http("GET", `?${query}`);
    if (generation === this.inbox.generation) {
      this.inbox.add(page.items);
      this.#emit("change");
    }
    return { items: page.items, next: page.next ?? null };
  }

  /** Reads one notification whole; the server cuts long texts short in what it sends by itself. */
  async whole(id) {
    const generation = this.inbox.generation;
    const row = await this.#http("GET", `/${id}`);
    if (generation === this.inbox.generation) this.inbox.add([row]);
    this.#emit("change");
    return row;
  }

  // -- Connecting ----------------------------------------------------------------------------------------------------

  /** Begins to take part: with a connection of its own, or as one of the tabs that share one. */
  #enter() {
    if (this.#options.share && navigator.locks && globalThis.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => (this.#role === "leader" ? this.#lead(data) : this.#follow(data));
      this.#join();
    } else if (this.#status.state !== "closed") this.#connect();
  }

  /** Gives the connection, or the place in the queue for it, to the other tabs. */
  #leave() {
    this.#write();
    this.#drop();
    clearTimeout(this.#timer);
    clearTimeout(this.#upgradeTimer);
    this.#channel?.close();
    this.#channel = null;
    this.#queue?.abort();
    this.#release?.();
    this.#release = null;
    this.#role = "alone";
  }

  async #connect() {
    clearTimeout(this.#timer);
    this.#drop();
    const transport = this.#nextTransport();
    const link = { transport, io: null, heard: Date.now(), probed: 0, greeted: false, since: 0, pingMs: 20_000 };
    this.#link = link;
    this.inbox.beginConnection();
    this.#setStatus("connecting", { transport });
    link.greeting = setTimeout(() => this.#ended(link, 1006, "no answer"), this.#timing.greetMs);
    let token;
    try {
      token = await this.#freshToken(this.#tokenReason);
    } catch (error) {
      if (!(error instanceof NotSignedIn)) this.#ended(link, 1006, `no token: ${error.message}`);
      else if (link === this.#link) this.#stay("closed", 4501, error.message);
      return;
    }
    if (link !== this.#link) return;
    link.token = token;
    try {
      link.io = TRANSPORTS[transport]({
        ...this.#options,
        base: this.#options.node.replace(/^ws/, "http").replace(/\/ws$/, ""),
        token,
        position: this.inbox.position,
        timing: this.#timing,
        on: {
          frame: (frame) => link === this.#link && this.#frame(link, frame),
          end: (code, reason, afterMs) => this.#ended(link, code, reason, afterMs),
        },
      });
    } catch (error) {
      // A page with https may not open ws: at all, and a policy of the page may forbid the address.
      this.#ended(link, 1006, error.message);
    }
  }

  #nextTransport() {
    return this.#tries === 0 && this.#works ? this.#works : ATTEMPTS[this.#tries % ATTEMPTS.length];
  }

  /** Leaves the present connection, whose events are ignored from now on. */
  #drop() {
    const link = this.#link;
    this.#link = null;
    if (!link) return;
    clearTimeout(link.greeting);
    link.io?.close();
  }

  #ended(link, code, reason, afterMs) {
    if (link !== this.#link) return;
    this.#drop();
    if (link.since && Date.now() - link.since >= this.#timing.stableMs) this.#attempt = 0;
    const advice = link.advice;
    const known = advice && (code === 1006 || code === 1005) ? advice.code : code;
    const why = reason || advice?.reason || "";
    // A server that refuses a token was reached: this way works.
    if (link.greeted) this.#tries = 0;
    else if (afterClose(known) !== "token") this.#tries += 1;
    const wait = backoffMs(this.#attempt, this.#random, this.#timing);
    switch (afterClose(known)) {
      case "stay":
        return this.#stay("closed", known, why);
      case "never":
        this.#empty();
        return this.#stay("closed", known, why);
      case "user":
        return this.#stay("paused", known, why);
      case "token": {
        // Another token is worth one attempt. If the server refuses that one as well, the token is not the reason.
        const source = this.#options.token;
        const isSame = typeof source === "function" ? this.#tokenReason === "expired" && !link.greeted : source === link.token;
        const hopeless = !source || isSame;
        if (hopeless) return this.#stay("closed", 4501, why);
        this.#tokenReason = "expired";
        return this.#wait(wait, known, why);
      }
      case "told": {
        // A frame has a time of its own for each device. An HTTP header has the same one for all.
        const told = advice?.after_ms ?? (afterMs === undefined ? wait : afterMs + wait);
        return this.#wait(Math.min(told, this.#timing.toldMs), known, why, true);
      }
      case "slowly":
        return this.#wait(this.#timing.slowlyMs + wait, known, why, true);
      default:
        return advice?.reconnect === false ? this.#stay("closed", known, why) : this.#wait(wait, known, why);
    }
  }

  #wait(ms, code, reason, told = false) {
    this.#attempt += 1;
    this.#setStatus("waiting", { code, reason, retryAt: Date.now() + ms, told });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), ms);
  }

  #stay(state, code, reason) {
    this.#drop();
    clearTimeout(this.#timer);
    clearTimeout(this.#upgradeTimer);
    this.#setStatus(state, { code, reason });
  }

  #frame(link, frame) {
    link.heard = Date.now();
    switch (frame.type) {
      case "welcome":
        return this.#greeted(link, frame);
      case "missed_notifications":
      case "notification":
      case "updated":
        return this.#applied(link, this.inbox.apply(frame));
      case "done":
        return this.#settle(frame.id);
      case "error":
        if (TEMPORARY.has(frame.code) && this.#pending.has(frame.id)) {
          setTimeout(() => this.#pending.has(frame.id) && this.#send(this.#pending.get(frame.id)), this.#timing.againMs);
          return undefined;
        }
        if (frame.id === undefined) console.warn(`notify-inbox: ${frame.code}: ${frame.detail ?? ""}`);
        return this.#settle(frame.id, new ChangeFailed(frame.code, frame.detail));
      case "expiring":
        return this.#renew(link);
      case "disconnect":
        link.advice = frame;
        return undefined;
      default:
        // "pong" and "ping" only show that the connection works; other frames belong to newer servers.
        return undefined;
    }
  }

  #greeted(link, frame) {
    clearTimeout(link.greeting);
    if (frame.user_id !== undefined && frame.user_id !== this.#options.user) {
      // Its rows would be mixed with those of another user.
      this.#stay("closed", 4503, `the token belongs to another user: ${frame.user_id}`);
      return;
    }
    link.greeted = true;
    if (frame.ping_s > 0) link.pingMs = frame.ping_s * 1000;
    this.#tries = 0;
    this.#works = link.transport;
    this.#tokenReason = "connect";
    clearTimeout(this.#upgradeTimer);
    if (link.transport === "socket") {
      this.#upgradeMs = this.#timing.upgradeMs;
      this.#hasSockets = true;
      this.#worksUntil = 0;
      return;
    }
    // Where sockets worked before, it was the server that was away, and they work again soon.
    const ms = this.#hasSockets ? this.#timing.upgradeMs / 100 : this.#upgradeMs;
    this.#worksUntil ||= Date.now() + ms;
    this.#hasSockets = false;
    this.#upgradeTimer = setTimeout(() => this.#tryUpgrade(link), ms * (0.8 + 0.4 * this.#random()));
  }

  #applied(link, result) {
    if (result.kind === "gap") {
      this.#ended(link, 1006, "a change was missed");
      return;
    }
    if (result.kind !== "applied") return;
    const midway = link.since > 0;
    if (result.synced && !link.since) {
      link.since = Date.now();
      this.#setStatus("live", { transport: link.transport });
      for (const entry of this.#pending.values()) this.#send(entry);
    }
    this.#tell({ kind: "frame", frame: result.frame, midway });
    this.#show(result, midway);
    if (this.inbox.trim()) this.#emit("reset");
    this.#save();
    this.#acknowledge(link);
  }

  /**
   * Tells this page what an applied frame brought. What a pull brings in the middle of a connection came just now: the
   * server could not send it as single frames.
   */
  #show({ frame, fresh, synced, reset, first }, midway) {
    this.#emit("change");
    if (reset) this.#emit("reset");
    if (synced && !(midway && frame.recovered)) {
      this.#emit("missed", { items: frame.items, fresh, recovered: frame.recovered, first });
    } else for (const row of fresh) this.#emit("notification", { row });
  }

  #acknowledge(link) {
    if (!link.io?.send || this.#ackTimer) return;
    this.#ackTimer = setTimeout(() => {
      this.#ackTimer = 0;
      if (link === this.#link) link.io.send({ type: "ack", offset: this.inbox.position.offset });
    }, this.#timing.ackMs);
  }

  /** Looks whether a socket can be opened again, while the fallback goes on working. */
  #tryUpgrade(link) {
    let probe;
    try {
      probe = new WebSocket(this.#options.node);
    } catch {
      // The page may not open sockets at all.
      return;
    }
    this.#upgradeMs = Math.min(this.#upgradeMs * 2, 3_600_000);
    probe.onopen = () => {
      probe.close(1000);
      if (link !== this.#link) return;
      this.#works = "socket";
      this.#connect();
    };
    probe.onerror = () => {
      if (link === this.#link) this.#upgradeTimer = setTimeout(() => this.#tryUpgrade(link), this.#upgradeMs);
    };
  }

  // A browser does not show the server's pings to a page, and delays the timers of hidden pages: only if nothing was
  // heard for a long time does the page ask, and every decision compares times instead of counting timers.
  #checkSilence(pongMs, patienceMs = this.#link?.pingMs * 2) {
    const link = this.#link;
    if (!link) return;
    const silentMs = Date.now() - link.heard;
    if (!link.greeted) {
      if (silentMs > this.#timing.greetMs) this.#ended(link, 1006, "no answer");
    } else if (link.transport === "sse" && silentMs > link.pingMs * 3) {
      this.#ended(link, 1006, "the server is silent");
    } else if (link.io?.send) {
      if (link.probed > link.heard && Date.now() - link.probed > pongMs) this.#ended(link, 1006, "the server is silent");
      else if (silentMs >= patienceMs && link.probed <= link.heard) {
        link.probed = Date.now();
        link.io.send({ type: "ping" });
      }
    }
  }

  /** Looks now and then whether there is life in the connection, or in the tab that has it. */
  #look() {
    if (this.#role !== "follower") {
      this.#checkSilence(this.#timing.pongMs);
      return;
    }
    // The browser slows the timers of a hidden tab down and may freeze it, and the tab that has the connection may be
    // hidden; but it hears what a visible one says.
    if (document.visibilityState !== "visible") this.#ticks = 0;
    else if (this.#ticks < TICKS_IN_VAIN) {
      this.#ticks += 1;
      this.#tell({ kind: "tick" });
    } else this.#join(true);
  }

  #listenToPage() {
    const options = { signal: this.#stopping.signal };
    const returned = () => {
      if (document.visibilityState === "visible") this.#userReturned();
      // A phone may end a hidden page without another word.
      else this.#write();
    };
    document.addEventListener("visibilitychange", returned, options);
    document.addEventListener("resume", returned, options);
    addEventListener("focus", returned, options);
    addEventListener("online", () => this.#networkReturned(), options);
    addEventListener("offline", () => this.#checkSilence(3_000, 0), options);
    // A page that the browser keeps for the way back must have neither a connection nor a lock: it would be thrown away,
    // and until then no other tab would get anything.
    addEventListener("pagehide", () => this.#leave(), options);
    addEventListener(
      "pageshow",
      ({ persisted }) => {
        if (!persisted) return;
        // Its user has returned.
        if (this.#status.state === "paused") this.#setStatus("connecting");
        this.#enter();
      },
      options,
    );
  }

  /** A stream of the network before says nothing any more, not even that it has ended; a socket can be asked. */
  #networkReturned() {
    if (this.#link?.greeted && !this.#link.io.send) this.#ended(this.#link, 1006, "the network has changed");
    this.#checkSilence(this.#timing.pongMs, 0);
    this.#hurry();
  }

  #userReturned() {
    if (this.#role === "follower") {
      if (this.#status.state === "paused" || this.#status.state === "waiting") this.#tell({ kind: "returned" });
      return;
    }
    if (this.#status.state === "paused") this.connect();
    else this.#checkSilence(this.#timing.pongMs, 5_000);
    this.#hurry();
  }

  /** Shortens a wait that this client chose by itself; one that the server named is kept. */
  #hurry() {
    if (this.#role === "follower" || this.#status.state !== "waiting" || this.#status.told) return;
    const ms = this.#timing.firstMs * (1 - this.#random());
    if (this.#status.retryAt - Date.now() <= ms) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), ms);
  }

  // -- Tokens --------------------------------------------------------------------------------------------------------

  async #freshToken(reason) {
    const source = this.#options.token;
    if (typeof source !== "function") return source;
    if (reason === "connect" && this.#token && expiryOf(this.#token) - Date.now() > 30_000) return this.#token;
    // A connection and a list that need a token at the same time ask once.
    if (this.#coming?.source !== source || this.#coming.reason !== reason) {
      this.#coming = { source, reason, answer: this.#askForToken(source, reason) };
    }
    const { answer } = this.#coming;
    try {
      return await answer;
    } finally {
      if (this.#coming?.answer === answer) this.#coming = null;
    }
  }

  async #askForToken(source, reason) {
    const answer = await source({ reason });
    const token = typeof answer === "object" && answer !== null ? answer.token : answer;
    if (typeof token !== "string" || !token) throw new TypeError("the page gave no token");
    if (source === this.#options.token) this.#token = token;
    return token;
  }

  #fixedToken() {
    return typeof this.#options.token === "string" ? this.#options.token : undefined;
  }

  /** Takes the token of another tab, which may have been opened with a newer one than this tab. */
  #offered(token) {
    const mine = this.#fixedToken();
    if (!token || !mine || token === mine || expiryOf(token) < expiryOf(mine)) return;
    this.#options.token = token;
    this.#showToken();
  }

  /** Gives a fixed token to the server before the one that it knows ends. */
  #showToken() {
    const token = this.#fixedToken();
    if (!token || this.#status.state !== "live" || !this.#link?.io.send || this.#link.token === token) return;
    this.#link.token = token;
    this.#link.io.send({ type: "auth", token });
  }

  async #renew(link) {
    if (typeof this.#options.token !== "function" || !link.io?.send) return;
    try {
      const token = await this.#freshToken("expiring");
      if (link === this.#link) link.io.send({ type: "auth", token });
    } catch (error) {
      // The server ends the connection with 4401 when the old token is over; then it is tried again.
      console.warn("notify-inbox: no fresh token:", error);
    }
  }

  // -- Changes -------------------------------------------------------------------------------------------------------

  async #changeIds(type, ids) {
    const list = [...new Set([ids].flat())];
    for (let at = 0; at < list.length; at += 100) await this.#change({ type, ids: list.slice(at, at + 100) });
  }

  #change(operation) {
    // Whoever presses a button here has returned.
    if (this.#status.state === "paused") this.#userReturned();
    const id = `${this.#me}-${(this.#changes += 1)}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#settle(id, new ChangeFailed("timeout", "the server did not answer in time")),
        this.#timing.changeMs,
      );
      const entry = { operation: { ...operation, id }, timer, resolve, reject };
      this.#pending.set(id, entry);
      this.#send(entry);
    });
  }

  /** Sends a change if that is possible now. If not, it is sent when the client is live: repeats change nothing. */
  #send({ operation }) {
    if (this.#role === "follower") this.#tell({ kind: "do", operation });
    else if (this.#status.state !== "live") return;
    else if (this.#link.io.send && operation.type !== "unarchive") this.#link.io.send(operation);
    else {
      this.#sendByHttp(operation).then(
        () => this.#settle(operation.id),
        (error) => this.#settle(operation.id, error),
      );
    }
  }

  async #sendByHttp({ type, ids, upto }) {
    if (type === "read_all") return this.#http("PATCH", "", { read: true, upto });
    if (type === "delete") {
      for (const id of ids) await this.#http("DELETE", `/${id}`);
      return undefined;
    }
    const marks = { read: { read: true }, unread: { read: false }, archive: { archived: true }, unarchive: { archived: false } };
    return this.#http("PATCH", "", { ids, ...marks[type] });
  }

  #settle(id, error = null) {
    const entry = this.#pending.get(id);
    if (!entry) return;
    this.#pending.delete(id);
    clearTimeout(entry.timer);
    if (error) entry.reject(error);
    else entry.resolve();
  }

  async #http(method, path, body, again = true) {
    if (!this.canList) throw new ChangeFailed("no_api", "the address of the gateway is not known");
    const token = await this.#freshToken(again ? "connect" : "refused");
    const response = await fetch(`${this.#options.api}/users/${encodeURIComponent(this.#options.user)}/inbox${path}`, {
      method,
      headers: { ...bearer(token), ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(this.#timing.changeMs),
    });
    if (response.status === 401 && again && typeof this.#options.token === "function") {
      return this.#http(method, path, body, false);
    }
    // Who deletes what is gone already has what it wanted.
    if (response.status === 404 && method !== "GET") return null;
    if (!response.ok) throw new ChangeFailed(`http_${response.status}`, `the gateway answered ${response.status}`);
    return response.status === 204 ? null : response.json();
  }

  // -- One connection per browser ------------------------------------------------------------------------------------

  /** Waits for the lock, and meanwhile listens to the tab that has it; with `steal`, takes the lock from that tab. */
  #join(steal = false) {
    this.#role = "follower";
    this.#ticks = 0;
    this.#queue?.abort();
    this.#queue = new AbortController();
    const { signal } = this.#queue;
    if (this.#status.state !== "closed") this.#setStatus("connecting");
    this.#ask({ opened: document.visibilityState === "visible", token: this.#fixedToken() });
    navigator.locks
      .request(this.#name, steal ? { steal } : { signal }, () => {
        if (signal.aborted) return undefined;
        this.#role = "leader";
        this.#tell({ kind: "leader" });
        // The tab before this one may have left because it was evicted or refused; that holds for the whole browser.
        const { state, code, reason } = this.#status;
        if (state === "paused" || state === "closed") this.#setStatus(state, { code, reason });
        else this.#connect();
        return new Promise((resolve) => {
          this.#release = resolve;
        });
      })
      .catch((error) => {
        if (signal.aborted) return;
        if (this.#role === "leader") {
          // This tab was frozen, and another one has taken the lock.
          this.#drop();
          clearTimeout(this.#timer);
          clearTimeout(this.#upgradeTimer);
          this.#release = null;
          this.#join();
          return;
        }
        // Some pages, such as those in a sandbox, have the interface and may not use it.
        console.info("notify-inbox: no Web Locks:", error);
        this.#channel.close();
        this.#channel = null;
        this.#role = "alone";
        this.#connect();
      });
  }

  /** Asks the tab with the connection for everything. While its answer is not here, frames of it are of no use. */
  #ask(more = {}) {
    this.#asked = true;
    this.#tell({ kind: "hello", ...more });
  }

  #tell(message) {
    if (this.#role !== "alone") this.#channel?.postMessage({ ...message, from: this.#me });
  }

  /** Answers a message of another tab, as the tab that has the connection. */
  #lead({ kind, from, operation, opened, token }) {
    const { state, code, retryAt } = this.#status;
    switch (kind) {
      case "hello":
        this.#offered(token);
        this.#tell({ kind: "state", to: from, snapshot: this.inbox.snapshot(), status: this.#status });
        // Somebody looks at a tab that was just opened, and may have logged in again.
        return opened && (state === "paused" || code === 4501) ? this.connect() : undefined;
      case "tick":
        this.#tell({ kind: "tock", to: from });
        // The timers of this tab may be late.
        if (state === "waiting" && Date.now() > retryAt) return this.#connect();
        return this.#checkSilence(this.#timing.pongMs);
      case "forget":
        return this.#forgotten();
      case "do": {
        const { id, ...rest } = operation;
        return this.#change(rest).then(
          () => this.#tell({ kind: "done", to: from, id }),
          (error) => this.#tell({ kind: "done", to: from, id, code: error.code, detail: error.message }),
        );
      }
      case "token":
        return this.#offered(token);
      case "connect":
        this.#offered(token);
        return this.connect();
      case "disconnect":
        return this.disconnect();
      case "returned":
        return this.#userReturned();
      default:
        return undefined;
    }
  }

  /** Takes a message of the tab that has the connection. */
  #follow({ kind, to, snapshot, status, frame, midway, id, code, detail }) {
    if (to !== undefined && to !== this.#me) return;
    // Only the tab with the connection says any of these.
    if (["state", "frame", "status", "done", "leader", "tock"].includes(kind)) this.#ticks = 0;
    if (kind === "state") {
      this.#asked = false;
      const first = this.inbox.position === null;
      const fresh = this.inbox.adopt(snapshot);
      this.#setStatus(status.state, status);
      this.#emit("change");
      this.#emit("reset");
      this.#emit("missed", { items: fresh, fresh, recovered: true, first });
    } else if (kind === "frame") {
      if (this.#asked) return;
      const result = this.inbox.apply(frame);
      if (result.kind === "gap") this.#ask();
      else if (result.kind === "applied") {
        this.#show(result, midway);
        if (this.inbox.trim()) this.#emit("reset");
      }
    } else if (kind === "status") {
      this.#setStatus(status.state, status);
      if (status.code === 4506) this.#empty();
    } else if (kind === "done") this.#settle(id, code && new ChangeFailed(code, detail));
    else if (kind === "leader") {
      this.#ask();
      for (const entry of this.#pending.values()) this.#send(entry);
    } else if (kind === "forget") this.#forgotten();
  }

  /** The user has logged out in another tab. */
  #forgotten() {
    this.stop();
    this.#empty();
  }

  // -- State ---------------------------------------------------------------------------------------------------------

  #setStatus(state, { transport = null, code = null, reason = "", retryAt = null, told = false } = {}) {
    this.#status = Object.freeze({ state, transport, role: this.#role, code, reason, retryAt, told });
    if (this.#role === "leader") this.#tell({ kind: "status", status: this.#status });
    this.#emit("status", this.#status);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #empty() {
    clearTimeout(this.#saveTimer);
    this.#saveTimer = 0;
    this.#store(null);
    this.inbox = new Inbox();
    this.#emit("change");
    this.#emit("reset");
  }

  #restore() {
    try {
      const stored = JSON.parse(this.#options.storage?.getItem(this.#name) ?? "null");
      if (stored?.version !== 1 || !isPosition(stored.position)) return;
      this.inbox.adopt(stored);
      // Where sockets are blocked, each page would otherwise find it out anew, which may take half a minute.
      if (Object.hasOwn(TRANSPORTS, stored.way) && stored.wayUntil > Date.now()) this.#works = stored.way;
      this.#emit("change");
    } catch {
      // Storage may be forbidden, or hold what another version wrote: then everything is loaded anew.
      this.inbox = new Inbox();
    }
  }

  #save() {
    if (this.#options.storage && this.#role !== "follower") {
      this.#saveTimer ||= setTimeout(() => this.#write(), this.#timing.saveMs);
    }
  }

  #write() {
    clearTimeout(this.#saveTimer);
    if (!this.#saveTimer) return;
    this.#saveTimer = 0;
    // Rows and position are one value, so they always belong together.
    const way = { way: this.#works, wayUntil: this.#worksUntil };
    for (let most = STORED_ROWS; most >= 1; most = Math.floor(most / 4)) {
      const text = JSON.stringify({ version: 1, ...way, ...this.inbox.stored(most) });
      if (text.length <= STORED_CHARS && this.#store(text)) return;
    }
    // There is no room. What was stored before would be older than what this page has shown.
    this.#store(null);
  }

  /** Replaces what is stored; null removes it. Returns whether that is possible: it may be full, or forbidden. */
  #store(text) {
    try {
      if (text === null) this.#options.storage?.removeItem(this.#name);
      else this.#options.storage.setItem(this.#name, text);
      return true;
    } catch {
      return false;
    }
  }
}

// -- The element: its words, its pictures, its style -----------------------------------------------------------------

/** The words of the element, in English. `element.labels = {title: "..."}` replaces some or all of them. */
export const LABELS = Object.freeze({
  bell: (unread) => (unread ? `Notifications, ${unread} unread` : "Notifications"),
  title: "Notifications",
  views: "Which notifications",
  unread: "Unread",
  all: "All",
  archived: "Archived",
  readAll: "Mark all as read",
  close: "Close",
  read: "Mark as read",
  unreadAgain: "Mark as unread",
  archive: "Archive",
  unarchive: "Move to inbox",
  delete: "Delete",
  confirm: "Delete?",
  confirmDelete: "Press again to delete",
  showMore: "Show more",
  showLess: "Show less",
  older: "Show older ones",
  loading: "Loading ...",
  listFailed: "Older notifications cannot be loaded now.",
  retry: "Try again",
  emptyUnread: "You have read everything.",
  emptyAll: "There are no notifications yet.",
  emptyArchived: "Nothing is archived.",
  urgent: "Urgent",
  types: { info: "Information", success: "Success", warning: "Warning", error: "Error" },
  toasts: "New notifications",
  dismiss: "Dismiss",
  arrived: (title) => `New notification: ${title}`,
  arrivedMany: (count) => `${count} new notifications`,
  missed: (count) => (count === 1 ? "1 new notification while you were away" : `${count} new notifications while you were away`),
  connecting: "Connecting ...",
  waiting: "The connection is interrupted. What you see may be out of date.",
  paused: "Another device is connected instead of this one.",
  refused: "The connection was refused. Sign in again.",
  gone: "This inbox does not exist any more.",
  disconnected: "Disconnected.",
  reconnect: "Connect",
  changeFailed: "This could not be saved. Try again.",
  keys: "Arrow keys move between notifications. R marks as read or unread, E archives, Delete deletes.",
});

const SHAPES = {
  bell: ["M18 9a6 6 0 1 0-12 0c0 6-2.5 7.5-2.5 7.5h17S18 15 18 9", "M10 20a2.2 2.2 0 0 0 4 0"],
  info: ["M12 11.5v4.5", "M12 8v.01"],
  success: ["M8 12.4l2.7 2.7L16 9.5"],
  warning: ["M12 7.5v5.5", "M12 16v.01"],
  error: ["M9 9l6 6", "M15 9l-6 6"],
  read: ["M4 12.5l5 5L20 6.5"],
  readAll: ["M2 12.5l5 5L17 7", "M12 17.2L22 7"],
  unreadAgain: ["M3.5 6h17v12.5h-17z", "M4 7l8 6 8-6"],
  archive: ["M4 8v11h16V8", "M3 4.5h18V8H3z", "M10 12h4"],
  unarchive: ["M4 8v11h16V8", "M3 4.5h18V8H3z", "M12 16.5v-5", "M9.5 13.5l2.5-2.5 2.5 2.5"],
  delete: ["M4 7h16", "M9.5 7V4.5h5V7", "M6 7l1 13h10l1-13", "M10 11v5.5", "M14 11v5.5"],
  close: ["M6 6l12 12", "M18 6L6 18"],
};

function picture(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const d of SHAPES[name]) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** Makes an element. Texts become text nodes, never HTML: those of a notification were written by others. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets an attribute that is mostly the same as before: a thousand rows are looked through with each change. */
function setIfOther(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Returns the address of a link that is safe to follow, or null: a link of others may be a script. */
function safeLink(link) {
  if (typeof link !== "string" || !link) return null;
  try {
    const url = new URL(link, document.baseURI);
    return ["http:", "https:", "mailto:", "tel:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const STYLE = `
:host {
  --_accent: var(--notify-accent, light-dark(#0a57a4, #7cb9ff));
  --_on-accent: var(--notify-on-accent, light-dark(#fff, #0b1a2b));
  --_surface: var(--notify-surface, light-dark(#fff, #171e27));
  --_raised: light-dark(#fff, #1d2631);
  --_sunken: light-dark(#eef1f5, #10161d);
  --_unread: light-dark(#f1f6fd, #1a2634);
  --_line: light-dark(#dde2e9, #2d3843);
  --_ink: var(--notify-ink, light-dark(#18212c, #e7ecf2));
  --_muted: light-dark(#55606e, #a2adba);
  --_badge: var(--notify-badge, #c4271c);
  --_info: light-dark(#0a57a4, #7cb9ff);
  --_info-bg: light-dark(#e1edfb, #12263c);
  --_success: light-dark(#17713d, #62cf93);
  --_success-bg: light-dark(#e0f3e8, #12301f);
  --_warning: light-dark(#7d5200, #efbe5f);
  --_warning-bg: light-dark(#fdf0d4, #352706);
  --_error: light-dark(#b3241a, #ff978a);
  --_error-bg: light-dark(#fde7e5, #3b1713);
  --_shadow: 0 1px 2px rgb(0 0 0 / .08), 0 12px 32px rgb(8 15 26 / .18);
  color-scheme: light dark;
  display: inline-block;
  position: relative;
  vertical-align: middle;
  font: 14px/20px var(--notify-font, system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif);
  text-align: start;
}
:host([theme="light"]) { color-scheme: light }
:host([theme="dark"]) { color-scheme: dark }
:host([hidden]) { display: none }
*, ::before, ::after { box-sizing: border-box }
[hidden] { display: none !important }
svg { width: 20px; height: 20px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; flex: none; display: block }
button { font: inherit; color: inherit; background: none; border: 0; margin: 0; padding: 0; cursor: pointer; border-radius: 8px }
:focus-visible { outline: 2px solid var(--_accent); outline-offset: 2px }
/* A text in the other direction keeps its own order of words, but is aligned like the list. */
[dir="auto"] { text-align: match-parent }
.hidden-text { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }

.bell { position: relative; display: grid; place-items: center; width: 40px; height: 40px; border-radius: 50% }
.bell svg { width: 24px; height: 24px }
.bell:hover, .bell[aria-expanded="true"] { background: color-mix(in srgb, currentColor 10%, transparent) }
.bell:focus-visible { outline-color: currentColor }
.badge { position: absolute; inset-block-start: 1px; inset-inline-end: 1px; min-width: 18px; height: 18px; padding: 0 5px; border-radius: 9px; background: var(--_badge); color: #fff; font: 700 11px/18px system-ui, sans-serif; text-align: center; font-variant-numeric: tabular-nums }
.badge:empty { display: none }
.bell[data-state="waiting"]::after, .bell[data-state="closed"]::after, .bell[data-state="paused"]::after { content: ""; position: absolute; inset-block-end: 5px; inset-inline-end: 5px; width: 10px; height: 10px; border-radius: 50%; background: #d98a00; border: 2px solid var(--_surface) }
.bell[data-state="closed"]::after { background: #8b95a1 }

.panel, .toasts { position: fixed; inset: auto; margin: 0; padding: 0; border: 0; color: var(--_ink); background: none; overflow: visible; z-index: 2147483000 }
.panel:not(.open) { display: none }
.panel:focus { outline: 0 }
.panel { display: flex; flex-direction: column; width: min(408px, calc(100vw - 16px)); background: var(--_surface); border: 1px solid var(--_line); border-radius: 14px; box-shadow: var(--_shadow); overflow: hidden }
.head { display: flex; align-items: center; gap: 4px; padding-block: 12px 8px; padding-inline: 16px 8px }
h2 { flex: 1; min-width: 0; margin: 0; font-size: 16px; line-height: 24px; font-weight: 650; border-radius: 4px }
.icon { display: grid; place-items: center; width: 32px; height: 32px; color: var(--_muted) }
.icon svg { width: 18px; height: 18px }
.icon:hover { background: var(--_sunken); color: var(--_ink) }
.icon[aria-disabled="true"] { opacity: .4; cursor: default; background: none }
.text { padding: 5px 10px; color: var(--_accent); font-weight: 550; border-radius: 8px }
.text:hover { background: var(--_sunken) }
.views { display: flex; gap: 4px; padding: 0 12px 10px; border-bottom: 1px solid var(--_line) }
.views button { padding: 4px 12px; border-radius: 14px; color: var(--_muted); font-size: 13px; font-weight: 550 }
.views button:hover { background: var(--_sunken) }
.views button[aria-pressed="true"] { background: var(--_info-bg); color: var(--_info) }
.views span { font-variant-numeric: tabular-nums }

.notice { display: flex; align-items: center; gap: 8px; padding-block: 6px; padding-inline: 16px 8px; background: var(--_warning-bg); color: var(--_warning); font-size: 13px; line-height: 18px; border-bottom: 1px solid var(--_line) }
.notice p { flex: 1; min-width: 0; margin: 4px 0 }
.notice .text { color: inherit; text-decoration: underline; text-underline-offset: 2px }
.notice .text:hover { background: color-mix(in srgb, currentColor 12%, transparent) }
.notice.quiet { background: var(--_sunken); color: var(--_muted) }

.scroll { flex: 1; min-height: 0; overflow-y: auto; overscroll-behavior: contain; scrollbar-width: thin; scrollbar-color: var(--_line) transparent }
.row { position: relative; display: grid; grid-template-columns: 32px minmax(0, 1fr); gap: 0 12px; padding: 12px 16px 10px; border-bottom: 1px solid var(--_line); contain-intrinsic-size: auto 92px; content-visibility: auto }
.row:last-child { border-bottom: 0 }
.row:focus-visible { outline-offset: -2px; border-radius: 4px }
.row:hover { background: var(--_sunken) }
.row.unread { background: var(--_unread) }
.row.unread:hover { background: color-mix(in srgb, var(--_unread) 95%, var(--_ink)) }
.row.high::before { content: ""; position: absolute; inset-block: 0; inset-inline-start: 0; width: 3px; background: var(--_error) }
.row.pending { opacity: .55 }
.kind { display: grid; place-items: center; width: 32px; height: 32px; border-radius: 50%; color: var(--tone); background: var(--tone-bg) }
.kind svg { width: 32px; height: 32px; stroke-width: 1.9 }
.info { --tone: var(--_info); --tone-bg: var(--_info-bg) }
.success { --tone: var(--_success); --tone-bg: var(--_success-bg) }
.warning { --tone: var(--_warning); --tone-bg: var(--_warning-bg) }
.error { --tone: var(--_error); --tone-bg: var(--_error-bg) }
.what { min-width: 0 }
.title { display: flex; gap: 8px; align-items: flex-start; overflow-wrap: anywhere }
.title > :first-child { flex: 1; min-width: 0; color: inherit; text-decoration: none }
.short .title > :first-child { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; line-clamp: 3; overflow: hidden }
.title a:hover { text-decoration: underline; text-underline-offset: 2px }
.unread .title > :first-child { font-weight: 650 }
.dot { flex: none; width: 8px; height: 8px; margin-block-start: 6px; border-radius: 50%; background: var(--_accent) }
.row:not(.unread) .dot { visibility: hidden }
.body { margin: 2px 0 0; color: var(--_muted); overflow-wrap: anywhere; white-space: pre-line }
.short .body, .toast .body { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; line-clamp: 2; overflow: hidden }
.row .body:empty, .toast .body:empty { display: none }
.expand { margin-block-start: 2px; margin-inline-start: -6px; padding: 1px 6px; color: var(--_accent); font-size: 13px; font-weight: 550; border-radius: 6px }
.expand:hover { text-decoration: underline }
.foot { display: flex; align-items: center; gap: 8px; min-height: 28px; margin-block-start: 2px; color: var(--_muted); font-size: 12px; line-height: 16px }
.foot time { white-space: nowrap }
.foot .category { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; min-width: 0 }
.foot .category:empty { display: none }
.foot time:has(+ .category:not(:empty))::after { content: "·"; margin-inline-start: 8px }
.chip { padding: 1px 8px; border-radius: 9px; background: var(--_error-bg); color: var(--_error); font-weight: 650; font-size: 11px }
.actions { display: flex; margin-inline-start: auto; margin-inline-end: -8px; opacity: 0 }
.actions .icon { width: 30px; height: 28px }
.actions .icon:hover { background: color-mix(in srgb, var(--_ink) 10%, transparent) }
.actions .confirm { width: auto; padding: 0 8px; background: var(--_error); color: var(--_surface); font-weight: 600; white-space: nowrap }
.actions .confirm:hover { background: var(--_error); color: var(--_surface) }
.actions .confirm svg, .actions:has(.confirm) .icon:not(.confirm) { display: none }
.row:hover .actions, .row:focus-within .actions, .row:focus .actions { opacity: 1 }
@media (hover: none) { .actions { opacity: 1 } }
.empty { display: grid; justify-items: center; gap: 12px; padding: 48px 24px 56px; color: var(--_muted); text-align: center }
.empty svg { width: 40px; height: 40px; stroke-width: 1.2; opacity: .7 }
.empty p { margin: 0 }
.end { display: flex; justify-content: center; align-items: center; flex-wrap: wrap; gap: 4px 8px; padding: 8px 16px 10px; color: var(--_muted); font-size: 13px }
.end p { margin: 0 }


.toasts { display: flex; flex-direction: column; gap: 8px; width: min(360px, calc(100vw - 32px)); inset-block-end: 16px; inset-inline-end: 16px; pointer-events: none }
.toasts:empty { display: none }
.toast { pointer-events: auto; display: grid; grid-template-columns: 28px minmax(0, 1fr) 28px; gap: 0 10px; padding-block: 12px; padding-inline: 14px 8px; background: var(--_raised); border: 1px solid var(--_line); border-radius: 12px; box-shadow: var(--_shadow); text-align: start; cursor: pointer }
.toast .kind { width: 28px; height: 28px }
.toast .kind svg { width: 28px; height: 28px }
.toast .head-line { font-weight: 650; overflow-wrap: anywhere; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; overflow: hidden }
.toast .open { display: block; width: 100%; text-align: start; border-radius: 4px }
.toast .icon { width: 28px; height: 28px }
.toast .icon svg { width: 16px; height: 16px }

@media (prefers-reduced-motion: no-preference) {
  .panel.open { animation: appear .14s ease-out }
  .toast { animation: arrive .22s cubic-bezier(.2, .8, .3, 1) }
  .bell.ring svg { animation: ring .6s ease-in-out; transform-origin: 50% 10% }
  .actions, .row { transition: opacity .12s, background-color .12s }
  @keyframes appear { from { opacity: 0; transform: translateY(-6px) } }
  @keyframes arrive { from { opacity: 0; transform: translateY(14px) } }
  @keyframes ring { 20% { transform: rotate(14deg) } 40% { transform: rotate(-12deg) } 60% { transform: rotate(8deg) } 80% { transform: rotate(-5deg) } }
}
@media (max-width: 480px) {
  .toasts { inset-inline: 12px; width: auto; inset-block-end: 12px }
  .row { padding-inline: 14px }
}
@media print {
  .panel, .toasts { display: none !important }
}
@media (forced-colors: active) {
  .badge, .dot, .kind { forced-color-adjust: none }
  .views button[aria-pressed="true"] { outline: 2px solid Highlight }
}
`;

const TOASTS_AT_ONCE = 3;
const TOAST_MS = { low: 4_000, medium: 6_000, high: 10_000 };
const ROWS_AT_ONCE = 50;
const CONFIRM_MS = 4_000;
const TYPES = ["info", "success", "warning", "error"];

const typeOf = (row) => (TYPES.includes(row.type) ? row.type : "info");

/** Returns what writes times in a language. Making one costs more than a hundred uses of it. */
function timeFormats(locale) {
  const found = timeFormats.made.get(locale);
  if (found) return found;
  let made;
  try {
    made = {
      relative: new Intl.RelativeTimeFormat(locale, { numeric: "auto" }),
      date: new Intl.DateTimeFormat(locale, { dateStyle: "medium" }),
      full: new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }),
    };
  } catch {
    // The page's `lang` is not a language, such as "en_US": the browser's own one is used.
    made = timeFormats(undefined);
  }
  timeFormats.made.set(locale, made);
  return made;
}
timeFormats.made = new Map();

// The classes below are defined only where there are pages: tests and tools may import this file elsewhere.
const Base = globalThis.HTMLElement ?? class {};

/**
 * Shows a bell with the number of unread notifications, their list, and a toast for each new one.
 *
 * Attributes: `user`; `node` (default: port 5055 of the gateway, or /ws of it if it has https); `api` (default: where
 * this file came from); `token`, or `token-url`, which is fetched with this page's cookies and answers {"token"};
 * `toasts="off"`; `theme="light"` or `"dark"` (default: the system's); `share="off"`; `storage="off"`.
 * Properties: `getToken`, a function that returns a token; `labels`; `client`, the NotifyClient.
 * Events: "notify-open" ({row}) before a link is followed: preventDefault() keeps the element from following it;
 * "notify-status", "notify-change", "notify-notification" and "notify-missed", which are the client's.
 * CSS properties: --notify-accent, --notify-on-accent, --notify-surface, --notify-ink, --notify-badge, --notify-font.
 */
export class NotifyInboxElement extends Base {
  static observedAttributes = ["user", "node", "api", "token", "token-url", "share", "storage", "lang"];
  static #sheet = null;
  #getToken = null;
  #client = null;
  #running = null;
  #source = null;
  #labels = LABELS;
  #view = "all";
  #shown = ROWS_AT_ONCE;
  #pages = {};
  #nodes = new Map();
  #pendingIds = new Set();
  #expanded = new Set();
  #current = null;
  #open = false;
  #scheduled = false;
  #restarting = false;
  #failure = "";
  #arrived = [];
  #announceTimer = 0;
  #clock = 0;
  #stopListening = null;
  #parts = {};

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    // A constructed sheet needs no permission of a Content-Security-Policy, as a style element would.
    if (!NotifyInboxElement.#sheet) {
      NotifyInboxElement.#sheet = new CSSStyleSheet();
      NotifyInboxElement.#sheet.replaceSync(STYLE);
    }
    root.adoptedStyleSheets = [NotifyInboxElement.#sheet];
    this.#build(root);
  }

  get client() {
    return this.#client;
  }

  /** A function that returns a token (or a promise of it); it goes before the attributes. */
  get getToken() {
    return this.#getToken;
  }

  set getToken(getToken) {
    this.#getToken = getToken;
    this.#restart();
  }

  get labels() {
    return this.#labels;
  }

  set labels(labels) {
    this.#labels = { ...LABELS, ...labels, types: { ...LABELS.types, ...labels?.types } };
    this.#name();
    this.#nodes.clear();
    this.#parts.feed.replaceChildren();
    this.#schedule();
  }

  connectedCallback() {
    // What a page sets before this file is there would hide the setters.
    for (const name of ["getToken", "labels"]) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    this.#restart();
  }

  disconnectedCallback() {
    this.#restart();
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name === "lang") this.#renewTimes();
    else this.#restart();
  }

  // -- The client ----------------------------------------------------------------------------------------------------

  /**
   * Starts a client for the present attributes, once, when all that changes now has changed. If only the token has
   * changed, or if the element was moved within the page, the client stays.
   */
  #restart() {
    if (this.#restarting) return;
    this.#restarting = true;
    queueMicrotask(() => {
      this.#restarting = false;
      const of = (names) => JSON.stringify(names.map((name) => this.getAttribute(name)));
      const isWanted = this.isConnected && this.getAttribute("user");
      const wanted = isWanted ? of(["user", "node", "api", "share", "storage"]) : null;
      const source = this.#getToken ? "getToken" : of(["token", "token-url"]);
      if (wanted !== this.#running) {
        this.#stop();
        if (wanted) this.#start();
      } else if (wanted) {
        if (source !== this.#source) this.#client.setToken(this.#tokenSource());
        this.#moved();
      }
      this.#running = wanted;
      this.#source = source;
    });
  }

  /** Shows again what a browser hides when an element is moved. */
  #moved() {
    const { panel, toasts } = this.#parts;
    for (const [part, isShown] of [[panel, this.#open], [toasts, toasts.childElementCount > 0]]) {
      if (isShown && part.showPopover && !part.matches(":popover-open")) part.showPopover();
    }
    this.#place();
  }

  #stop() {
    this.#client?.stop();
    this.#client = null;
    this.#stopListening?.abort();
    clearInterval(this.#clock);
    clearTimeout(this.#announceTimer);
    this.#close(false);
    this.#pages = {};
    this.#failure = "";
    this.#current = null;
    this.#expanded.clear();
    this.#pendingIds.clear();
    this.#nodes.clear();
    this.#parts.feed.replaceChildren();
    for (const toast of [...this.#parts.toasts.children]) toast.dismiss();
    this.#schedule();
  }

  #start() {
    const home = new URL(".", import.meta.url).href;
    // A page that was opened as a file may not call the gateway.
    const api = this.getAttribute("api") ?? (location.protocol === "file:" ? "off" : home);
    const storage = this.getAttribute("storage") === "off" ? { storage: null } : {};
    const client = new NotifyClient({
      user: this.getAttribute("user"),
      node: this.getAttribute("node") ?? this.#usualNode(api === "off" ? home : api),
      api: api === "off" ? null : api,
      token: this.#tokenSource(),
      share: this.getAttribute("share") !== "off",
      ...storage,
    });
    this.#client = client;
    this.#stopListening = new AbortController();
    const options = { signal: this.#stopListening.signal };
    const on = (type, listener) => client.addEventListener(type, ({ detail }) => listener(detail), options);
    on("change", () => this.#schedule());
    on("status", () => this.#schedule());
    on("notification", ({ row }) => this.#arrive(row));
    on("missed", ({ fresh, first }) => {
      if (!first) this.#catchUp(fresh);
    });
    on("reset", () => {
      this.#pages = {};
      if (this.#open) this.#load();
    });
    for (const type of ["status", "change", "notification", "missed"]) {
      on(type, (detail) => this.dispatchEvent(new CustomEvent(`notify-${type}`, { detail })));
    }
    document.addEventListener("pointerdown", (event) => this.#pressedOutside(event), { ...options, capture: true });
    for (const type of ["resize", "scroll"]) addEventListener(type, () => this.#place(), { ...options, capture: true });
    this.#clock = setInterval(() => this.#renewTimes(), 30_000);
    client.start();
  }

  #usualNode(api) {
    const url = new URL(api);
    return url.protocol === "https:" ? `wss://${url.host}/ws` : `ws://${url.hostname}:5055/ws`;
  }

  #tokenSource() {
    if (this.#getToken) return (reason) => this.#getToken(reason);
    const url = this.getAttribute("token-url");
    if (!url) return this.getAttribute("token");
    return async () => {
      const response = await fetch(url, { credentials: "same-origin", cache: "no-store", headers: { Accept: "application/json" } });
      const problem = `${url} answered ${response.status}`;
      if (response.status === 401 || response.status === 403) throw new NotSignedIn(problem);
      if (!response.ok) throw new Error(problem);
      return (await response.json()).token;
    };
  }

  /** Carries out a change of rows, and shows that it has not been answered yet, or that it failed. */
  async #change(ids, change, failure = this.#labels.changeFailed) {
    for (const id of ids) this.#pendingIds.add(id);
    this.#failure = "";
    this.#schedule();
    try {
      await change();
    } catch (error) {
      if (error.code !== "stopped") {
        this.#failure = failure;
        this.#say(failure);
      }
    } finally {
      for (const id of ids) this.#pendingIds.delete(id);
      this.#schedule();
    }
  }

  // -- The parts -----------------------------------------------------------------------------------------------------

  #build(root) {
    const parts = this.#parts;
    const toggle = () => (this.#open ? this.#close() : this.#show());
    parts.badge = make("span", { class: "badge", part: "badge" });
    parts.bell = make(
      "button",
      { class: "bell", part: "bell", type: "button", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: toggle },
      picture("bell"),
      parts.badge,
    );
    parts.heading = make("h2", { id: "heading", tabindex: "-1" });
    parts.readAll = this.#icon("readAll", () => this.#readAll());
    parts.close = this.#icon("close", () => this.#close());
    parts.views = make("div", { class: "views", role: "group" });
    for (const view of ["all", "unread", "archived"]) {
      const button = make("button", { type: "button", onclick: () => this.#choose(view) });
      button.view = view;
      parts.views.append(button);
    }
    parts.noticeText = make("p");
    parts.noticeButton = make("button", { class: "text", type: "button", onclick: () => this.#client?.connect() });
    parts.notice = make("div", { class: "notice", hidden: true }, parts.noticeText, parts.noticeButton);
    parts.feed = make("div", { role: "feed", "aria-labelledby": "heading", "aria-describedby": "keys" });
    parts.empty = make("div", { class: "empty", hidden: true }, picture("bell"), make("p"));
    parts.endText = make("p");
    parts.endButton = make("button", { class: "text", type: "button", onclick: () => this.#goOn() });
    parts.end = make("div", { class: "end", hidden: true }, parts.endText, parts.endButton);
    parts.scroll = make("div", { class: "scroll", onscroll: () => this.#scrolled() }, parts.feed, parts.empty, parts.end);
    parts.keys = make("p", { id: "keys", class: "hidden-text" });
    // A press beside its buttons leaves the focus in the panel, so that the keys go on working.
    parts.panel = make(
      "div",
      {
        class: "panel",
        part: "panel",
        role: "dialog",
        tabindex: "-1",
        "aria-labelledby": "heading",
        onkeydown: (event) => this.#pressed(event),
      },
      make("div", { class: "head" }, parts.heading, parts.readAll, parts.close),
      parts.views,
      parts.notice,
      parts.scroll,
      parts.keys,
    );
    parts.toasts = make("div", { class: "toasts", part: "toasts", role: "region" });
    // Announcements have a place of their own: a toast that goes away, or a list that is drawn anew, is not read out.
    parts.live = make("div", { class: "hidden-text", role: "status", "aria-live": "polite" });
    for (const part of [parts.panel, parts.toasts]) if ("popover" in part) part.popover = "manual";
    root.append(parts.bell, parts.panel, parts.toasts, parts.live);
    this.#name();
    this.#schedule();
  }

  #icon(name, onclick, label = this.#labels[name]) {
    return make("button", { class: "icon", type: "button", "aria-label": label, title: label, onclick }, picture(name));
  }

  /** Writes the words that do not depend on the inbox. */
  #name() {
    const { heading, readAll, close, views, toasts, keys, noticeButton } = this.#parts;
    heading.textContent = this.#labels.title;
    for (const [button, name] of [[readAll, "readAll"], [close, "close"]]) {
      button.setAttribute("aria-label", this.#labels[name]);
      button.title = this.#labels[name];
    }
    views.setAttribute("aria-label", this.#labels.views);
    toasts.setAttribute("aria-label", this.#labels.toasts);
    keys.textContent = this.#labels.keys;
    noticeButton.textContent = this.#labels.reconnect;
  }

  // -- Opening and closing -------------------------------------------------------------------------------------------

  #show() {
    const { panel, bell, heading, toasts } = this.#parts;
    this.#open = true;
    this.#failure = "";
    this.#shown = ROWS_AT_ONCE;
    panel.classList.add("open");
    panel.showPopover?.();
    bell.setAttribute("aria-expanded", "true");
    for (const toast of [...toasts.children]) toast.dismiss();
    // Without its greatest height, the panel would have room for every row there is.
    this.#place();
    this.#render();
    // With a mouse the heading shows no ring; with the keyboard and a screen reader, reading starts here.
    heading.focus({ preventScroll: true });
    this.#load();
  }

  #close(focusBell = true) {
    if (!this.#open) return;
    const { panel, bell } = this.#parts;
    const hadFocus = this.shadowRoot.activeElement !== null;
    this.#open = false;
    panel.classList.remove("open");
    if (panel.isConnected) panel.hidePopover?.();
    bell.setAttribute("aria-expanded", "false");
    if (focusBell && hadFocus) bell.focus();
  }

  #pressedOutside(event) {
    if (this.#open && !event.composedPath().includes(this)) this.#close(false);
  }

  /** Puts the panel under (or above) the bell, within the window, on the side to which the text runs. */
  #place() {
    if (!this.#open) return;
    const { panel, bell } = this.#parts;
    const gap = 8;
    const at = bell.getBoundingClientRect();
    const { clientWidth: width } = document.documentElement;
    const height = innerHeight;
    const below = height - at.bottom - 2 * gap;
    const above = at.top - 2 * gap;
    const isBelow = below >= Math.min(420, above);
    panel.style.maxHeight = `${Math.max(200, Math.min(640, isBelow ? below : above))}px`;
    panel.style.top = isBelow ? `${at.bottom + gap}px` : "auto";
    panel.style.bottom = isBelow ? "auto" : `${height - at.top + gap}px`;
    const panelWidth = panel.offsetWidth;
    const isRtl = getComputedStyle(this).direction === "rtl";
    // The edge of the panel that is near the edge of the window lies under that of the bell, if there is room.
    const wanted = isRtl === at.left + at.right < width ? at.left : at.right - panelWidth;
    const fits = wanted >= gap && wanted + panelWidth <= width - gap;
    const other = wanted === at.left ? at.right - panelWidth : at.left;
    panel.style.left = `${Math.max(gap, Math.min(fits ? wanted : other, width - panelWidth - gap))}px`;
  }

  #choose(view) {
    this.#view = view;
    this.#shown = ROWS_AT_ONCE;
    this.#current = null;
    this.#parts.scroll.scrollTop = 0;
    this.#render();
    this.#load();
  }

  // -- Lists ---------------------------------------------------------------------------------------------------------

  /** Reads the next part of the list that is shown, if there may be one. */
  async #load(more = false) {
    const client = this.#client;
    if (!client?.canList) return;
    const page = (this.#pages[this.#view] ??= { next: null, begun: false, busy: false, failed: false });
    if (page.busy || (page.begun && !more) || (page.begun && page.next === null)) return;
    Object.assign(page, { busy: true, failed: false });
    this.#schedule();
    try {
      const { next } = await client.list({ status: this.#view, cursor: page.next });
      Object.assign(page, { next, begun: true });
    } catch {
      page.failed = true;
    }
    page.busy = false;
    this.#schedule();
  }

  #scrolled() {
    const { scroll } = this.#parts;
    if (scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight > 400) return;
    if (this.#shown < this.#visible().length) {
      this.#shown += ROWS_AT_ONCE;
      this.#render();
    } else if (!this.#pages[this.#view]?.failed) this.#load(true);
  }

  /** Returns the rows of the view, newest first. */
  #visible() {
    const rows = this.#client?.items ?? [];
    if (this.#view === "archived") return rows.filter((row) => row.archived_at);
    if (this.#view === "unread") return rows.filter((row) => !row.archived_at && !row.read_at);
    return rows.filter((row) => !row.archived_at);
  }

  /** Draws once per picture, however much arrives. A hidden page has no pictures, and is to be right when it is seen. */
  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    const draw = () => {
      this.#scheduled = false;
      this.#render();
    };
    if (document.visibilityState === "visible") requestAnimationFrame(draw);
    else queueMicrotask(draw);
  }

  #render() {
    const { bell, badge, readAll } = this.#parts;
    const unread = this.#client?.unread ?? 0;
    const { state = "stopped" } = this.#client?.status ?? {};
    badge.textContent = unread > 99 ? "99+" : unread || "";
    bell.setAttribute("aria-label", this.#labels.bell(unread));
    bell.dataset.state = state;
    // A button that is disabled while it has the focus would swallow the keys of the panel.
    readAll.setAttribute("aria-disabled", String(unread === 0));
    if (!this.#open) return;
    this.#renderViews(unread);
    this.#renderNotice();
    this.#renderRows();
  }

  #renderViews(unread) {
    for (const button of this.#parts.views.children) {
      button.setAttribute("aria-pressed", String(button.view === this.#view));
      const label = this.#labels[button.view];
      button.textContent = button.view === "unread" && unread ? `${label} (${unread})` : label;
    }
  }

  #renderNotice() {
    const { notice, noticeText, noticeButton } = this.#parts;
    const { state, code } = this.#client?.status ?? {};
    const synced = this.#client?.inbox.position !== null;
    const texts = {
      connecting: synced ? "" : this.#labels.connecting,
      waiting: this.#labels.waiting,
      paused: this.#labels.paused,
      closed: code === 1000 ? this.#labels.disconnected : code === 4506 ? this.#labels.gone : this.#labels.refused,
    };
    const text = this.#failure || (texts[state] ?? "");
    // It would flicker while a wait ends in an attempt, and the attempt in the next wait.
    if (state === "connecting" && synced && !notice.hidden && !this.#failure) return;
    notice.hidden = !text;
    if (noticeText.textContent !== text) noticeText.textContent = text;
    notice.classList.toggle("quiet", !this.#failure && (state === "connecting" || code === 1000));
    noticeButton.hidden = Boolean(this.#failure) || state === "connecting" || (state === "closed" && code === 4506);
  }

  #renderRows() {
    const { feed, empty, scroll } = this.#parts;
    const rows = this.#visible();
    const page = this.#pages[this.#view];
    const shown = rows.slice(0, this.#shown);
    const focused = this.shadowRoot.activeElement?.closest(".row")?.rowId;
    const place = focused === undefined ? -1 : [...feed.children].findIndex((node) => node.rowId === focused);
    const kept = new Set(shown.map((row) => row.id));
    for (const [id, node] of this.#nodes) {
      if (kept.has(id)) continue;
      node.remove();
      this.#nodes.delete(id);
    }
    let before = feed.firstChild;
    const size = page?.next === null || !this.#client.canList ? rows.length : -1;
    shown.forEach((row, index) => {
      const node = this.#nodeOf(row);
      setIfOther(node, "aria-posinset", String(index + 1));
      setIfOther(node, "aria-setsize", String(size));
      if (node === before) before = node.nextSibling;
      else feed.insertBefore(node, before);
    });
    setIfOther(feed, "aria-busy", String(Boolean(page?.busy)));
    if (!kept.has(this.#current)) this.#current = shown[Math.max(0, Math.min(place, shown.length - 1))]?.id ?? null;
    for (const node of feed.children) this.#setReachable(node, node.rowId === this.#current);
    // The row that had the focus is gone: the one that took its place has it now, so that a keyboard can go on.
    if (focused !== undefined && !kept.has(focused)) (this.#nodes.get(this.#current) ?? this.#parts.heading).focus();
    const name = { all: "emptyAll", unread: "emptyUnread", archived: "emptyArchived" }[this.#view];
    empty.hidden = rows.length > 0 || Boolean(page?.busy) || this.#client?.inbox.position === null;
    empty.lastChild.textContent = this.#labels[name];
    this.#renderEnd(page, shown.length < rows.length);
    if (scroll.scrollHeight <= scroll.clientHeight) this.#scrolled();
  }

  /** Says under the rows that more are loaded, that this failed, or that there are more. */
  #renderEnd(page, hasMoreRows) {
    const { end, endText, endButton, heading } = this.#parts;
    const labels = this.#labels;
    const hasFocus = this.shadowRoot.activeElement === endButton;
    const text = page?.busy ? labels.loading : page?.failed ? labels.listFailed : "";
    const canGoOn = page?.failed || hasMoreRows || (page?.begun && page.next !== null);
    if (endText.textContent !== text) endText.textContent = text;
    endText.hidden = !text;
    // A button that has the focus keeps it until it is known that there is no more.
    endButton.hidden = page?.busy ? !hasFocus : !canGoOn;
    endButton.textContent = page?.failed ? labels.retry : labels.older;
    end.hidden = endText.hidden && endButton.hidden;
    if (hasFocus && endButton.hidden) (this.#nodes.get(this.#current) ?? heading).focus();
  }

  /** Shows more rows, those that are here or those of the server. */
  #goOn() {
    const isHere = this.#shown < this.#visible().length;
    this.#shown += ROWS_AT_ONCE;
    if (isHere) this.#render();
    else this.#load(true);
  }

  // -- One row -------------------------------------------------------------------------------------------------------

  #nodeOf(row) {
    let node = this.#nodes.get(row.id);
    if (!node) {
      node = this.#makeRow(row);
      this.#nodes.set(row.id, node);
    }
    if (node.row !== row) this.#fill(node, row);
    node.classList.toggle("pending", this.#pendingIds.has(row.id));
    return node;
  }

  #makeRow({ id }) {
    const parts = {
      kind: make("span", { class: "kind", role: "img" }),
      title: make("div", { class: "title" }),
      body: make("p", { class: "body", id: `body-${id}`, dir: "auto" }),
      expand: make("button", { class: "expand", type: "button", hidden: true, onclick: () => this.#expand(id) }),
      foot: make("div", { class: "foot" }),
      time: make("time"),
      category: make("span", { class: "category", dir: "auto" }),
      chip: make("span", { class: "chip", id: `chip-${id}` }, this.#labels.urgent),
      dot: make("span", { class: "dot", role: "img", id: `dot-${id}`, "aria-label": this.#labels.unread }),
      actions: make("div", { class: "actions" }),
    };
    parts.toggle = make("button", { class: "icon", type: "button", onclick: () => this.#toggleRead(id) });
    parts.archive = make("button", { class: "icon", type: "button", onclick: () => this.#toggleArchived(id) });
    parts.delete = this.#icon("delete", () => this.#delete(id));
    parts.actions.append(parts.toggle, parts.archive, parts.delete);
    parts.foot.append(parts.chip, parts.time, parts.category, parts.actions);
    const node = make(
      "article",
      { class: "row", "aria-keyshortcuts": "R E Delete" },
      parts.kind,
      make("div", { class: "what" }, parts.title, parts.body, parts.expand, parts.foot),
    );
    parts.kind.id = `kind-${id}`;
    node.addEventListener("focusin", () => {
      if (this.#current === id) return;
      const before = this.#nodes.get(this.#current);
      if (before) this.#setReachable(before, false);
      this.#current = id;
      this.#setReachable(node, true);
    });
    return Object.assign(node, { rowId: id, parts, row: null });
  }

  #fill(node, row) {
    const { parts } = node;
    const labels = this.#labels;
    const type = typeOf(row);
    if (node.row === null) {
      const link = safeLink(row.link);
      const title = link
        ? make("a", { href: link, rel: "noopener noreferrer", dir: "auto", onclick: (event) => this.#follow(event, row.id) }, row.title)
        : make("span", { dir: "auto" }, row.title);
      title.id = `title-${row.id}`;
      parts.title.replaceChildren(title, parts.dot);
      parts.kind.replaceChildren(picture(type));
      parts.kind.setAttribute("aria-label", labels.types[type]);
    }
    node.row = row;
    const unread = !row.read_at && !row.archived_at;
    const isHigh = row.priority === "high";
    node.className = `row ${type}${unread ? " unread" : ""}${isHigh ? " high" : ""}`;
    // Neither the dot nor the bold title nor the colour tells a screen reader anything.
    node.setAttribute("aria-labelledby", `kind-${row.id} title-${row.id}${unread ? ` dot-${row.id}` : ""}`);
    node.setAttribute("aria-describedby", `${isHigh ? `chip-${row.id} ` : ""}body-${row.id}`);
    parts.body.textContent = row.body ?? "";
    parts.time.dateTime = row.created_at ?? "";
    [parts.time.textContent, parts.time.title] = this.#timeOf(row.created_at);
    parts.category.textContent = row.category ?? "";
    parts.chip.hidden = !isHigh;
    this.#turn(parts.toggle, row.read_at ? "unreadAgain" : "read");
    this.#turn(parts.archive, row.archived_at ? "unarchive" : "archive");
    parts.archive.hidden = Boolean(row.archived_at) && !this.#client.canList;
    this.#fold(node);
  }

  /** Makes a button one that does the opposite. */
  #turn(button, name) {
    const label = this.#labels[name];
    if (button.title === label) return;
    button.title = label;
    button.setAttribute("aria-label", label);
    button.replaceChildren(picture(name));
  }

  /** Shows the first lines of long texts, and a button for the rest of them. */
  #fold(node) {
    const { expand } = node.parts;
    const { title, body, partial } = node.row;
    const isExpanded = this.#expanded.has(node.rowId);
    node.classList.toggle("short", !isExpanded);
    // About what fits into the lines; measuring each row would make the browser lay out the list once per row.
    const isLong = partial || title.length > 110 || (body?.length ?? 0) > 88 || (body?.match(/\n/g)?.length ?? 0) > 1;
    expand.hidden = !isLong;
    expand.textContent = isExpanded ? this.#labels.showLess : this.#labels.showMore;
    expand.setAttribute("aria-expanded", String(isExpanded));
  }

  #expand(id) {
    const node = this.#nodes.get(id);
    if (this.#expanded.delete(id)) this.#fold(node);
    else {
      this.#expanded.add(id);
      this.#fold(node);
      if (node.row.partial && this.#client.canList) {
        this.#change([], () => this.#client.whole(id), this.#labels.listFailed);
      }
    }
  }

  /** Lets the tab key reach the buttons of one row only: with 200 rows it would need 800 presses to get through. */
  #setReachable(node, isReachable) {
    if (node.isReachable === isReachable) return;
    node.isReachable = isReachable;
    node.tabIndex = isReachable ? 0 : -1;
    for (const one of node.querySelectorAll("a, button")) one.tabIndex = isReachable ? 0 : -1;
  }

  #renewTimes() {
    for (const { parts, row } of this.#nodes.values()) [parts.time.textContent, parts.time.title] = this.#timeOf(row.created_at);
  }

  #timeOf(text) {
    const at = new Date(text ?? NaN);
    if (Number.isNaN(at.getTime())) return ["", ""];
    const formats = timeFormats(this.closest("[lang]")?.lang || navigator.language);
    const seconds = (Date.now() - at.getTime()) / 1000;
    const full = formats.full.format(at);
    if (seconds < 45) return [formats.relative.format(0, "second"), full];
    if (seconds < 3_570) return [formats.relative.format(-Math.max(1, Math.round(seconds / 60)), "minute"), full];
    if (seconds < 84_600) return [formats.relative.format(-Math.round(seconds / 3_600), "hour"), full];
    if (seconds < 7 * 86_400) return [formats.relative.format(-Math.round(seconds / 86_400), "day"), full];
    return [formats.date.format(at), full];
  }

  #readAll() {
    if (this.#client?.unread) this.#change([], () => this.#client.readAll());
  }

  #toggleRead(id) {
    const row = this.#client.inbox.get(id);
    if (!row) return;
    this.#change([id], () => (row.read_at ? this.#client.unreadAgain([id]) : this.#client.read([id])));
  }

  #toggleArchived(id) {
    const row = this.#client.inbox.get(id);
    if (!row) return;
    this.#change([id], () => (row.archived_at ? this.#client.unarchive([id]) : this.#client.archive([id])));
  }

  /** Deletes at the second press: a deleted notification cannot be brought back. */
  #delete(id) {
    const { parts } = this.#nodes.get(id);
    const button = parts.delete;
    const reset = () => {
      clearTimeout(button.timer);
      button.classList.remove("confirm");
      button.replaceChildren(picture("delete"));
      button.setAttribute("aria-label", this.#labels.delete);
    };
    if (button.classList.contains("confirm")) {
      reset();
      this.#change([id], () => this.#client.delete([id]));
      return;
    }
    button.classList.add("confirm");
    button.append(this.#labels.confirm);
    button.setAttribute("aria-label", this.#labels.confirmDelete);
    this.#say(this.#labels.confirmDelete);
    button.timer = setTimeout(reset, CONFIRM_MS);
    button.addEventListener("blur", reset, { once: true });
  }

  #follow(event, id) {
    const row = this.#client?.inbox.get(id);
    if (!row) return;
    if (!row.read_at) this.#change([id], () => this.#client.read([id]));
    const open = new CustomEvent("notify-open", { detail: { row }, cancelable: true, bubbles: true, composed: true });
    if (!this.dispatchEvent(open)) event.preventDefault();
  }

  #pressed(event) {
    if (event.key === "Escape") {
      event.stopPropagation();
      this.#close();
      return;
    }
    if (event.key === "Tab") {
      this.#keepFocus(event);
      return;
    }
    const node = this.shadowRoot.activeElement?.closest(".row");
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = [...this.#parts.feed.children];
    const at = rows.indexOf(node);
    const moves = {
      ArrowDown: at + 1,
      ArrowUp: Math.max(0, at - 1),
      PageDown: Math.min(rows.length - 1, at + 6),
      PageUp: Math.max(0, at - 6),
      Home: 0,
      End: rows.length - 1,
    };
    if (event.key in moves && rows.length) {
      event.preventDefault();
      const next = rows[moves[event.key]];
      next?.focus();
      next?.scrollIntoView({ block: "nearest" });
      return;
    }
    if (!node) return;
    const { parts } = node;
    if (event.key === "r" || event.key === "R") parts.toggle.click();
    else if ((event.key === "e" || event.key === "E") && !parts.archive.hidden) parts.archive.click();
    else if (event.key === "Delete") {
      parts.delete.focus();
      parts.delete.click();
    } else if (event.key === "Enter" && this.shadowRoot.activeElement === node) {
      const link = parts.title.querySelector("a");
      if (link) link.click();
      else if (!parts.expand.hidden) parts.expand.click();
      else if (!node.row.read_at) parts.toggle.click();
    } else return;
    event.preventDefault();
  }

  /** Lets the tab key go round in the panel, which covers the page. */
  #keepFocus(event) {
    const { panel } = this.#parts;
    const stops = [...panel.querySelectorAll("button, a, [tabindex]")].filter((one) => one.tabIndex >= 0 && one.checkVisibility());
    const at = stops.indexOf(this.shadowRoot.activeElement);
    if (event.shiftKey ? at > 0 : at < stops.length - 1) return;
    event.preventDefault();
    stops.at(event.shiftKey ? -1 : 0)?.focus();
  }

  // -- What arrives --------------------------------------------------------------------------------------------------

  #arrive(row) {
    this.#announce(row.title);
    if (this.getAttribute("toasts") === "off" || this.#open || document.visibilityState !== "visible") return;
    this.#toast(typeOf(row), row.title, row.body, TOAST_MS[row.priority] ?? TOAST_MS.medium, row.id);
  }

  /** Tells of everything that came while there was no connection, in one toast. */
  #catchUp(fresh) {
    if (!fresh.length) return;
    if (fresh.length === 1) {
      this.#arrive(fresh[0]);
      return;
    }
    const text = this.#labels.missed(fresh.length);
    this.#announce(text, true);
    if (this.getAttribute("toasts") === "off" || this.#open || document.visibilityState !== "visible") return;
    this.#toast("info", text, "", TOAST_MS.medium);
  }

  /** Reads out what arrives within a second as one sentence. */
  #announce(title, isSentence = false) {
    this.#arrived.push(title);
    clearTimeout(this.#announceTimer);
    this.#announceTimer = setTimeout(() => {
      const [first, ...others] = this.#arrived;
      this.#arrived = [];
      const labels = this.#labels;
      const one = isSentence ? first : labels.arrived(first);
      this.#say(others.length ? labels.arrivedMany(others.length + 1) : one);
    }, 800);
    this.#parts.bell.classList.remove("ring");
    setTimeout(() => this.#parts.bell.classList.add("ring"), 20);
  }

  /** Lets a screen reader read out a sentence, also if it was the last one. */
  #say(sentence) {
    const { live } = this.#parts;
    live.replaceChildren(sentence);
  }

  #toast(type, title, body, ms, id) {
    const { toasts, bell } = this.#parts;
    let timer = 0;
    const dismiss = () => {
      clearTimeout(timer);
      const hadFocus = toast.matches(":focus-within");
      toast.remove();
      if (!toasts.childElementCount && toasts.isConnected) toasts.hidePopover?.();
      // With the keyboard one goes on at the next one.
      if (hadFocus) (toasts.querySelector(".open") ?? bell).focus();
    };
    const wait = () => {
      clearTimeout(timer);
      if (!toast.matches(":hover, :focus-within")) timer = setTimeout(dismiss, ms);
    };
    const open = () => {
      dismiss();
      this.#openAt(id);
    };
    const toast = make(
      "div",
      { class: `toast ${type}`, onclick: open },
      make("span", { class: "kind", role: "img", "aria-label": this.#labels.types[type] }, picture(type)),
      make(
        "button",
        { class: "open", type: "button" },
        make("span", { class: "head-line", dir: "auto" }, title),
        make("span", { class: "body", dir: "auto" }, body ?? ""),
      ),
      this.#icon("close", (event) => {
        event.stopPropagation();
        dismiss();
      }, this.#labels.dismiss),
    );
    toast.dismiss = dismiss;
    // What one points at, or has the focus in, does not go away.
    for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, () => clearTimeout(timer));
    for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, wait);
    toast.addEventListener("keydown", (event) => event.key === "Escape" && dismiss());
    toasts.append(toast);
    while (toasts.childElementCount > TOASTS_AT_ONCE) toasts.firstElementChild.dismiss();
    if (toasts.showPopover && !toasts.matches(":popover-open")) toasts.showPopover();
    wait();
  }

  /** Opens the list at a row; at its beginning if that is not in the list. */
  #openAt(id) {
    this.#view = "all";
    if (!this.#open) this.#show();
    const node = this.#nodes.get(id);
    if (!node) return;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  }
}

if (globalThis.customElements && !customElements.get("notify-inbox")) {
  customElements.define("notify-inbox", NotifyInboxElement);
}
