"""From a click, a box or a rough area to a clean outline."""
