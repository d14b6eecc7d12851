# An image of a worker: it polls a Prefect work pool, and runs what is scheduled there (docs/scheduling.md).
#   docker build --tag singalong-worker .
#   docker run --env PREFECT_API_URL=http://server:4200/api --volume /data:/data --shm-size 1g singalong-worker
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm AS wheels

WORKDIR /src
# What changes seldom comes first: dependencies are fetched anew only when one of these two files changes.
COPY pyproject.toml constraints.txt README.md ./
COPY singalong/__init__.py singalong/__init__.py
RUN mkdir -p models tasks flows review \
 && python -m pip wheel --no-cache-dir --wheel-dir /wheels --constraint constraints.txt .
COPY singalong singalong
COPY models models
COPY tasks tasks
COPY flows flows
COPY review review
RUN rm -f /wheels/singalong-*.whl \
 && python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim-bookworm

# Of OpenCV. Everything else, libav among it, comes in the wheels.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 singalong \
 && install --directory --owner singalong /data
COPY --from=wheels /wheels /wheels
COPY constraints.txt /wheels/constraints.txt
RUN python -m pip install --no-cache-dir --no-index --find-links /wheels --constraint /wheels/constraints.txt singalong \
 && rm -rf /wheels \
 && singalong --version

USER singalong
WORKDIR /home/singalong
# No telemetry. Store and models outlive the container on the volume.
ENV DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    RAY_USAGE_STATS_ENABLED=0 \
    SINGALONG_STORE=/data/store \
    SINGALONG_MODELS=/data/models \
    SINGALONG_POOL=singalong
# exec: the worker is process 1 and hears `docker stop`; what it ran goes on with the next worker.
STOPSIGNAL SIGTERM
CMD ["sh", "-c", "exec prefect worker start --pool \"$SINGALONG_POOL\" --type process"]
