"""Catalogues of others on the Models page: those of the installation's settings, and those that a person opens."""

from __future__ import annotations

import streamlit as st

from errors import TerratuneError
from imagery.sources import allowed_path
from models.catalogue.fetch import judge_of, store_of
from models.catalogue.foreign import CatalogueShelf, ForeignCatalogue
from models.download import is_address
from ui.frame import settings
from ui.models_filter import KEY
from ui.problems import explained, plain, show_problem
from ui.wording import many

_TRIED = f"{KEY}:tried"
"""In the tab: catalogues of the settings that could not be read; they are not asked for again with every click."""


def read_those_of_the_settings() -> None:
    """Read what the settings name and nobody has read yet; what cannot be read is said once."""
    shelf = CatalogueShelf.beside(store_of(settings()))
    known = {one.place for one in shelf.all()}
    for place in settings().catalogues:
        if place in known or place in st.session_state.setdefault(_TRIED, set()):
            continue
        try:
            with st.spinner(f"Reading the catalogue {plain(place)} ..."):
                shelf.read(place)
        except TerratuneError as error:
            st.session_state[_TRIED].add(place)
            show_problem(error.fact, error.remedy)


def other_catalogues() -> None:
    """List them; open, read again, forget."""
    shelf = CatalogueShelf.beside(store_of(settings()))
    found = shelf.all()
    with st.expander(f"Other catalogues ({len(found)})", icon=":material/library_books:"):
        st.caption(
            "Any STAC catalogue whose items describe models (MLM extension) can be opened: by its web address, or as a folder of this server below the "
            "imagery folders. Its models are listed among the others."
        )
        with st.form(f"{KEY}:open_catalogue", border=False), st.container(horizontal=True, vertical_alignment="bottom"):
            place = st.text_input("Address or folder", placeholder="https://.../catalog.json", key=f"{KEY}:place")
            asked = st.form_submit_button("Open", icon=":material/add:")
        if asked and place.strip():
            with explained():
                with st.spinner("Reading the catalogue ..."):
                    read = _read(shelf, place.strip())
                st.toast(f"{many(len(read.models), 'model')} from {read.title}.", icon=":material/check_circle:")
                st.rerun()
        for one in found:
            _row(shelf, one)


def _read(shelf: CatalogueShelf, place: str) -> ForeignCatalogue:
    """A visitor's address is judged, and so is all that it leads to; a folder must be one that may be opened."""
    if is_address(place):
        return shelf.read(place, judge_of(settings()))
    return shelf.read(str(allowed_path(place, settings())))


def _row(shelf: CatalogueShelf, one: ForeignCatalogue) -> None:
    of_settings = one.place in settings().catalogues
    with st.container(horizontal=True, vertical_alignment="center"):
        left_out = f", {len(one.left_out)} left out" if one.left_out else ""
        st.markdown(f"**{plain(one.title)}** · {many(len(one.models), 'model')}{left_out}  \n:gray[{plain(one.place)}]", width="stretch")
        if st.button("Read again", key=f"{KEY}:again:{one.place}", icon=":material/refresh:"):
            with explained():
                shelf.read(one.place) if of_settings else _read(shelf, one.place)
                st.rerun()
        if not of_settings and st.button("Forget", key=f"{KEY}:forget:{one.place}", icon=":material/delete:"):
            shelf.forget(one.place)
            st.rerun()
    for reason in one.left_out[:3]:
        st.caption(plain(reason))
