/*!
 * The client of settle for web and Fire TV apps. It has no dependencies and runs unchanged on ES2017 (Chromium 58).
 * Its types and their documentation are in settle.d.ts, its usage is in README.md.
 */
(function () {
  "use strict";

  /** @typedef {Settle.Rejected["event"]} ReportedEvent */
  /** @typedef {{ names: string[], events: ReportedEvent[], texts: string[] }} Batch */
  /** @typedef {(body: any) => boolean} Shape Checks the body of a 200, because a proxy may answer in settle's place. */
  /** @typedef {{ method: "GET" | "POST", path: string, shape: Shape, body?: string, etag?: string | null }} Call */
  /** @typedef {{ status: number, body: any, etag: string | null, retryAfter: number | null }} Answer */

  const VERSION = "1.0.0";
  /** The limits of one request to settle: api/src/devices/README.md. */
  const MAX_EVENTS = 500;
  const MAX_BODY_BYTES = 1024 * 1024;
  const MAX_EVENT_BYTES = 16 * 1024;
  const MAX_RECEIPTS = 50;
  /** Upper bound for the size of a session start without its receipts. */
  const SESSION_START_BYTES = 512;
  /** While a page ends, a browser sends at most 64 KiB (https://fetch.spec.whatwg.org, `keepalive`). */
  const MAX_KEEPALIVE_BYTES = 60 * 1024;
  const DEFAULT_MAX_QUEUED = 1000;
  /** A session ends after this time without an event, as in settle. */
  const SESSION_TIMEOUT_MS = 30 * 60 * 1000;
  /** Events are collected for this time and sent together. */
  const GATHER_MS = 1000;
  const REQUEST_TIMEOUT_MS = 15 * 1000;
  const FIRST_BACKOFF_MS = 1000;
  const MAX_BACKOFF_MS = 5 * 60 * 1000;
  const MAX_RETRY_AFTER_S = 3600;
  const EVENTS = "/v1/device/events";
  /** @type {Answer} */
  const NO_ANSWER = { status: 0, body: null, etag: null, retryAfter: null };
  const isText = (/** @type {any} */ value) => typeof value === "string";
  /** @type {Record<"report" | "login" | "logout" | "entitlements", Shape>} */
  const SHAPES = {
    report: (body) => Array.isArray(body.rejected),
    login: (body) => isText(body.device_user_id) && isText(body.external_id),
    logout: (body) => isText(body.device_user_id),
    entitlements: ({ device_user_id: user, entitlements: all }) =>
      isText(user) && Array.isArray(all) && all.every((one) => one && isText(one.entitlement_ref_id)),
  };
  const START = "device.session.start";
  const END = "device.session.end";

  /** Returns a random UUID; `crypto.randomUUID` exists only on secure origins and in newer browsers. */
  function randomId() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  /** Returns 32 random bytes in base64url without padding: the secret that authenticates the device. */
  function randomSecret() {
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    const text = btoa(String.fromCharCode.apply(null, Array.from(bytes)));
    return text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
  }

  /** Returns milliseconds of a clock that cannot be set, for measuring durations. */
  const monotonic = () => performance.now();

  const byteLength = (/** @type {string} */ text) => new TextEncoder().encode(text).length;

  /** @param {string | null} text @returns {any} The value, or null if the text is not JSON. */
  function parsed(text) {
    try {
      return text === null ? null : JSON.parse(text);
    } catch (error) {
      return null;
    }
  }

  /** Returns the operating system as far as the user agent shows it. Models of Fire TV begin with AFT. */
  function detectedOs() {
    const [, version] = /Android ([\d.]+).*\bAFT/.exec(navigator.userAgent) || [];
    return version ? { name: "fireos", version: `Android ${version}` } : { name: "web", version: "unknown" };
  }

  /** Named texts that survive a reload if the browser allows it; otherwise they are in memory. */
  class Store {
    /** @param {string} prefix */
    constructor(prefix) {
      this.prefix = `${prefix}.`;
      /** @type {Map<string, string>} */
      this.memory = new Map();
      /** @type {Storage | null} */
      this.disk = null;
      try {
        localStorage.getItem(prefix);
        this.disk = localStorage;
      } catch (error) {
        // A setting of the browser or of the app's web view forbids the page to store data.
      }
    }

    /** @param {string} name */
    get(name) {
      const text = this.memory.get(name);
      return text === undefined && this.disk ? this.disk.getItem(this.prefix + name) : text || null;
    }

    /** @param {string} name @param {string} text */
    set(name, text) {
      try {
        if (!this.disk) throw new Error("no storage");
        this.disk.setItem(this.prefix + name, text);
        this.memory.delete(name);
      } catch (error) {
        // The quota of the origin is used up.
        this.memory.set(name, text);
      }
    }

    /** @param {string} name */
    remove(name) {
      this.memory.delete(name);
      if (this.disk) this.disk.removeItem(this.prefix + name);
    }

    /** @param {string} start @returns {string[]} The names with this prefix, in order. */
    names(start) {
      const names = Array.from(this.memory.keys()).filter((name) => name.startsWith(start));
      const whole = this.prefix + start;
      for (let at = 0; this.disk && at < this.disk.length; at += 1) {
        const name = this.disk.key(at);
        if (name !== null && name.startsWith(whole)) names.push(name.slice(this.prefix.length));
      }
      return names.sort();
    }
  }

  /**
   * The queued events, oldest first. Each has its own entry in the store, so that two pages of an app do not overwrite
   * each other's.
   */
  class Queue {
    /** @param {Store} store @param {number} limit */
    constructor(store, limit) {
      this.store = store;
      this.limit = limit;
    }

    /** @param {string} id @param {string} text */
    add(id, text) {
      const sequence = Number(this.store.get("sequence")) + 1;
      this.store.set("sequence", String(sequence));
      this.store.set(`event.${String(sequence).padStart(12, "0")}.${id}`, text);
      const names = this.names();
      const surplus = names.slice(0, Math.max(0, names.length - this.limit));
      if (surplus.length > 0) {
        this.remove(surplus);
        this.store.set("dropped", String(this.dropped() + surplus.length));
      }
    }

    names() {
      return this.store.names("event.");
    }

    dropped() {
      return Number(this.store.get("dropped"));
    }

    /** Returns the oldest events that fit. @param {number} maxEvents @param {number} room In bytes, with commas. */
    batch(maxEvents, room) {
      /** @type {Batch} */
      const batch = { names: [], events: [], texts: [] };
      for (const name of this.names()) {
        const text = this.store.get(name) || "";
        const event = parsed(text);
        room -= byteLength(text) + 1;
        if (event === null) {
          // Not written by this client; including it would make every request invalid.
          this.store.remove(name);
        } else if (batch.names.length === maxEvents || room < 0) {
          break;
        } else {
          batch.names.push(name);
          batch.events.push(event);
          batch.texts.push(text);
        }
      }
      return batch;
    }

    /** @param {string[]} names */
    remove(names) {
      names.forEach((name) => this.store.remove(name));
    }
  }

  /** @implements {Settle.RequestError} */
  class RequestError extends Error {
    /** @param {Answer} answer */
    constructor({ status, body, retryAfter }) {
      const problem = body && body.title ? body : null;
      const text = status === 0 ? "settle did not answer" : `settle answered ${status}`;
      super(problem ? `${text}: ${problem.detail || problem.title}` : text);
      this.name = "RequestError";
      this.status = status;
      this.retryAfter = retryAfter;
      this.problem = problem;
    }
  }

  /** Returns whether the same request may succeed later. @param {number} status */
  function isTransient(status) {
    return status === 0 || status === 408 || status === 413 || status === 429 || status >= 500;
  }

  /**
   * Returns whether reports alone are refused: the daily quota is used up, or the disk is full. @param {Answer} answer
   */
  function isOfReports({ body }) {
    return /:(device_quota|no_room)$/.test((body && body.type) || "");
  }

  /** Returns the seconds in `Retry-After`, which may be a date. @param {string | null} text */
  function retryAfterOf(text) {
    if (text === null) return null;
    const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
    return seconds >= 0 ? Math.min(seconds, MAX_RETRY_AFTER_S) : null;
  }

  /**
   * Returns whether third parties can read requests to a URL: over plain HTTP, except to this machine. @param {string}
   * url
   */
  function isReadable(url) {
    return /^http:/i.test(url) && !/^http:\/\/(localhost|127(\.\d+){3}|\[::1\])(:|\/|$)/i.test(url);
  }

  /** @implements {Settle.Client} */
  class Client {
    /** @param {Settle.Options} options */
    constructor(options) {
      for (const name of /** @type {("url" | "key" | "appVersion")[]} */ (["url", "key", "appVersion"])) {
        if (!options || !options[name]) throw new TypeError(`Settle.start needs \`${name}\``);
      }
      this.options = options;
      this.url = options.url.replace(/\/+$/, "");
      if (isReadable(this.url)) console.warn("settle: by http: others can read the device's secret; use https:");
      this.store = new Store(options.name || "settle");
      this.queue = new Queue(this.store, options.maxQueued || DEFAULT_MAX_QUEUED);
      const known = this.identify();
      /** Sent with each request as a header, never in a body. */
      this.secret = String(known.secret);
      this.device = this.describeDevice(known);
      /** @type {{ id: string, lastEventAt: number } | null} */
      this.session = null;
      /** Resolves after the last request, because requests run one at a time. @type {Promise<unknown>} */
      this.turn = Promise.resolve();
      /** @type {AbortController | null} */
      this.controller = null;
      /** @type {Promise<void> | null} */
      this.flushing = null;
      /** @type {number | undefined} */
      this.timer = undefined;
      this.timerAt = Infinity;
      this.failures = 0;
      /** The answer that refused the last batch. @type {Answer | null} */
      this.refusal = null;
      /** No report is sent before this time, after failures. */
      this.backoffUntil = 0;
      /** No request is sent before this time, set by `Retry-After`. */
      this.closedUntil = 0;
      /** No report is sent before this time, set by `Retry-After` of a refusal that concerns reports only. */
      this.reportsClosedUntil = 0;
      this.maxEvents = MAX_EVENTS;
      this.listen();
      this.arrive();
    }

    /**
     * Returns the device of this installation. A stored id without a secret can never log in, so a new one replaces it.
     */
    identify() {
      let known = parsed(this.store.get("device"));
      if (!known || !known.id || !known.secret || !known.first_launch) {
        known = { id: randomId(), secret: randomSecret(), first_launch: new Date().toISOString() };
        this.store.set("device", JSON.stringify(known));
      }
      return known;
    }

    /** @param {{ id: string, first_launch: string }} known */
    describeDevice(known) {
      const { appVersion, os, analyticsDeviceId } = this.options;
      return {
        id: String(known.id),
        first_launch: String(known.first_launch),
        app_version: appVersion,
        os: os || detectedOs(),
        sdk_version: `settle-web/${VERSION}`,
        analytics_device_id: analyticsDeviceId,
      };
    }

    listen() {
      window.addEventListener("pagehide", () => this.leave());
      window.addEventListener("pageshow", (event) => event.persisted && this.arrive());
      window.addEventListener("online", () => this.flush());
      document.addEventListener("visibilitychange", () => {
        if (document.visibilityState === "visible") this.arrive();
        // A hidden app may be killed without warning. When the page ends, `leave` has already sent everything.
        else if (this.session) this.drainOnce();
      });
    }

    /** Handles the app coming into use. */
    arrive() {
      this.continueSession();
      this.flush();
    }

    /** Handles the end of the page, or its move into the back/forward cache. */
    leave() {
      if (this.session && !this.isSessionOver()) this.report(END, {});
      this.session = null;
      const batch = this.nextBatch(MAX_KEEPALIVE_BYTES);
      if (monotonic() < this.reportsOpenAt() || batch.names.length === 0) return;
      // Neither the answer of the open request nor of this one will be processed. Their events stay in the queue, and
      // the next visit sends them again. settle stores each event once.
      if (this.controller) this.controller.abort();
      const call = this.callOf(batch);
      fetch(this.url + call.path, Object.assign(this.requestOf(call), { keepalive: true })).catch(() => undefined);
    }

    isSessionOver() {
      // The clock of a device may be set in either direction during a session.
      return !this.session || Math.abs(Date.now() - this.session.lastEventAt) >= SESSION_TIMEOUT_MS;
    }

    /** Starts a session unless one is open. */
    continueSession() {
      if (!this.isSessionOver()) return;
      this.session = { id: randomId(), lastEventAt: Date.now() };
      const receipts = this.receipts();
      this.report(START, receipts.length > 0 ? { receipts } : {});
    }

    /** Returns the receipts of the app that fit into one event, in order. */
    receipts() {
      const { receipts } = this.options;
      let room = MAX_EVENT_BYTES - SESSION_START_BYTES;
      const fits = (/** @type {object} */ receipt) => {
        const size = byteLength(JSON.stringify(receipt)) + 1;
        if (size > room) return false;
        room -= size;
        return true;
      };
      const list = typeof receipts === "function" ? this.guarded(receipts) : receipts;
      return (list || []).slice(0, MAX_RECEIPTS).filter(fits);
    }

    /** Runs a function of the app and logs its exceptions. @template T @param {() => T} run */
    guarded(run) {
      try {
        return run();
      } catch (error) {
        console.error(error);
        return undefined;
      }
    }

    /** @param {Settle.Impression} impression */
    impression(impression) {
      this.continueSession();
      return this.report("device.impression", { impression });
    }

    /** @param {Settle.Transaction} transaction */
    transaction(transaction) {
      this.continueSession();
      return this.report("device.transaction", { transaction });
    }

    /** Queues an event and returns its id. @param {string} type @param {object} parts */
    report(type, parts) {
      const now = Date.now();
      const session = this.session ? { session_id: this.session.id } : {};
      if (this.session) this.session.lastEventAt = now;
      /** @type {ReportedEvent} */
      const event = Object.assign({ id: randomId(), type, time: new Date(now).toISOString() }, session, parts);
      const text = JSON.stringify(event);
      if (byteLength(text) > MAX_EVENT_BYTES) {
        this.reject(event, [{ field: "event", expected: `at most ${MAX_EVENT_BYTES} bytes` }]);
      } else {
        this.queue.add(event.id, text);
        this.schedule(GATHER_MS);
      }
      return event.id;
    }

    /** @param {ReportedEvent} event @param {Settle.FieldError[]} errors */
    reject(event, errors) {
      const { onRejected } = this.options;
      if (onRejected) this.guarded(() => onRejected({ event, errors }));
    }

    /** Schedules sending after this delay at the latest. @param {number} delay */
    schedule(delay) {
      const at = monotonic() + delay;
      if (this.timerAt <= at) return;
      clearTimeout(this.timer);
      this.timerAt = at;
      this.timer = setTimeout(() => {
        this.timerAt = Infinity;
        this.drainOnce();
      }, delay);
    }

    async flush() {
      // A running attempt may fail because it began before conditions changed.
      if (this.flushing) await this.flushing;
      this.backoffUntil = 0;
      return this.drainOnce();
    }

    drainOnce() {
      if (!this.flushing) {
        const finish = () => {
          this.flushing = null;
        };
        this.flushing = this.drain();
        this.flushing.then(finish, finish);
      }
      return this.flushing;
    }

    /** Sends batches until the queue is empty or one batch fails. */
    async drain() {
      while (await this.inTurn(() => this.sendBatch()));
    }

    /** Sends one batch. @returns {Promise<boolean>} Whether another batch may follow. */
    async sendBatch() {
      const wait = Math.max(this.reportsOpenAt(), this.backoffUntil) - monotonic();
      const batch = this.nextBatch(MAX_BODY_BYTES);
      if (batch.names.length === 0) return false;
      if (wait > 0) {
        this.schedule(wait);
        return false;
      }
      const answer = await this.request(this.callOf(batch));
      const { status, body } = answer;
      if (status === 200) {
        this.failures = 0;
        this.refusal = null;
        this.queue.remove(batch.names);
        for (const { index, errors } of body.rejected) this.reject(batch.events[index], errors);
        return true;
      }
      // A proxy between the client and settle limits the size of bodies.
      if (status === 413) this.maxEvents = Math.max(1, Math.floor(batch.names.length / 2));
      this.putOff(answer);
      return false;
    }

    /**
     * Delays reports: exponential back-off with full jitter, added to the time of `Retry-After`. @param {Answer} answer
     */
    putOff(answer) {
      // Failures that only a change of settings can correct are retried rarely.
      const longest = FIRST_BACKOFF_MS * 2 ** (this.failures + 1);
      const bound = isTransient(answer.status) ? Math.min(longest, MAX_BACKOFF_MS) : MAX_BACKOFF_MS;
      this.failures += 1;
      this.refusal = answer;
      this.backoffUntil = Math.max(this.reportsOpenAt(), monotonic()) + Math.random() * bound;
      this.schedule(this.backoffUntil - monotonic());
      const { onError } = this.options;
      if (onError) this.guarded(() => onError(new RequestError(answer)));
    }

    /** @param {number} maxBytes Of the whole body. */
    nextBatch(maxBytes) {
      const envelope = this.callOf({ names: [], events: [], texts: [] }).body;
      return this.queue.batch(this.maxEvents, maxBytes - byteLength(envelope));
    }

    /** Returns the request of a batch. settle corrects a wrong device clock by `sent_at`. @param {Batch} batch */
    callOf(batch) {
      const [device, sent] = [this.device, new Date(Date.now()).toISOString()].map((part) => JSON.stringify(part));
      const body = `{"device":${device},"sent_at":${sent},"events":[${batch.texts.join(",")}]}`;
      return { method: /** @type {"POST"} */ ("POST"), path: EVENTS, body, shape: SHAPES.report };
    }

    /** Runs requests one at a time. @template T @param {() => Promise<T>} work @returns {Promise<T>} */
    inTurn(work) {
      const result = this.turn.then(work);
      this.turn = result.catch(() => undefined);
      return result;
    }

    /** @param {Call} call @returns {RequestInit} */
    requestOf({ method, body, etag }) {
      /** @type {Record<string, string>} */
      const headers = { authorization: `Bearer ${this.options.key}`, "settle-device-secret": this.secret };
      if (body !== undefined) headers["content-type"] = "application/json";
      if (etag) headers["if-none-match"] = etag;
      // `no-store` also disables the cache of preflights, so reports use the default. Browsers do not store POST
      // answers.
      const cache = method === "GET" ? "no-store" : "default";
      // The secret must be sent only to settle, so a redirect is a failure.
      return { method, headers, body, credentials: "omit", redirect: "error", cache };
    }

    /** Sends a request; never fails. @param {Call} call @returns {Promise<Answer>} */
    async request(call) {
      const request = this.requestOf(call);
      this.controller = typeof AbortController === "function" ? new AbortController() : null;
      if (this.controller) request.signal = this.controller.signal;
      const late = new Promise((resolve) => setTimeout(() => resolve(NO_ANSWER), REQUEST_TIMEOUT_MS));
      try {
        const answer = await Promise.race([this.answerOf(fetch(this.url + call.path, request)), late]);
        // For example, the login page of a hotel network answers 200 in place of settle.
        if (answer.status === 200 && !(answer.body instanceof Object && call.shape(answer.body))) return NO_ANSWER;
        if (answer.retryAfter !== null && (answer.status === 429 || answer.status === 503)) {
          const until = monotonic() + answer.retryAfter * 1000;
          if (!isOfReports(answer)) this.closedUntil = until;
          else if (call.path === EVENTS) this.reportsClosedUntil = until;
        }
        return answer;
      } catch (error) {
        return NO_ANSWER;
      } finally {
        // Aborts a late request; has no effect on a completed one.
        if (this.controller) this.controller.abort();
        this.controller = null;
      }
    }

    /** @param {Promise<Response>} sent @returns {Promise<Answer>} */
    async answerOf(sent) {
      const response = await sent;
      const { status, headers } = response;
      const body = parsed(await response.text());
      return { status, body, etag: headers.get("etag"), retryAfter: retryAfterOf(headers.get("retry-after")) };
    }

    /** Returns when settle accepts reports again, as far as `Retry-After` says. */
    reportsOpenAt() {
      return Math.max(this.closedUntil, this.reportsClosedUntil);
    }

    /** Sends a request whose result the app needs. @param {Call} call */
    async call(call) {
      const wait = Math.ceil((this.closedUntil - monotonic()) / 1000);
      if (wait > 0) throw new RequestError({ status: 429, body: null, etag: null, retryAfter: wait });
      const answer = await this.request(call);
      if (answer.status !== 200 && answer.status !== 304) throw new RequestError(answer);
      return answer;
    }

    /** @param {string} externalId @param {string} [token] @returns {Promise<Settle.Login>} */
    login(externalId, token) {
      return this.changeUser("login", { device: this.device, external_id: externalId, token });
    }

    /** @returns {Promise<Settle.Logout>} */
    logout() {
      // Even without an answer, so that no other user sees them.
      this.store.remove("entitlements");
      return this.changeUser("logout", { device: this.device });
    }

    /** @param {"login" | "logout"} action @param {object} body */
    async changeUser(action, body) {
      // Earlier reports belong to the previous user: settle assigns reports to the user who is logged in when they
      // arrive.
      await this.flush();
      // Reports that exceed the daily quota stay queued and do not delay the customer.
      const { refusal } = this;
      if (refusal && isTransient(refusal.status) && !isOfReports(refusal)) throw new RequestError(refusal);
      return this.inTurn(async () => {
        const path = `/v1/device/${action}`;
        const answer = await this.call({ method: "POST", path, body: JSON.stringify(body), shape: SHAPES[action] });
        this.store.remove("entitlements");
        return answer.body;
      });
    }

    /** @returns {Promise<Settle.Entitlements>} */
    entitlements() {
      return this.inTurn(async () => {
        const known = parsed(this.store.get("entitlements"));
        const own = known && known.device_id === this.device.id ? known : null;
        try {
          const path = `/v1/device/entitlements?device_id=${this.device.id}`;
          const { entitlements: shape } = SHAPES;
          const answer = await this.call({ method: "GET", path, shape, etag: own && own.etag });
          if (answer.status === 304 && own) return Object.assign({}, own.body, { is_current: true });
          const { etag, body } = answer;
          this.store.set("entitlements", JSON.stringify({ device_id: this.device.id, etag, body }));
          return Object.assign({}, answer.body, { is_current: true });
        } catch (error) {
          const { status } = /** @type {RequestError} */ (error);
          if (!own || !isTransient(status)) throw error;
          return Object.assign({}, own.body, { is_current: false });
        }
      });
    }

    state() {
      return {
        device_id: this.device.id,
        session_id: this.session ? this.session.id : null,
        queued: this.queue.names().length,
        dropped: this.queue.dropped(),
        is_persistent: this.store.disk !== null && this.store.memory.size === 0,
      };
    }
  }

  /** @type {typeof import("./settle")} */
  const Settle = { VERSION, start: (options) => new Client(options) };
  if (typeof module === "object" && module.exports) module.exports = Settle;
  else Object.assign(window, { Settle });
})();
