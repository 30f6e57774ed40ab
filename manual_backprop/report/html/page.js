"use strict";
(() => {
  const $ = (selector, of = document) => of.querySelector(selector);
  const $$ = (selector, of = document) => [...of.querySelectorAll(selector)];
  document.documentElement.classList.add("js");

  // search and filter
  const tools = $(".tools"), items = $$("[data-words]");
  if (tools) {
    const search = $("#search"), filter = $("#filter"), count = $("#count"), nothing = $("#nothing");
    const what = (count.dataset.what || "backwards").slice(0, items.length > 1 ? undefined : -1);
    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const item of items) {
        const kind = filter.value === "all" || item.dataset.kinds.split(" ").includes(filter.value);
        item.hidden = !(kind && words.every((word) => item.dataset.words.includes(word)));
        shown += !item.hidden;
      }
      for (const group of $$("tbody, .group")) {
        const own = $$("[data-words]", group);
        if (own.length) group.hidden = own.every((item) => item.hidden);
      }
      count.textContent = shown < items.length ? `${shown} of ${items.length} ${what}`
        : items.length > 1 ? `all ${shown} ${what}` : `one ${what}`;
      nothing.hidden = shown > 0;
    };
    search.addEventListener("input", apply);
    filter.addEventListener("change", apply);
    tools.addEventListener("submit", (event) => event.preventDefault());
    $("#clear").addEventListener("click", () => {
      search.value = "";
      filter.value = "all";
      apply();
      search.focus();
    });
    tools.hidden = false;
    apply();
  }

  // the evidence of a cell; without this script the address alone opens it, by :target
  const articles = new Map($$(".ev").map((article) => [article.id, article]));
  for (const article of articles.values()) article.tabIndex = -1;
  const cell = (article) => document.getElementById(`c-${article.id}`);
  let open = null;
  const handOn = (address) => {
    try {
      history.replaceState(null, "", address);
    } catch {
      // a page without an address of its own, as in a frame's srcdoc: there is none to hand on
    }
  };
  const close = (refocus) => {
    if (!open) return;
    const article = open;
    open = null;
    article.classList.remove("open");
    cell(article).removeAttribute("aria-current");
    $(".empty").hidden = false;
    if (refocus) cell(article).focus({ preventScroll: true });
    handOn(location.pathname + location.search);
  };
  const show = (article, refocus) => {
    close(false);
    open = article;
    article.classList.add("open");
    article.parentElement.scrollTop = 0;
    cell(article).setAttribute("aria-current", "true");
    $(".empty").hidden = true;
    handOn(`#${article.id}`);
    if (refocus) article.focus({ preventScroll: true });
    const panel = article.parentElement;
    if (getComputedStyle(panel).position === "fixed") {
      const [sheet, from] = [panel, cell(article)].map((element) => element.getBoundingClientRect());
      const covered = sheet.width >= innerWidth && from.bottom > sheet.top;
      if (covered) cell(article).scrollIntoView({ block: "start" });
    }
  };
  const named = (hash) => articles.get(hash.slice(1));
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;  // a new tab
    const link = event.target.closest("a[href^='#']");
    if (!link) return;
    if (link.classList.contains("close")) {
      event.preventDefault();
      close(true);
    } else if (named(link.hash)) {
      event.preventDefault();
      const article = named(link.hash);
      if (article === open && link.id) return close(true);
      if (!link.id) cell(article).scrollIntoView({ block: "center" });
      show(article, true);
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && open) return close(true);
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const from = document.activeElement.closest?.(".matrix td");
    if (!step || !from) return;
    const rows = $$(".matrix tbody tr").filter((row) => row.offsetParent);
    const row = rows[rows.indexOf(from.parentElement) + step[0]];
    const to = row && $("a", row.cells[from.cellIndex + step[1]] || row);
    if (!to || !to.id) return;
    event.preventDefault();
    to.focus();
    if (open) show(named(to.hash), false);
  });
  const arrive = () => {
    const article = location.hash && named(location.hash);
    if (article) {
      cell(article).scrollIntoView({ block: "center" });
      show(article, false);
    }
  };
  addEventListener("hashchange", arrive);
  arrive();

  // which entry lies under the pointer, and how near it came
  const said = $(".defs").dataset.said.split("|");
  const numbers = (text) => text.split(" ").filter(Boolean).map(Number);
  const axis = (first, size, end) => (size === 1 ? `${first}` : `${first}…${Math.min(first + size, end) - 1}`);
  const place = (row, column, shape, [high, wide]) => {
    if (!shape.length) return "";
    const length = shape[shape.length - 1], rows = shape.slice(0, -1);
    const last = axis(column * wide, wide, length);
    if (rows.length < 2) return `[${[...(rows.length ? [axis(row * high, high, rows[0])] : []), last].join(", ")}]`;
    if (high > 1) return `rows ${axis(row * high, high, rows.reduce((a, b) => a * b))}, [${last}]`;
    const index = [];
    for (let n = rows.length - 1, rest = row; n >= 0; n--) {
      index.unshift(rest % rows[n]);
      rest = Math.floor(rest / rows[n]);
    }
    return `[${[...index, last].join(", ")}]`;
  };
  const point = (event) => {
    const picture = event.target.closest?.(".pic");
    if (!picture) return;
    const levels = picture.dataset.levels.split(" ");
    const box = picture.getBoundingClientRect();
    const at = (part, whole) => Math.min(Math.max(Math.floor(part * whole), 0), whole - 1);
    const row = at((event.clientY - box.top) / box.height, levels.length);
    const column = at((event.clientX - box.left) / box.width, levels[0].length);
    const level = levels[row][column];
    const where = place(row, column, numbers(picture.dataset.shape), numbers(picture.dataset.block));
    $("output", picture.parentElement).textContent = `${where} ${level === "-" ? "not judged" : said[level]}`.trim();
  };
  document.addEventListener("pointermove", point);
  document.addEventListener("pointerdown", point);
})();
