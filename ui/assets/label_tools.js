// All tools of the label map, in the order of the toolbar. A tool is {tool, key, name, hint, icon} and what it knows of
//   keeps             what is chosen stays chosen
//   draws             'line', 'area' or 'point': what it makes
//   start() stop()    taken up, put away
//   click(id, event)  the map was clicked, on label `id` or (null) beside
//   created(layer)    Geoman has finished a shape
//   count()           vertices placed so far; finish() back() cancel(): Enter, Backspace, Esc; they say whether they did something
//   snap()            snapping was switched on or off
//   zoomed()          the map was zoomed
//   doubleClick()     after the two clicks of one
//   another()         Tab: the next of several answers; says whether there is one
//   measure()         what is being drawn, in metres
//   chosen() gone(layer) refresh()   the selection, a layer, or class, width and zoom have changed
// A new group of tools is a file of its own and one line here.

const VERSION = new URL(import.meta.url).search;
const { drawTools } = await import(`./tools_draw.js${VERSION}`);
const { fullyLabelledTool } = await import(`./tools_area.js${VERSION}`);
const { promptTools } = await import(`./tools_prompt.js${VERSION}`);
const { chooseTools, changeTools } = await import(`./tools_change.js${VERSION}`);

export function makeTools(editor) {
  return [chooseTools(editor), promptTools(editor), [...drawTools(editor), fullyLabelledTool(editor)], changeTools(editor)];
}
