"""What the browser fetches beside the page: Starlette routes, no Streamlit."""
