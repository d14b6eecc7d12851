# An image of a worker: it polls a Prefect work pool, and runs what is scheduled there (docs/scheduling.md).
#   docker build --tag singalong-worker .
#   docker run --init --env PREFECT_API_URL=http://server:4200/api --volume /data:/data --shm-size 1g singalong-worker
# Any other command runs in it as well: docker run ... singalong-worker singalong doctor
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm AS wheels

# PyTorch comes with CUDA, several GB of it. For workers without a GPU: --build-arg PIP_EXTRA_INDEX_URL=(PyTorch's index
# of CPU builds).
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
# What changes seldom comes first: dependencies are fetched anew only when one of these two files changes.
COPY pyproject.toml constraints.txt README.md ./
COPY singalong/__init__.py singalong/__init__.py
RUN --mount=type=cache,target=/root/.cache/pip \
    mkdir -p models tasks flows review \
 && python -m pip wheel --wheel-dir /wheels --constraint constraints.txt . \
 && rm /wheels/singalong-*.whl
COPY singalong singalong
COPY models models
COPY tasks tasks
COPY flows flows
COPY review review
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip wheel --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim-bookworm

# Of OpenCV. Everything else comes in the wheels: libav too, so no ffmpeg; and the bundled models, so nothing is fetched.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 singalong \
 && install --directory --owner singalong /data
# Mounted, not copied: wheels that are removed later would still be in the layer below, twice the size of the image.
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    python -m pip install --no-cache-dir --no-index --find-links /wheels singalong \
 && python -m pip check \
 && singalong --version

USER singalong
WORKDIR /home/singalong
# No telemetry. Store, models and caches outlive the container on the volume. The worker says how it is to this
# container alone.
ENV DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    RAY_USAGE_STATS_ENABLED=0 \
    SINGALONG_STORE=/data/store \
    SINGALONG_MODELS=/data/models \
    SINGALONG_CACHE=/data/cache \
    SINGALONG_POOL=singalong \
    PREFECT_WORKER_WEBSERVER_HOST=127.0.0.1 \
    PREFECT_WORKER_WEBSERVER_PORT=8080
# Whether the worker has asked for work lately.
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
# exec: the worker itself hears `docker stop`; what it ran goes on with the next worker.
STOPSIGNAL SIGTERM
CMD ["sh", "-c", "exec prefect worker start --pool \"$SINGALONG_POOL\" --type process --with-healthcheck"]
