# Pancar's two images, each a target, out of a checkout:
#
#     docker build --target operator --tag pancar-operator:0.1.0 .
#     docker build --target relay --tag pancar-relay:0.1.0 .
#
# They hold the packages that pyproject.toml's extra of that name asks for, as constraints.txt pins them, and run as
# nobody on a file system that they never write to.
ARG PYTHON=3.11-slim-bookworm
ARG RUST=1.88-slim-bookworm

FROM rust:${RUST} AS rust

FROM python:${PYTHON} AS interpreter
# Without the columns of each instruction, which only tracebacks show: two megabytes less of each process.
ENV PYTHONNODEBUGRANGES=1

FROM interpreter AS wheel
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY --from=rust /usr/local/rustup /usr/local/rustup
COPY --from=rust /usr/local/cargo /usr/local/cargo
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY proto proto
COPY operator operator
COPY relay relay
COPY cli cli
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM wheel AS operator-packages
RUN python -m venv --without-pip /opt/pancar \
    && pip --python /opt/pancar/bin/python install --no-cache-dir --constraint constraints.txt \
        "$(echo /wheels/pancar-*.whl)[operator]"

FROM wheel AS relay-packages
RUN python -m venv --without-pip /opt/pancar \
    && pip --python /opt/pancar/bin/python install --no-cache-dir --constraint constraints.txt \
        "$(echo /wheels/pancar-*.whl)[relay]"

FROM interpreter AS base
RUN useradd --uid 65532 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin pancar
ENV PATH=/opt/pancar/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /
# By number: a kubelet that is to run it as anybody but root cannot look a name up.
USER 65532:65532

FROM base AS operator
COPY --from=operator-packages /opt/pancar /opt/pancar
# Attach, Enrol, health.
EXPOSE 8443/tcp 8444/tcp 8081/tcp
ENTRYPOINT ["python", "-m", "pancar_operator"]

FROM base AS relay
COPY --from=relay-packages /opt/pancar /opt/pancar
# The wall, API and WHEP; media.
EXPOSE 8443/tcp 8801/udp 8801/tcp
ENTRYPOINT ["python", "-m", "pancar_relay"]
