// Everything that a key or a button does on the label map, in one table: the keys work from it, the "?" sheet is made from it.
// An entry is {keys, what, run}; run says false where the key means nothing just now. `action` and `icon` make it a button,
// `button` gives it a short name, `enabled` says when it can be pressed.

const PAN_PX = 140;
const ARROWS = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] };
const COPY_OFFSET_PX = 14;
const ZOOM_STEP = 1;

export function makeActions(editor) {
  const { map } = editor;
  const { host } = editor.canvas;
  const some = () => editor.selection.size > 0;
  const area = () => [...editor.selection].some((id) => editor.labels.get(id).kind === 'area');
  const of = (section, entries) => ({ section, entries });
  const wand = editor.tools.find(({ tool }) => tool === 'wand');
  const areas = () => [...editor.selection].filter((id) => editor.labels.get(id).kind === 'area' && !editor.isHollow(editor.labels.get(id).feature));
  const mode = (name) => { if (editor.active !== wand) editor.useTool('wand'); wand.use(name); };
  return [
    of('Tools', editor.tools.map(({ tool, key, name, hint }) => ({ keys: [key], what: name, more: hint, run: () => editor.useTool(tool) }))),
    of('While drawing', [
      { keys: ['enter'], what: 'End the line, close the area, accept the outline', run: () => editor.finish() },
      { keys: ['backspace'], what: 'Take back the last vertex or click', run: () => editor.back() },
      { keys: ['escape'], what: 'Drop the drawing, then the choice, then the tool', run: () => editor.escape() },
      { keys: [], shown: 'Alt', what: 'Held: do not snap' },
      { keys: ['a'], action: 'snap', what: 'Snap to other labels, or not', icon: 'snap', run: () => editor.toggleSnapping(), pressed: () => editor.snapping },
    ]),
    of('Magic wand', [
      { keys: [], shown: 'Click', what: 'This belongs to it' },
      { keys: [], shown: 'Shift+click', what: 'This does not; a right click too' },
      { keys: [], shown: 'Drag', what: 'A box around it' },
      { keys: ['tab'], what: 'Another possible outline', run: () => Boolean(editor.active.another && editor.active.another()) },
      { keys: ['shift+e'], what: 'Everything in an area: drag over it, or Enter for the view', run: () => mode('area') },
      { keys: [], shown: 'Shift+drag', what: 'Everything in this area' },
      { keys: [',', '.'], what: 'Offer fewer, more of what was found', run: (key) => editor.active === wand && wand.finds.more(key === '.' ? 1 : -1) },
      { keys: ['shift+r'], what: 'Rough outline: draw around it, it is fitted to the picture', run: () => mode('rough') },
    ]),
    of('Classes', [
      { keys: ['1', '2', '3', '4', '5', '6', '7', '8', '9'], shown: '1 … 9', what: 'Class to draw with or to give', run: (key) => editor.pressedNumber(Number(key)) },
    ]),
    of('What is chosen', [
      { keys: ['ctrl+a'], what: 'Choose all that the list shows', run: () => editor.select(editor.list.shown) },
      { keys: ['z'], action: 'zoom', icon: 'zoom', button: 'Zoom to', what: 'Zoom to what is chosen', enabled: some, run: () => some() && editor.zoomTo([...editor.selection]) },
      { keys: ['y'], action: 'done', icon: 'done', button: 'Done', what: 'Mark as looked at: done', enabled: some, run: () => some() && editor.mark('done') },
      { keys: ['q'], action: 'doubtful', icon: 'doubtful', button: 'Doubtful', what: 'Mark as doubtful', enabled: some, run: () => some() && editor.mark('doubtful') },
      { keys: ['ctrl+d'], action: 'duplicate', icon: 'duplicate', button: 'Duplicate', what: 'Duplicate', enabled: some, run: () => some() && duplicate() },
      { keys: ['u'], action: 'merge', icon: 'merge', button: 'Merge', what: 'Merge into one label', enabled: () => editor.selection.size > 1, run: () => editor.selection.size > 1 && editor.merge() },
      { keys: ['shift+s'], action: 'similar', icon: 'similar', button: 'All like it', what: 'Propose all in view that is like what is chosen', enabled: () => areas().length > 0, run: () => { const like = areas().length ? areas() : wand.examples; return like.length > 0 && wand.similar(like) !== false; } },
      { keys: ['shift+t'], action: 'refine', icon: 'wand', button: 'Fit', what: 'Fit the outline to the picture', enabled: () => areas().length === 1 && editor.selection.size === 1, run: () => areas().length === 1 && wand.refine(areas()[0]) !== false },
      { keys: ['k'], action: 'square', icon: 'square', button: 'Square', what: 'Make the corners of areas square', enabled: area, run: () => area() && editor.reshape('square') },
      { keys: ['delete', 'backspace'], shown: 'Del', action: 'remove', icon: 'delete', button: 'Delete', what: 'Delete', enabled: some, run: () => some() && editor.remove([...editor.selection], { ask: true }) },
      { keys: ['h'], action: 'history', icon: 'history', button: 'History', what: 'What was done to the label', enabled: () => editor.selection.size === 1, run: () => editor.selection.size === 1 && editor.showHistory() },
      { keys: ['n'], what: 'Next label not looked at', run: () => editor.nextUnreviewed() },
    ]),
    of('Undo', [
      { keys: ['ctrl+z'], action: 'undo', icon: 'undo', what: 'Undo', enabled: () => Boolean(editor.history && editor.history.steps.length), run: () => editor.back(true) || editor.undo() },
      { keys: ['ctrl+shift+z', 'ctrl+y'], shown: 'Ctrl+Y', action: 'redo', icon: 'redo', what: 'Redo', enabled: () => Boolean(editor.history && editor.history.undone.length), run: () => editor.redo() },
    ]),
    of('Versions', [
      { keys: ['shift+v'], action: 'versions', icon: 'versions', button: 'Versions', what: 'Versions of all labels: keep one, go back to one', run: () => editor.showVersions() },
    ]),
    of('Map', [
      { keys: Object.keys(ARROWS), shown: '← → ↑ ↓', what: 'Move the map', run: (key) => { map.panBy(ARROWS[key].map((steps) => steps * PAN_PX), { animate: false }); } },
      { keys: [' '], shown: 'Space', what: 'Held: a drag moves the map, whatever the tool', run: () => {} },
      { keys: ['+', '='], shown: '+', what: 'Zoom in', run: () => { map.setZoom(map.getZoom() + ZOOM_STEP, { animate: false }); } },
      { keys: ['-'], what: 'Zoom out', run: () => { map.setZoom(map.getZoom() - ZOOM_STEP, { animate: false }); } },
      { keys: ['pagedown', 'pageup'], shown: 'PgDn, PgUp', what: 'Next picture, the one before', run: (key) => editor.goToScene(key === 'pagedown' ? 1 : -1) },
      { keys: ['0', 'home'], shown: '0', what: 'Show everything', run: () => editor.canvas.showAll() },
      { keys: ['shift+f'], what: 'Full screen', run: () => editor.canvas.toggleFullScreen() },
      { keys: ['shift+l'], action: 'list', icon: 'list', what: 'Show or hide the list of labels', run: () => editor.list.toggle(), pressed: () => !host.parentElement.classList.contains('tt-no-list') },
      { keys: ['?'], action: 'help', icon: 'help', what: 'This list of keys', run: () => editor.help() },
    ]),
  ];

  function duplicate() {
    const copies = [...editor.selection].map((id) => editor.copyOf(id, L.point(COPY_OFFSET_PX, COPY_OFFSET_PX)));
    editor.change(copies.map((feature) => ({ id: feature.id, before: null, after: feature })), { tool: 'duplicate' });
    editor.select(copies.map(({ id }) => id));
  }
}

// The key of an event as the table writes it: "ctrl+shift+z", "l", "?".
export function keyOf(event) {
  const key = event.key.toLowerCase();
  const named = key.length > 1 || /[a-z]/.test(key);
  return `${event.ctrlKey || event.metaKey ? 'ctrl+' : ''}${event.altKey ? 'alt+' : ''}${event.shiftKey && named ? 'shift+' : ''}${key}`;
}

const SHOWN = { enter: 'Enter', tab: 'Tab', backspace: 'Backspace', escape: 'Esc', delete: 'Del', ctrl: 'Ctrl', shift: 'Shift', home: 'Home' };
export const shownKey = (key) => key.split(/\+(?=.)/).map((part) => SHOWN[part] || part.toUpperCase()).join('+');
export const shownKeys = ({ shown, keys }) => shown || keys.map(shownKey).join(', ');
