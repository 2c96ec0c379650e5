// Keeps a page current. <main data-poll="ADDRESS"> names what to ask; whenever its answer has changed, this very page is
// fetched once more and what differs is moved into the document. The server writes every page, escaped; nothing here
// makes HTML of text. A page without data-poll (its study has ended) is left alone.

const VISIBLE = 2000;
const HIDDEN = 20000;
const LONGEST = 30000;
const PATIENCE = 20000;

const notice = document.getElementById("live");
let main = document.querySelector("main[data-poll]");
let known = null;
let failures = 0;
let timer = 0;
let asking = false;

function say(text, kind) {
  notice.textContent = text;
  notice.className = `quiet ${kind}`;
  notice.hidden = false;
}

async function ask(address, headers) {
  return fetch(address, { headers, credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE) });
}

// Make `old` equal to `next`, changing only what differs, so that focus, scrolling and the picture on show stay.
function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) {
    old.replaceWith(document.adoptNode(next));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== next.nodeValue) old.nodeValue = next.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) if (!next.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const before = [...old.childNodes];
  const after = [...next.childNodes];
  after.forEach((child, place) => {
    if (place < before.length) morph(before[place], child);
    else old.append(document.adoptNode(child));
  });
  before.slice(after.length).forEach((child) => child.remove());
}

async function refresh() {
  const answer = await ask(location.href, { Accept: "text/html" });
  if (!answer.ok) throw new Error(`the page answered ${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  morph(main, fresh.querySelector("main"));
  document.title = fresh.title;
}

async function turn() {
  const answer = await ask(main.dataset.poll, known ? { "If-None-Match": known } : {});
  if (answer.status === 404) {
    location.reload();
    return;
  }
  if (answer.status !== 304) {
    if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
    await refresh();
    // Kept only now: a refresh that failed is tried again.
    known = answer.headers.get("ETag");
  }
}

function pause() {
  if (failures > 0) return Math.min(LONGEST, VISIBLE * 2 ** failures);
  return document.hidden ? HIDDEN : VISIBLE;
}

async function run() {
  clearTimeout(timer);
  if (asking || !main.dataset.poll) return;
  asking = true;
  try {
    await turn();
    failures = 0;
    if (main.dataset.poll) say("live", "on");
    else say("ended", "");
  } catch {
    failures += 1;
    say("connection lost, trying again", "lost");
  }
  asking = false;
  if (main.dataset.poll) timer = setTimeout(run, pause());
}

if (main) {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) run();
  });
  run();
}
