"use strict";
/* What is wider than its place can be scrolled by the keyboard as well. */

const WIDE = "pre, .formula, .derivation, .derivation .right, .table-wrapper, .numbers > p, " +
  "div.math, mjx-container[display='true'], .live-sum";

function reachable() {
  for (const one of document.querySelectorAll(WIDE)) {
    if (one.scrollWidth > one.clientWidth) one.setAttribute("tabindex", "0");
    else one.removeAttribute("tabindex");
  }
}

addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachable();
});
addEventListener("resize", reachable);
