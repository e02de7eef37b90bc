# Parley with an embedded PostgreSQL. Debian, not Alpine: the wheels of PostgreSQL need glibc.
#
#   docker build -t parley .
#   docker run -d --init --name parley -p 127.0.0.1:8008:8008 -v parley:/data \
#       -e PARLEY_SERVER_NAME=example.org parley
#   docker exec -it parley parley register-user alice

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/parley
COPY pyproject.toml README.md LICENSE ./
COPY homeserver homeserver
COPY federation federation
COPY clients clients
COPY web web
COPY config config
RUN /opt/parley/bin/pip install --no-cache-dir .

FROM python:3.12-slim
# PostgreSQL refuses to run as root, and so nothing here does.
RUN useradd --system --home-dir /data --shell /usr/sbin/nologin parley \
    && mkdir /data && chown parley:parley /data && chmod 700 /data
COPY --from=build /opt/parley /opt/parley
ENV PATH=/opt/parley/bin:$PATH \
    PARLEY_DATA_DIRECTORY=/data \
    PARLEY_LISTENERS="[{address: '0.0.0.0:8008', resources: [client, federation, web]}]"
USER parley
WORKDIR /data
VOLUME /data
EXPOSE 8008
# The time that requests in flight may take when the container is stopped is in http.drain_seconds.
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=60s --interval=30s --timeout=5s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8008/health', timeout=4)"]
CMD ["parley", "run"]
