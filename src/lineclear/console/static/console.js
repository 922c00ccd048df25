// What pages do beyond links and forms: local times, copy buttons, the menu of narrow screens, keys, live rows.
"use strict";
(() => {
  document.documentElement.classList.add("js");

  const hours = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const days = { ...hours, month: "short", day: "numeric" };
  const years = { ...days, year: "numeric" };
  const [clock, calendar, whole] = [hours, days, years].map((parts) => new Intl.DateTimeFormat(undefined, parts));
  const now = new Date();
  const fitting = (at) => {
    if (at.toDateString() === now.toDateString()) return clock;
    return at.getFullYear() === now.getFullYear() ? calendar : whole;
  };
  const localTimes = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (time.title || Number.isNaN(at.valueOf())) continue;
      time.title = time.textContent;
      const text = fitting(at).format(at);
      // A time alone says the day too where no list of one day's rows says it.
      time.textContent = at.toDateString() === now.toDateString() && !time.closest(".log, .says") ? `today, ${text}` : text;
    }
  };

  // On a narrow screen a row is a card, and each of its values says which column it is of.
  const nameColumns = (root) => {
    for (const table of root.querySelectorAll(".wide > table:not(.log, .guards)")) {
      const names = [...(table.tHead?.rows[0]?.cells ?? [])].map((cell) => cell.textContent);
      if (names.length === 0) continue;
      table.classList.add("cards");
      for (const row of [...table.tBodies, table.tFoot].flatMap((part) => [...(part?.rows ?? [])])) {
        let column = 0;
        for (const cell of row.cells) {
          if (cell.tagName === "TD" && cell.colSpan === 1 && names[column]) cell.dataset.of = names[column];
          if (/^[\s–]*$/.test(cell.textContent) && !cell.querySelector("svg, input, button")) cell.classList.add("none");
          column += cell.colSpan;
        }
      }
    }
  };

  const copied = (button, word) => {
    const before = button.textContent;
    button.textContent = word;
    setTimeout(() => { button.textContent = before; }, 1500);
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) {
      const text = document.getElementById(button.dataset.copy).textContent;
      navigator.clipboard.writeText(text).then(() => copied(button, "Copied"), () => copied(button, "Select it"));
    }
    const menu = event.target.closest("button[data-menu]");
    if (menu) menu.setAttribute("aria-expanded", String(document.getElementById(menu.dataset.menu).classList.toggle("open")));
  });

  // j and k walk along the rows of the first list, / goes to the search.
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    }
    if (event.key === "j" || event.key === "k") {
      const links = [...document.querySelectorAll("tbody a[data-row]")];
      const next = links.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      if (links[next]) links[next].focus();
    }
  });

  // A stream of server-sent events; the server sends rows that it rendered with the page's own template.
  const follow = (button) => {
    const rows = document.getElementById(button.dataset.live);
    const says = document.getElementById(button.dataset.says);
    const most = Number(button.dataset.most);
    let source = null;
    const stop = () => {
      source.close();
      source = null;
      button.setAttribute("aria-pressed", "false");
      says.textContent = "";
    };
    const start = () => {
      source = new EventSource(button.dataset.stream);
      button.setAttribute("aria-pressed", "true");
      says.textContent = "connecting";
      source.addEventListener("open", () => { says.textContent = "new requests appear here as they end"; });
      source.addEventListener("rows", (event) => {
        document.getElementById("no-rows")?.remove();
        rows.insertAdjacentHTML("afterbegin", event.data);
        localTimes(rows);
        while (rows.rows.length > most) rows.lastElementChild.remove();
      });
      source.addEventListener("refused", (event) => { stop(); says.textContent = event.data; });
      source.addEventListener("error", () => { says.textContent = "the connection is gone; trying again"; });
    };
    button.hidden = false;
    button.addEventListener("click", () => (source ? stop() : start()));
  };
  for (const button of document.querySelectorAll("button[data-live]")) follow(button);

  // The first request of Get started: the page says so as soon as it is there.
  const waiting = document.querySelector("[data-first]");
  if (waiting) {
    const source = new EventSource(waiting.dataset.first);
    source.addEventListener("first", (event) => {
      source.close();
      waiting.outerHTML = event.data;
      localTimes(document);
    });
  }

  // A page of parts that the server renders anew when something moves; what is typed and what has the focus stays.
  const watched = document.querySelector("[data-watch]");
  if (watched) {
    const says = document.getElementById(watched.dataset.says);
    const shown = new Map();
    const source = new EventSource(watched.dataset.watch);
    source.addEventListener("open", () => { says.textContent = "live"; });
    source.addEventListener("parts", (event) => {
      const news = document.createElement("template");
      news.innerHTML = event.data;
      for (const part of news.content.children) {
        const place = document.getElementById(part.id);
        const isUsed = place?.contains(document.activeElement);
        if (!place || isUsed || shown.get(part.id) === part.innerHTML) continue;
        shown.set(part.id, part.innerHTML);
        place.innerHTML = part.innerHTML;
        localTimes(place);
        nameColumns(place);
      }
    });
    source.addEventListener("refused", (event) => { source.close(); says.textContent = event.data; });
    source.addEventListener("error", () => { says.textContent = "the connection is gone; trying again"; });
  }

  localTimes(document);
  nameColumns(document);
})();
