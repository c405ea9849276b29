// moji's only script: pages follow the farm. Without it they still say everything; they are then loaded anew by the
// browser. What the hub sends as markup was escaped there; nothing else here becomes markup.
'use strict';
(() => {
  const LINES_MAX = 5000; // lines of a log on a page: more make a phone slow
  const LINES_PAUSED = 20000; // while somebody reads further up
  const FRAME_CHARS = 200000; // of a log added in one frame
  const RETRY_MS = 5000;
  const AWAY_MS = 5000;
  const $ = id => document.getElementById(id);
  let ahead = null; // the hub's clock minus ours, milliseconds

  // ---- times -----------------------------------------------------------------------------------------------------
  // The same words as the hub's, see say.rs.
  const span = s => s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} m`
    : s < 86400 ? `${Math.floor(s / 3600)} h ${String(Math.floor(s / 60) % 60).padStart(2, '0')} m`
    : `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
  const tick = () => {
    if (ahead === null) return;
    const now = Date.now() + ahead;
    for (const e of document.querySelectorAll('[data-ago],[data-in]')) {
      const at = Number(e.dataset.ago ?? e.dataset.in);
      const s = Math.max(0, Math.floor((e.dataset.ago ? now - at : at - now) / 1000));
      if (e.localName === 'progress') {
        e.value = Math.min(s, e.max);
        e.toggleAttribute('data-over', s > e.max);
        continue;
      }
      const text = e.dataset.ago ? span(s) : s ? `in ${span(s)}` : 'any moment';
      if (e.textContent !== text) e.textContent = text;
      if (!e.title) e.title = new Date(at).toLocaleString();
    }
  };
  const hear = now => { ahead = now - Date.now(); };

  // ---- regions ---------------------------------------------------------------------------------------------------
  // Makes `own` what `other` is, changing only what differs: focus, selection and scrolled boxes stay.
  const same = (a, b) => a.nodeName === b.nodeName && a.id === b.id && a.dataset?.key === b.dataset?.key;
  const ticks = e => e.dataset && (e.dataset.ago ?? e.dataset.in);
  const morph = (own, other) => {
    let at = own.firstChild;
    for (const want of [...other.childNodes]) {
      let have = at;
      if (have && !same(have, want) && want.dataset?.key) {
        while (have && !same(have, want)) have = have.nextSibling;
        if (have) own.insertBefore(have, at);
      }
      if (!have || !same(have, want)) {
        own.insertBefore(want, at);
        continue;
      }
      if (have === at) at = at.nextSibling;
      if (have.nodeType !== 1) {
        if (have.data !== want.data) have.data = want.data;
      } else if (!ticks(want) || ticks(have) !== ticks(want) || have.max !== want.max) {
        for (const { name } of [...have.attributes]) if (!want.hasAttribute(name) && name !== 'open') have.removeAttribute(name);
        for (const { name, value } of want.attributes) if (have.getAttribute(name) !== value) have.setAttribute(name, value);
        morph(have, want);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };
  const put = (id, html) => {
    const own = $(id);
    if (!own) return;
    const other = own.cloneNode(false);
    other.innerHTML = html;
    morph(own, other);
  };

  // ---- the stream ------------------------------------------------------------------------------------------------
  let stream = null, retry = 0, late = 0;
  const away = since => {
    $('away').textContent = since ? `Hub away since ${since.toLocaleTimeString()}` : '';
  };
  const connect = (url, events) => {
    stream?.close();
    clearTimeout(retry);
    stream = new EventSource(url());
    stream.onopen = () => { late = clearTimeout(late); away(null); };
    stream.onerror = () => {
      // A stream that ends now and then is no news: only one that stays away.
      const since = new Date();
      late ||= setTimeout(() => away(since), AWAY_MS);
      // A browser comes back by itself but where it was answered with an error.
      if (stream.readyState === EventSource.CLOSED) retry = setTimeout(() => connect(url, events), RETRY_MS);
    };
    for (const [name, hear] of Object.entries(events)) {
      stream.addEventListener(name, e => hear(JSON.parse(e.data), e));
    }
  };
  const follow = () => {
    stream?.close();
    if (!document.body.dataset.events) return;
    connect(() => document.body.dataset.events, { regions: told => {
      if (told.version !== document.body.dataset.version) return location.reload();
      hear(told.now);
      for (const [id, html] of Object.entries(told.regions)) put(id, html);
      tick();
    } });
  };

  // ---- links that stay on the page: sorting, filters, parts ------------------------------------------------------
  const go = async (url, keep) => {
    const answer = await fetch(url);
    if (!answer.ok) return location.assign(url);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    if (page.body.dataset.version !== document.body.dataset.version) return location.assign(url);
    if (keep) history.pushState(null, '', url);
    document.title = page.title;
    document.body.dataset.events = page.body.dataset.events ?? '';
    morph($('main'), page.querySelector('main'));
    follow();
  };
  document.addEventListener('click', e => {
    const link = e.target.closest?.('a[data-soft]');
    if (!link || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey) return;
    e.preventDefault();
    go(link.href, true).catch(() => location.assign(link.href));
  });
  if (document.querySelector('a[data-soft]')) addEventListener('popstate', () => go(location.href, false));

  // ---- a log -----------------------------------------------------------------------------------------------------
  const log = $('log');
  const older = $('older');
  let queue = [], lines = 0, asked = false, paused = false, over = false;
  const atEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
  const toEnd = () => scrollTo(scrollX, document.documentElement.scrollHeight);
  const trim = most => {
    const chunks = [...log.children].filter(e => e.id !== 'open');
    while (lines > most && chunks.length > 1) {
      const first = chunks.shift();
      lines -= first.childElementCount;
      first.remove();
      const url = new URL(older.href || location.href);
      for (const name of ['offset', 'line']) url.searchParams.delete(name);
      url.searchParams.set('before', chunks[0].dataset.from);
      older.href = url;
      older.hidden = false;
    }
  };
  // Whether the reader is at the end and stays there. A chunk may get its height only once it is in sight, so that the end
  // moves away without anybody scrolling.
  let stays = !!log?.dataset.stream && !location.hash;
  const add = () => {
    asked = false;
    let chars = 0, open = null;
    while (queue.length && chars < FRAME_CHARS) {
      const told = queue.shift();
      open = told.open;
      if (!told.html) continue;
      const chunk = document.createElement('div');
      chunk.className = 'chunk';
      chunk.dataset.from = told.from;
      chunk.dataset.first = told.first;
      chunk.innerHTML = told.html;
      chars += told.html.length;
      lines += chunk.childElementCount;
      log.insertBefore(chunk, $('open'));
    }
    if (open !== null) $('open').innerHTML = open;
    if (stays) { trim(LINES_MAX); toEnd(); }
    $('follow').hidden = stays && !paused;
    if (!stays && lines > LINES_PAUSED && !over) { paused = true; stream.close(); queue = []; }
    if (queue.length) soon();
  };
  const soon = () => { if (!asked) { asked = true; requestAnimationFrame(add); } };
  const tail = () => {
    if (!log.dataset.stream) return;
    connect(() => log.dataset.stream, {
      lines: (told, e) => {
        // Where it goes on should the stream have to be made anew.
        const to = new URL(log.dataset.stream, location.href);
        to.searchParams.set('from', e.lastEventId);
        log.dataset.stream = to;
        queue.push(told);
        soon();
      },
      over: told => {
        over = true;
        stream.close();
        $('said').textContent = `The build ended${told.verdict ? `: ${told.verdict}` : ''}${told.reason ? `, ${told.reason}` : ''}`;
      },
    });
  };
  if (log) {
    lines = log.querySelectorAll('p').length;
    const before = async () => {
      const page = new DOMParser().parseFromString(await (await fetch(older.href)).text(), 'text/html');
      const height = document.documentElement.scrollHeight;
      const chunk = page.querySelector('.chunk');
      lines += chunk.childElementCount;
      log.prepend(chunk);
      scrollBy(0, document.documentElement.scrollHeight - height);
      const next = page.getElementById('older');
      older.href = next.href;
      older.hidden = next.hidden;
    };
    older.addEventListener('click', e => {
      if (e.ctrlKey || e.metaKey || e.shiftKey || e.button) return;
      e.preventDefault();
      before().catch(() => location.assign(older.href));
    });
    $('follow')?.firstElementChild.addEventListener('click', () => {
      $('follow').hidden = true;
      if (paused) { paused = false; trim(LINES_MAX); tail(); }
      toEnd();
    });
    addEventListener('scroll', () => { stays = atEnd(); });
    new ResizeObserver(() => { if (stays) toEnd(); }).observe(log);
    tail();
  }

  if (!log) follow();
  setInterval(tick, 1000);
})();
