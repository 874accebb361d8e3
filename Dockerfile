# syntax=docker/dockerfile:1
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 UV_LINK_MODE=copy TERRATUNE_DATA=/data
WORKDIR /app
COPY requirements.txt requirements-cluster.txt requirements.lock ./
RUN --mount=type=cache,target=/root/.cache pip install uv && uv pip install --compile-bytecode --python "$(command -v python)" --requirements requirements.txt --requirements requirements-cluster.txt --constraints requirements.lock
COPY . .
RUN useradd --create-home --uid 1000 terratune && mkdir -p /data && chown terratune /data
USER terratune
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["streamlit", "run", "app.py", "--server.port", "8501", "--server.address", "0.0.0.0"]
