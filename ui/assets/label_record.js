// What the journal remembers, on sheets over the map: the history of a label, and named versions of all of them.

const PERSON = 'terratune.person';
const TOOLS = {
  pan: '', class: '', width: '', review: '', merge: 'merged', freeline: 'free line', freearea: 'free area', whole: 'whole picture', full: 'fully labelled area',
  edit: 'edited', move: 'moved', undo: 'undone', redo: 'done again', delete: '', restore: 'version restored', duplicate: 'duplicated', 'magic wand': 'magic wand', import: 'import', 'class list': 'change of the class list',
};
const CHANGED = {
  made: 'Made', deleted: 'Deleted', geometry: 'Shape', class_value: 'Class', width_m: 'Width', review: 'Review mark', note: 'Note', origin: 'Origin',
};
const CONFLICTS = {
  merged: 'merged with a change made elsewhere at the same time', copied: 'was changed elsewhere at the same time: both kept', revived: 'was deleted elsewhere at the same time: kept', kept: 'delete not carried out: changed elsewhere at the same time',
};

// The name that edits are made under: this browser's, typed in once; there are no accounts.
export function person() {
  try { return localStorage.getItem(PERSON) || ''; } catch { return ''; }
}

const many = (count, what) => `${count.toLocaleString('en')} ${what}${count === 1 ? '' : 's'}`;
const when = (time) => new Date(time).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
const by = (author) => author || 'somebody';

function element(name, className, words = '') {
  return Object.assign(document.createElement(name), { className, textContent: words });
}

function field(name, placeholder, value, title) {
  const label = element('label', 'tt-field', name);
  const input = Object.assign(element('input', ''), { type: 'text', maxLength: 80, placeholder, value, title });
  label.append(input);
  return [label, input];
}

function nameField(editor) {
  const [label, input] = field('Your name', 'not given', person(), 'Stands beside your edits from now on, in this browser.');
  input.addEventListener('change', () => {
    try { localStorage.setItem(PERSON, input.value.trim()); } catch { /* edits stay without a name */ }
    editor.tellName();
  });
  return label;
}

async function asked(editor, route, options) {
  try {
    const response = await fetch(editor.address(route), { cache: 'no-store', signal: AbortSignal.timeout(20000), ...options });
    const answer = await response.json();
    if (response.ok) return answer;
    editor.complain(answer.fact, answer.remedy);
  } catch {
    editor.complain('Not connected: this needs the server.', 'Try again in a moment.');
  }
  return null;
}

