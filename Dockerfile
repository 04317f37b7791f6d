# One image for all programs; the command selects one.  Without a command it runs the whole store in
# one process, with its data in the volume.

FROM python:3.11-slim AS build

WORKDIR /src
RUN python -m venv /opt/bookstore
ENV PATH=/opt/bookstore/bin:$PATH \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# Dependencies first: they change less often than the code, so their layer is reused.
COPY requirements.lock ./
RUN pip install --require-hashes --requirement requirements.lock

COPY setup.py pyproject.toml LICENSE README.md ./
COPY config config
COPY bookstore bookstore
COPY actors actors
COPY web web
COPY admin admin
RUN pip install --no-deps --no-build-isolation .


FROM python:3.11-slim

RUN useradd --uid 10001 --shell /usr/sbin/nologin --home-dir /var/lib/bookstore --create-home bookstore
COPY --from=build /opt/bookstore /opt/bookstore
ENV PATH=/opt/bookstore/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    BOOKSTORE_HOST=0.0.0.0 \
    BOOKSTORE_PORT=8080 \
    BOOKSTORE_VAR_DIR=/var/lib/bookstore

USER bookstore
WORKDIR /var/lib/bookstore
VOLUME /var/lib/bookstore
EXPOSE 8080

# Checks the process only, not its dependencies: a restart does not repair a database.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"BOOKSTORE_PORT\"]}/healthz', timeout=2)"]

CMD ["bookstore", "run"]
