// Keeps an open page fresh: hears of changes over an event stream, fetches the same page
// again and patches what differs, so that focus, scrolling, selections and open details
// stay. Without it the pages work all the same.
"use strict";

(() => {
  const root = document.body.dataset.root;
  const base = new URL(root, location.href);
  const live = document.getElementById("live");
  const liveText = document.getElementById("live-text");
  const said = document.getElementById("said");

  // Theme: the server sets it from the cookie, so no page flashes in the wrong one.
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");
  const themeText = document.getElementById("theme-text");
  const showTheme = () => {
    const theme = document.documentElement.dataset.theme;
    themeText.textContent = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[theme];
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const now = themes.indexOf(document.documentElement.dataset.theme);
    const theme = themes[(now + 1) % themes.length];
    document.documentElement.dataset.theme = theme;
    document.cookie = `wharf-theme=${theme}; path=${base.pathname}; max-age=31536000; samesite=strict`;
    showTheme();
  });
  showTheme();

  // The key `/` leads to the search.
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      document.getElementById("q").focus();
    } else if (event.key === "Escape" && event.target.id === "q") {
      event.target.blur();
    }
  });

  // Patching: one node becomes like another. Children with a data-key are matched by it.
  const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key : undefined);
  const alike = (one, other) =>
    one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

  const patchAttributes = (old, fresh) => {
    for (const { name, value } of fresh.attributes) {
      const wanted = name === "class" && old.classList.contains("is-new") ? `${value} is-new` : value;
      if (old.getAttribute(name) !== wanted) old.setAttribute(name, wanted);
    }
    for (const { name } of [...old.attributes]) {
      // What the reader opened stays open; `value` of a field is what the reader types.
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) {
        if (name !== "class" || !old.classList.contains("is-new")) old.removeAttribute(name);
      }
    }
  };

  const patch = (old, fresh) => {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.isEqualNode(fresh)) return;
    patchAttributes(old, fresh);
    const keyed = new Map();
    for (const child of old.children) {
      if (child.dataset.key !== undefined) keyed.set(child.dataset.key, child);
    }
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const key = keyOf(child);
      const match = key !== undefined ? keyed.get(key) : undefined;
      if (match && match.nodeName === child.nodeName) {
        keyed.delete(key);
        if (match === at) at = at.nextSibling;
        else old.insertBefore(match, at);
        patch(match, child);
      } else if (key === undefined && at && alike(at, child)) {
        const next = at.nextSibling;
        patch(at, child);
        at = next;
      } else {
        const added = document.importNode(child, true);
        if (key !== undefined) added.classList.add("is-new");
        old.insertBefore(added, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  document.addEventListener("animationend", (event) => event.target.classList.remove("is-new"));

  const say = (state, text) => {
    live.classList.toggle("is-live", state === "live");
    live.classList.toggle("is-lost", state === "lost");
    if (liveText.textContent !== text) liveText.textContent = text;
  };

  let busy = false;
  let again = false;
  let cost = 0;
  let last = 0;

  const refresh = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store" });
      // A thing that went answers 404 with a page that says so.
      if (answer.ok || answer.status === 404) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (fresh.body.dataset.assets !== document.body.dataset.assets) {
          location.reload();
          return;
        }
        const main = document.getElementById("main");
        const before = main.dataset.summary;
        patch(main, fresh.getElementById("main"));
        patch(document.querySelector(".side"), fresh.querySelector(".side"));
        document.title = fresh.title;
        if (main.dataset.summary !== before) said.textContent = main.dataset.summary;
        say("live", "live");
      }
    } catch {
      say("lost", "connection lost, trying again");
    }
    last = performance.now();
    cost = last - began;
    busy = false;
    if (again) {
      again = false;
      setTimeout(refresh, 100);
    }
  };

  // A large page is not worth a fetch per second for figures alone.
  const tick = () => {
    if (performance.now() - last >= Math.max(900, cost * 10)) refresh();
  };

  let stream = null;
  let retry = 0;

  const close = () => {
    clearTimeout(retry);
    if (stream) stream.close();
    stream = null;
  };

  const open = () => {
    close();
    stream = new EventSource(new URL("events", base));
    stream.addEventListener("hello", () => {
      say("live", "live");
      refresh();
    });
    stream.addEventListener("change", refresh);
    stream.addEventListener("tick", tick);
    stream.addEventListener("error", () => {
      say("lost", "connection lost, trying again");
      // The browser gives up for good on an answer that is no stream, such as 503.
      if (stream.readyState === EventSource.CLOSED) retry = setTimeout(open, 5000);
    });
  };

  // A hidden page holds no connection; a shown one catches up at once.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  if (!document.hidden) open();
})();
