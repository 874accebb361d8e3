// Edits on their way to the server. An edit stays here, and in the browser's storage, until the server says that it is on
// disk. Each has an id, so sending one again is harmless; edits left behind by a closed tab are sent by the next one.

const BATCH = 200;
const ANSWER_WITHIN_MS = 20000;
const RETRY_MS = [400, 1000, 2000, 4000];
const PREFIX = 'terratune.edits.';

export class LabelQueue {
  // address(): where to post. listen(state): on every change. answered(answer): after edits were stored or refused.
  // confirm(count): asks whether so many labels may be deleted.
  constructor(journal, { address, listen, answered, confirm }) {
    this.journal = journal;
    this.address = address;
    this.listen = listen;
    this.answered = answered;
    this.confirm = confirm;
    this.slot = `${PREFIX}${journal}.${newId()}`;
    this.edits = [];
    this.waiting = new Map(); // object id -> how many edits of it are on their way
    this.take(this.adopt());
    this.batch = BATCH;
    this.failures = 0;
    this.trouble = null; // {fact, remedy, lasting}
    this.stored = true; // this browser keeps a copy
    this.sending = false;
    this.retry = () => this.send();
    window.addEventListener('online', this.retry);
    this.remember();
  }

  get size() { return this.edits.length; }

  waitsFor(objectId) { return this.waiting.has(objectId); }

  take(edits) {
    for (const edit of edits) {
      this.edits.push(edit);
      this.waiting.set(edit.object_id, (this.waiting.get(edit.object_id) || 0) + 1);
    }
  }

  add(edits) {
    this.take(edits);
    this.remember();
    this.send();
  }

  // Edits of tabs that were closed before their edits arrived.
  adopt() {
    const found = [];
    this.adopted = [];
    try {
      for (let i = 0; i < localStorage.length; i += 1) {
        const slot = localStorage.key(i);
        if (slot.startsWith(`${PREFIX}${this.journal}.`)) this.adopted.push(slot);
      }
      for (const slot of this.adopted) found.push(...JSON.parse(localStorage.getItem(slot) || '[]'));
    } catch (error) {
      console.error('Stored edits could not be read', error);
    }
    const seen = new Set();
    return found.filter((edit) => edit && edit.operation_id && !seen.has(edit.operation_id) && seen.add(edit.operation_id));
  }

  remember() {
    try {
      if (this.edits.length) localStorage.setItem(this.slot, JSON.stringify(this.edits));
      else {
        localStorage.removeItem(this.slot);
      }
      for (const slot of this.adopted) localStorage.removeItem(slot);
      this.adopted = [];
      this.stored = true;
    } catch (error) {
      this.stored = false; // storage is full or forbidden: the edits live in this page only
    }
  }

  async send() {
    if (this.sending || this.closed) return;
    clearTimeout(this.timer);
    if (!this.edits.length) { this.listen(); return; }
    this.sending = true;
    this.listen();
    const batch = this.edits.slice(0, this.batch);
    const outcome = await this.post(batch);
    this.sending = false;
    if (this.closed) return;
    this.settle(batch, outcome);
  }

  async post(batch) {
    const stop = new AbortController();
    const patience = setTimeout(() => stop.abort(), ANSWER_WITHIN_MS);
    try {
      const response = await fetch(this.address(), {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, cache: 'no-store', signal: stop.signal,
        body: JSON.stringify({ journal: this.journal, operations: batch }),
      });
      const answer = await response.json().catch(() => null);
      return { status: answer ? response.status : 0, answer };
    } catch {
      return { status: 0, answer: null };
    } finally {
      clearTimeout(patience);
    }
  }

  settle(batch, { status, answer }) {
    if (status === 200 || (status === 422 && answer.acknowledged)) {
      const settled = new Set([...answer.acknowledged, ...(answer.rejected || []).map((one) => one.operation_id)]);
      if (batch.some((edit) => settled.has(edit.operation_id))) {
        this.drop(settled);
        this.failures = 0;
        this.trouble = null;
        this.answered(answer);
        this.send();
        return;
      }
    }
    if (status === 409 && answer.deletes) {
      this.question(batch, answer.deletes);
      return;
    }
    if ((status === 400 || status === 413) && batch.length > 1) {
      this.batch = 1; // find the one that cannot be taken
      this.send();
      return;
    }
    if (status === 400 || status === 413) {
      this.drop(new Set([batch[0].operation_id]));
      this.answered({ ...answer, acknowledged: [], rejected: [{ operation_id: batch[0].operation_id, ...answer }] });
      this.send();
      return;
    }
    this.trouble = answer && answer.fact ? { fact: answer.fact, remedy: answer.remedy } : null;
    const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
    this.failures += 1;
    this.listen();
    this.timer = setTimeout(this.retry, wait);
  }

  // The server deletes many labels only when somebody said so; until then everything waits.
  async question(batch, count) {
    this.sending = true;
    const yes = await this.confirm(count);
    this.sending = false;
    if (this.closed) return;
    const deletes = batch.filter(({ kind }) => kind === 'delete');
    if (yes) {
      for (const edit of deletes) edit.confirmed = true;
      this.remember();
    } else {
      this.drop(new Set(deletes.map((edit) => edit.operation_id)));
      this.answered({ acknowledged: [], dropped: true });
    }
    this.send();
  }

  drop(operationIds) {
    const before = this.edits;
    this.edits = [];
    this.waiting.clear();
    this.take(before.filter((edit) => !operationIds.has(edit.operation_id)));
    this.remember();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    window.removeEventListener('online', this.retry);
  }
}

// A random id, also where the page is not served over https (crypto.randomUUID is missing there).
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
