// What a page does beyond links and forms. Without it everything works, and nothing moves by itself.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, from = document) => Array.from(from.querySelectorAll(selector));
  const stored = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const store = (name, value) => { try { localStorage.setItem(name, value); } catch { /* a private window */ } };
  root.classList.add("scripted");

  // Times: with their date, in the zone of the reader, which the page names once. UTC is shown on hover.
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
  const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
  const second = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  for (const place of all("[data-zone]")) place.textContent = `Times in ${day.resolvedOptions().timeZone}`;
  // Lines break between the date, the time and the distance.
  const unbroken = (text) => text.replace(/\s/g, "\u00a0");
  const dated = (at, clock) => `${unbroken(day.format(at))}, ${unbroken(clock.format(at))}`;
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const ago = (seconds) => {
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) || units[3];
    return relative.format(Math.trunc(seconds / size), unit);
  };
  const countdown = (seconds) => {
    if (seconds <= 0) return "now";
    const whole = Math.ceil(seconds), two = (number) => String(number).padStart(2, "0");
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    return "in " + (hours ? `${hours}:${two(minutes)}` : minutes) + `:${two(whole % 60)}`;
  };
  const written = (time) => {
    const at = new Date(time.dateTime), seconds = (at - Date.now()) / 1000;
    if (time.className === "at") return dated(at, second);
    // The distance of a far time says less than its date.
    if (Math.abs(seconds) >= 86400) return dated(at, minute);
    const distance = time.className === "until" ? countdown(seconds) : ago(seconds);
    return `${dated(at, minute)} (${unbroken(distance)})`;
  };
  const writeTimes = (from = document) => {
    for (const time of all("time[datetime]", from)) {
      time.title ||= time.dateTime.replace("T", " ").replace(/\.\d+Z$/, "").replace("Z", "") + " UTC";
      const text = written(time);
      if (time.textContent !== text) time.textContent = text;
    }
  };
  setInterval(() => { if (!document.hidden) writeTimes(); }, 1000);
  // Times that are entered are in the same zone. The page has them in UTC, and so the form sends them.
  const entries = 'input[type="datetime-local"]';
  for (const entry of all(entries)) {
    for (const label of entry.labels) label.textContent = label.textContent.replace(" (UTC)", "");
    const at = new Date(`${entry.defaultValue}Z`);
    if (!isNaN(at)) entry.value = new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
  }
  document.addEventListener("formdata", (event) => {
    for (const entry of all(entries, event.target)) {
      if (entry.value) event.formData.set(entry.name, new Date(entry.value).toISOString().slice(0, 19));
    }
  });

  // Copying.
  const addCopies = (from = document) => {
    for (const code of all("[data-copy]", from)) {
      const place = code.closest("a") || code;
      if (place.nextElementSibling?.classList.contains("copy")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", `Copy ${code.dataset.copy || "the text"}`);
      button.dataset.text = code.dataset.copy || code.textContent;
      place.after(button);
    }
  };
  const said = document.createElement("p");
  said.className = "unseen";
  said.setAttribute("role", "status");
  document.body.append(said);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.copy");
    if (!button) return;
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(button.dataset.text);
      button.textContent = said.textContent = "Copied";
    } catch {
      button.textContent = said.textContent = "Not copied";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches?.("[data-submit]")) event.target.form.requestSubmit();
    const field = event.target.closest?.("fieldset.field");
    const isEvery = field?.querySelector('input[value="*"]')?.checked;
    for (const boxes of field ? all(".boxes", field) : []) {
      const count = (selector) => all(selector, boxes).length;
      const chosen = isEvery && "every" in boxes.dataset ? "input" : "input:checked";
      boxes.querySelector("summary span").textContent = `${count(chosen)} of ${count("input")} chosen`;
    }
  });

  // Live: a tick says that something changed. Some parts are then read again, others offer it.
  let isPaused = stored("settle-paused") === "yes";
  const parts = all("[data-live]");
  const here = location.pathname + location.search;
  // What cannot be read leaves the page as it is; without a sign-in it is loaded again, which asks for one.
  if (window.htmx) htmx.config.noSwap = [204, 304, "4xx", "5xx"];
  document.addEventListener("htmx:after:request", (event) => {
    if (event.detail?.ctx?.response?.status === 401) location.reload();
  });
  const nameOf = (one) => (one.parentElement.id || "") + one.querySelector("summary")?.textContent;
  const swap = async (part) => {
    if (!window.htmx) return;
    const open = new Set(all("details[open]", part).map(nameOf));
    await htmx.ajax("GET", here, { target: `#${part.id}`, select: `#${part.id}`, swap: "outerMorph" });
    for (const one of all("details", document.getElementById(part.id) || part)) if (open.has(nameOf(one))) one.open = true;
  };
  // At most every two seconds, however much changes, and one after the other.
  const due = new Set();
  let swapping = Promise.resolve(), swappedAt = 0;
  const swapSoon = (part) => {
    if (due.has(part.id)) return;
    due.add(part.id);
    setTimeout(() => {
      swapping = swapping.then(() => {
        due.delete(part.id);
        swappedAt = Date.now();
        return swap(part);
      }).catch(() => {});
    }, Math.max(300, swappedAt + 2000 - Date.now()));
  };
  const skipped = new Set();
  const changed = (kind) => {
    for (const part of all("[data-live]")) {
      if (!part.dataset.live.split(" ").includes(kind)) continue;
      if (part.dataset.mode === "offer") {
        if (part.firstChild) continue;
        if (isPaused) { skipped.add(kind); continue; }
        const link = document.createElement("a");
        link.href = here;
        link.textContent = "Show it";
        part.append("Something changed. ", link);
      } else if (!isPaused && document.hidden) skipped.add(kind);
      else if (!isPaused) swapSoon(part);
    }
  };
  const catchUp = () => {
    const missed = [...skipped];
    skipped.clear();
    missed.forEach(changed);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && !isPaused) catchUp(); });
  const ticks = document.getElementById("ticks");
  const kinds = ["notifications", "purchases", "events", "device_events", "deliveries", "destinations", "topics", "arrivals", "alarms", "audit_log"];
  for (const kind of kinds) ticks?.addEventListener(kind, () => changed(kind));
  if (!parts.length || !ticks) ticks?.removeAttribute("hx-sse:connect");
  if (parts.length && ticks) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    const label = () => { button.textContent = isPaused ? "Resume live updates" : "Pause live updates"; };
    button.addEventListener("click", () => {
      isPaused = !isPaused;
      store("settle-paused", isPaused ? "yes" : "no");
      label();
      if (isPaused) return;
      all("[data-live]").forEach((part) => { if (part.dataset.mode === "swap") swap(part); });
      catchUp();
    });
    label();
    document.querySelector(".engine")?.after(button);
  }
  document.addEventListener("htmx:after:swap", () => { writeTimes(); addCopies(); });

  // The theme: that of the system, light or dark.
  const theme = document.querySelector("[data-theme-switch]");
  if (theme) {
    const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
    theme.hidden = false;
    label();
    theme.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      document.cookie = `settle_theme=${root.dataset.theme}; path=/ui; max-age=31536000; samesite=strict`;
      label();
    });
  }

  // Keys.
  const keys = document.getElementById("keys");
  const keySwitch = document.querySelector("[data-keys-switch]");
  let hasKeys = stored("settle-keys") !== "no", isGo = false;
  if (keySwitch) {
    keySwitch.checked = hasKeys;
    keySwitch.addEventListener("change", () => { hasKeys = keySwitch.checked; store("settle-keys", hasKeys ? "yes" : "no"); });
  }
  const row = (step) => {
    const links = all(".rows tbody a, .story summary");
    const at = links.indexOf(document.activeElement);
    links[Math.min(Math.max(at + step, 0), links.length - 1)]?.focus();
  };
  document.addEventListener("keydown", (event) => {
    const isText = event.target.matches?.("input, select, textarea, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey || isText || keys?.open) return;
    if (event.key === "?") return void keys?.showModal();
    if (!hasKeys) return;
    const wasGo = isGo;
    isGo = event.key === "g";
    if (wasGo) {
      const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
    } else if (event.key === "/") {
      event.preventDefault();
      document.getElementById("q")?.focus();
    } else if (event.key === "j") row(1);
    else if (event.key === "k") row(-1);
  });

  writeTimes();
  addCopies();
  document.getElementById("mark")?.scrollIntoView({ block: "center" });
})();
