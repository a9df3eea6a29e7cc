# Two targets: `airflow` schedules (no torch), `worker` runs the stages, in a pod or a scheduler.
#
#   docker build --target airflow -t nightshift-airflow .
#   docker build --target worker  -t nightshift-worker  .
#
# A tag moves, a digest does not. To pin the base, look the digest up once and pass it:
#   docker buildx imagetools inspect python:3.11-slim-bookworm --format '{{.Manifest.Digest}}'
#   docker build --build-arg BASE_DIGEST=sha256:… --target worker .
# A mirror or a base of your own takes BASE_IMAGE: any Debian with Python 3.11 and its venv module.
ARG BASE_IMAGE=python:3.11-slim-bookworm
ARG BASE_DIGEST=

FROM ${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# What is built is built here; the targets get a finished /opt/venv and no pip cache.
FROM base AS build
WORKDIR /src
RUN python -m venv /opt/venv
COPY requirements.lock ./
COPY deploy/airflow.lock deploy/worker.lock ./deploy/

FROM build AS wheel
# The project's own wheel is made once, with the build backend of the lock.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install "$(grep '^setuptools==' requirements.lock)"
COPY pyproject.toml README.md ./
COPY include ./include
COPY plugins ./plugins
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels .

FROM build AS airflow-venv
# deploy/airflow.lock is what the extra `airflow` needs and nothing else (deploy/lock_for.py).
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps -r deploy/airflow.lock
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl

FROM build AS worker-venv
# torch first, pinned, and with what it needs: the lock was written on a machine without a GPU, so
# it holds none of CUDA's packages. torch itself pins those to the patch. Without a GPU, pip's own
# PIP_EXTRA_INDEX_URL can name PyTorch's CPU index, which saves gigabytes.
ARG PIP_EXTRA_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install "$(grep '^torch==' deploy/worker.lock)" -c requirements.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps -r deploy/worker.lock
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir --no-deps /wheels/*.whl
# vLLM is no extra of the lock and cannot be one: each release pins a torch of its own (0.33.0 wants
# torch 2.14.0 and transformers below 5.21, the lock has 2.13.0 and 5.23.0). So it gets a folder of
# its own, and is reached as a server (`/opt/vllm/bin/vllm serve …` beside the stage, or the profile
# `gpu` of docker-compose.yaml), never imported: --build-arg VLLM=0.33.0. Empty, there is none.
ARG VLLM=
RUN --mount=type=cache,target=/root/.cache/pip \
    mkdir /opt/vllm \
    && if [ -n "${VLLM}" ]; then \
         python -m venv /opt/vllm && /opt/vllm/bin/pip install "vllm==${VLLM}"; \
       fi

FROM base AS runtime
# Group 0 may do what the user may: clusters that give a container a user of their choice need it.
RUN useradd --no-log-init --uid 50000 --gid 0 --create-home nightshift \
    && install -d -o 50000 -g 0 -m 0775 /opt/airflow /var/lib/nightshift
# Where the DAGs are is not said here: a variable would win over a chart that syncs them from git.
ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    NIGHTSHIFT_HOME=/var/lib/nightshift \
    GX_ANALYTICS_ENABLED=false SCARF_ANALYTICS=false DO_NOT_TRACK=1
WORKDIR /opt/nightshift
COPY deploy/init_airflow.py deploy/pod-template.yaml ./deploy/
COPY dags ./dags
USER 50000

FROM runtime AS airflow
COPY --from=airflow-venv /opt/venv /opt/venv
# Of any component: is the metadata database there? docker-compose.yaml asks each one its own way.
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s --retries=3 \
    CMD ["airflow", "db", "check"]
CMD ["airflow", "version"]

FROM runtime AS worker
COPY --from=worker-venv /opt/vllm /opt/vllm
COPY --from=worker-venv /opt/venv /opt/venv
# Store, lake, packages and models; it exits 1 when one of them would stop a stage.
HEALTHCHECK --interval=300s --timeout=60s --start-period=60s --retries=3 \
    CMD ["nightshift", "doctor"]
CMD ["nightshift", "--help"]
