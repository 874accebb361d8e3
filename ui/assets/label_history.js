// What can be taken back: the steps of this tab, newest last, kept in the browser's database so that a reload (or a server
// that was killed) does not end them. Each tab has steps of its own: nobody undoes another's work.

const KEEP = 300;
const FORGET_AFTER_MS = 14 * 24 * 3600 * 1000;
const TAB = 'terratune.tab';

export class LabelHistory {
  // newId: names this tab. listen(): whenever what can be taken back has changed.
  constructor(journal, newId, listen) {
    this.listen = listen;
    this.steps = []; // {n, changes}: changes are {id, before, after}
    this.undone = [];
    // A live tab keeps its name to itself: the copy a browser makes of a duplicated tab finds none and begins anew.
    this.tab = sessionStorage.getItem(TAB) || newId();
    sessionStorage.removeItem(TAB);
    this.leave = () => { try { sessionStorage.setItem(TAB, this.tab); } catch { /* the history ends with the page */ } };
    window.addEventListener('pagehide', this.leave);
    this.slot = `${journal}.${this.tab}`;
    this.ready = this.open();
  }

  async open() {
    try {
      this.database = await asked(Object.assign(indexedDB.open('terratune', 1), { onupgradeneeded: ({ target }) => target.result.createObjectStore('steps', { keyPath: ['slot', 'n'] }) }));
      const ours = await asked(this.store('readonly').getAll(IDBKeyRange.bound([this.slot, 0], [this.slot, Infinity])));
      this.steps = ours.filter((step) => !step.undone).concat(this.steps);
      this.undone = ours.filter((step) => step.undone).reverse();
      this.forgetOld();
    } catch (error) {
      console.error('The undo history lasts until the page is reloaded', error);
      this.database = null;
    }
    this.listen();
  }

  store(mode) { return this.database.transaction('steps', mode).objectStore('steps'); }

  push(changes) {
    const newest = [...this.steps, ...this.undone].reduce((n, step) => Math.max(n, step.n), 0);
    const step = { slot: this.slot, n: Math.max(newest + 1, Date.now()), time: Date.now(), undone: false, changes };
    this.forget([...this.undone.splice(0), ...this.steps.splice(0, this.steps.length + 1 - KEEP)]);
    this.steps.push(step);
    this.write([step]);
    this.listen();
  }

  // The step to take back (or to do again); the caller says by `took` or `dropped` what became of it.
  last(undone) { return (undone ? this.undone : this.steps).at(-1); }

  took(step) {
    const [from, to] = step.undone ? [this.undone, this.steps] : [this.steps, this.undone];
    from.pop();
    step.undone = !step.undone;
    to.push(step);
    this.write([step]);
    this.listen();
  }

  dropped(step) {
    (step.undone ? this.undone : this.steps).pop();
    this.forget([step]);
    this.listen();
  }

  // The server stored a shape in another form than it was sent: expect that one from now on.
  repaired(id, sent, geometry) {
    const touched = [...this.steps, ...this.undone].filter(({ changes }) => changes.reduce((hit, one) => {
      if (one.id !== id) return hit;
      const sides = ['before', 'after'].filter((side) => one[side] && JSON.stringify(one[side].geometry) === sent);
      for (const side of sides) one[side] = { ...one[side], geometry };
      return hit || sides.length > 0;
    }, false));
    this.write(touched);
  }

  write(steps) { this.change((store) => steps.forEach((step) => store.put(step))); }

  forget(steps) { this.change((store) => steps.forEach((step) => store.delete([step.slot, step.n]))); }

  change(work) {
    if (!this.database) return;
    try {
      work(this.store('readwrite'));
    } catch (error) {
      console.error('The undo history could not be kept', error);
    }
  }

  forgetOld() {
    const old = Date.now() - FORGET_AFTER_MS;
    this.store('readwrite').openCursor().onsuccess = ({ target: { result: cursor } }) => {
      if (!cursor) return;
      if (cursor.value.time < old) cursor.delete();
      cursor.continue();
    };
  }

  close() {
    this.leave();
    window.removeEventListener('pagehide', this.leave);
    if (this.database) this.database.close();
  }
}

const asked = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});