function sent(editor, method, route, body) {
  return asked(editor, route, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
}

const named = (editor, name) => sent(editor, 'POST', 'versions', { name, author: person() });

function settled(editor) {
  if (!editor.queue.size) return true;
  editor.complain('Some edits are not saved yet.', 'Wait until it says "Saved" below the map.');
  return false;
}

// --- one label -------------------------------------------------------------------------------------------------------

export async function showHistory(editor, id) {
  if (!settled(editor)) return;
  const answer = await asked(editor, `labels/${encodeURIComponent(id)}/history`);
  if (!answer) return;
  const rows = answer.edits.map(({ time, author, tool, what, conflict }) => {
    const row = element('tr', '');
    const did = what.map((one) => CHANGED[one] || one).join(', ') || 'Nothing changed';
    const how = [TOOLS[tool] ?? tool, CONFLICTS[conflict]].filter(Boolean).join('; ');
    row.append(element('td', '', when(time)), element('td', '', by(author)), element('td', '', how ? `${did} (${how})` : did));
    return row;
  });
  const table = element('table', 'tt-record');
  table.append(...rows);
  const note = editor.labels.has(id) && editor.labels.get(id).feature.properties.note;
  await editor.bar.sheet('History of this label', [...(note ? [element('p', '', note)] : []), table, nameField(editor)], [['Close', null]]);
}

// --- all labels ------------------------------------------------------------------------------------------------------

export async function showVersions(editor) {
  const answer = await asked(editor, 'versions');
  if (!answer) return;
  const list = element('div', 'tt-versions');
  const chosen = await editor.bar.sheet('Versions of all labels', (end) => {
    fill(editor, list, answer, end);
    const [label, input] = field('Keep the labels as they are now', 'for example: before the field trip', '', '');
    const keep = Object.assign(element('button', 'tt-sheet-button', 'Keep this version'), { type: 'button' });
    const store = async () => {
      const after = settled(editor) && await named(editor, input.value);
      if (!after) return;
      input.value = '';
      fill(editor, list, after, end);
    };
    keep.addEventListener('click', store);
    input.addEventListener('keydown', (event) => { if (event.key === 'Enter') store(); });
    label.append(keep);
    return [label, list, nameField(editor)];
  }, [['Close', null]]);
  if (chosen && chosen.restore) await restore(editor, chosen.restore);
  if (chosen && chosen.remove) await remove(editor, chosen.remove);
}

function fill(editor, list, { counts, versions }, end) {
  if (!versions.length) list.replaceChildren(element('p', '', 'No version is kept yet. Each edit is saved anyway; a version is a state that you can go back to as a whole.'));
  else {
    list.replaceChildren(...versions.map((one) => {
      const row = element('div', 'tt-version');
      const words = element('div', '');
      words.append(nameOf(editor, one, (after) => fill(editor, list, after, end)), element('div', '', `${when(one.time)}, ${by(one.author)}`), element('div', '', compared(editor, one.counts, counts)), element('div', '', since(one)));
      const button = (name, action, options = {}) => {
        const made = Object.assign(element('button', 'tt-sheet-button', name), { type: 'button', ...options });
        made.setAttribute('aria-label', `${name} "${one.name}"`);
        made.addEventListener('click', action);
        return made;
      };
      const buttons = element('div', 'tt-version-buttons');
      const same = !(one.made || one.changed || one.deleted);
      buttons.append(button('Restore', () => end({ restore: one }), { disabled: same }), button('Delete', () => end({ remove: one })));
      row.append(words, buttons);
      return row;
    }));
  }
}

// The name of a version: a click into it, and it can be changed.
function nameOf(editor, { version_id: id, name }, shown) {
  const input = Object.assign(element('input', 'tt-version-name'), { type: 'text', maxLength: 80, value: name, title: 'Click to rename' });
  input.setAttribute('aria-label', 'Name of this version');
  input.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') { input.value = name; event.stopPropagation(); }
    if (event.key === 'Enter' || event.key === 'Escape') input.blur();
  });
  input.addEventListener('change', async () => {
    const after = input.value.trim() && input.value.trim() !== name && await sent(editor, 'PUT', `versions/${id}`, { name: input.value });
    if (after) shown(after);
    else input.value = name;
  });
  return input;
}

async function remove(editor, { version_id: id, name }) {
  if (await editor.bar.ask(`Delete the version "${name}"?`, 'The labels stay as they are; this state can then no longer be restored by its name.', 'Delete')) await asked(editor, `versions/${id}`, { method: 'DELETE' });
  await showVersions(editor);
}

function compared(editor, then, now) {
  const total = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);
  const values = [...new Set([...Object.keys(then), ...Object.keys(now)])].map(Number);
  const name = (value) => (editor.classWith(value) || { name: `class ${value}` }).name;
  const differing = values.filter((value) => (then[value] || 0) !== (now[value] || 0));
  const parts = differing.map((value) => `${name(value)} ${(then[value] || 0).toLocaleString('en')} (now ${(now[value] || 0).toLocaleString('en')})`);
  return [`${many(total(then), 'label')}`, ...parts].join(' · ');
}

function since({ made, changed, deleted }) {
  const parts = [[made, 'made'], [changed, 'changed'], [deleted, 'deleted']].filter(([count]) => count).map(([count, what]) => `${count.toLocaleString('en')} ${what}`);
  return parts.length ? `Since then: ${parts.join(', ')}` : 'As the labels are now';
}

async function restore(editor, version) {
  if (!settled(editor)) return;
  const answer = await asked(editor, `versions/${version.version_id}/changes`);
  if (!answer || !answer.changes.length) return;
  const of = (test) => answer.changes.filter(test).length;
  const parts = [
    ['brings back', of(({ before }) => !before)], ['changes', of(({ before, after }) => before && after)], ['deletes', of(({ after }) => !after)],
  ].filter(([, count]) => count).map(([what, count]) => `${what} ${many(count, 'label')}`);
  const remark = `This ${parts.join(', ')}. What is there now is kept as a version too, and Undo takes it back.`;
  if (!await editor.bar.ask(`Restore "${version.name}"?`, remark, 'Restore')) return;
  if (!await named(editor, `Before restoring "${version.name}"`.slice(0, 80))) return;
  editor.restore(answer.changes, answer.revision);
}
