// The drop zone of ui/uploader.py: sends files one after the other to the upload route, shows progress, lets one stop.
// A reload of the page stops uploads; a rerun does not: the queue belongs to this module, the page only shows it.

const APP = new URL('../..', new URL('.', import.meta.url));
const queues = new Map(); // key -> Queue

export function render(component, box) {
  const { data } = component;
  if (!queues.has(data.key)) queues.set(data.key, new Queue());
  queues.get(data.key).show(component, box);
}

export function leave(box) {
  for (const queue of queues.values()) if (queue.box === box) queue.box = null;
}

class Queue {
  constructor() {
    this.rows = []; // {file, state: waiting | sending | checking | done | failed, sent, problem}
    this.active = null;
    this.box = null;
  }

  show(component, box) {
    this.component = component;
    if (this.box !== box) {
      this.box = box;
      this.build();
    }
    this.draw();
  }

  build() {
    this.box.innerHTML = `
      <label class="zone" tabindex="0">
        <input type="file" multiple hidden>
        <strong></strong><span>or click to choose files</span>
      </label><ul class="files" aria-live="polite"></ul>`;
    this.box.querySelector('strong').textContent = this.component.data.words;
    const zone = this.box.querySelector('.zone');
    const input = this.box.querySelector('input');
    input.accept = this.component.data.accept;
    input.onchange = () => { this.add(input.files); input.value = ''; };
    zone.onkeydown = (event) => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); input.click(); } };
    zone.ondragover = (event) => { event.preventDefault(); zone.classList.add('over'); };
    zone.ondragleave = () => zone.classList.remove('over');
    zone.ondrop = (event) => { event.preventDefault(); zone.classList.remove('over'); this.add(event.dataTransfer.files); };
  }

  add(files) {
    const limit = this.component.data.maxBytes;
    for (const file of files) {
      const row = { file, state: 'waiting', sent: 0, problem: null };
      if (file.size > limit) {
        row.state = 'failed';
        row.problem = { fact: `${file.name} is larger than ${bytes(limit)}, the most that can be uploaded here.`,
          remedy: 'Put it into a server folder and add it from there.' };
      }
      this.rows.push(row);
    }
    this.draw();
    this.next();
  }

  next() {
    if (this.active) return;
    const row = this.rows.find((r) => r.state === 'waiting');
    if (!row) return;
    this.active = row;
    row.state = 'sending';
    const request = new XMLHttpRequest(); // fetch() cannot report how much was sent
    row.request = request;
    const { token, crs, route } = this.component.data;
    const address = new URL(`api/${token}/${route}/${encodeURIComponent(row.file.name)}`, APP);
    if (crs) address.searchParams.set('crs', crs);
    request.open('PUT', address);
    request.upload.onprogress = (event) => { row.sent = event.loaded; this.draw(); };
    request.upload.onload = () => { row.state = 'checking'; this.draw(); };
    request.onload = () => this.ended(row, request.status, answer(request));
    request.onerror = () => this.ended(row, 0, {});
    request.onabort = () => this.ended(row, -1, {});
    request.send(row.file);
    this.draw();
  }

  ended(row, status, said) {
    this.active = null;
    row.request = null;
    if (status === -1) {
      this.rows = this.rows.filter((r) => r !== row);
    } else if (status === 200) {
      row.state = 'done';
      this.rows = this.rows.filter((r) => r !== row);
      // React drops a trigger that comes in the same moment as another: the time makes each one different
      this.component.setTriggerValue('added', { id: said.id, name: said.name, at: Date.now() });
    } else {
      row.state = 'failed';
      row.problem = said.fact ? said : { fact: `${row.file.name} did not reach the server.`, remedy: 'Check the connection, then drop it again.' };
    }
    this.draw();
    this.next();
  }

  stop(row) {
    if (row.request) row.request.abort();
    else { this.rows = this.rows.filter((r) => r !== row); this.draw(); }
  }

  draw() {
    if (!this.box) return;
    const list = this.box.querySelector('.files');
    list.replaceChildren(...this.rows.map((row) => this.line(row)));
    window.onbeforeunload = this.active ? (event) => event.preventDefault() : null;
  }

  line(row) {
    const item = document.createElement('li');
    item.className = row.state;
    const name = element('span', 'name', row.file.name);
    const close = element('button', 'close', row.state === 'failed' ? 'Dismiss' : 'Cancel');
    close.type = 'button';
    close.onclick = () => this.stop(row);
    item.append(name);
    if (row.state === 'failed') {
      item.append(close, element('p', 'problem', `${row.problem.fact} ${row.problem.remedy}`));
      return item;
    }
    const done = row.file.size ? row.sent / row.file.size : 0;
    const text = { waiting: 'waiting', checking: 'checking ...', done: 'added' }[row.state] || `${Math.round(done * 100)} % of ${bytes(row.file.size)}`;
    const bar = element('progress', '', '');
    bar.max = 1;
    if (row.state !== 'checking') bar.value = done;
    item.append(element('span', 'how', text), close, bar);
    return item;
  }
}

function answer(request) {
  try { return JSON.parse(request.responseText); } catch { return {}; }
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function bytes(n) {
  return n >= 1e9 ? `${(n / 1e9).toFixed(1)} GB` : n >= 1e6 ? `${(n / 1e6).toFixed(1)} MB` : `${Math.ceil(n / 1e3)} kB`;
}
