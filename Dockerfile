# One image for every process of the product: the command says which (python -m gateway, python -m services.push, ...).
#   docker build --target product -t notify .
# The last stage, sandbox, adds the stand-in providers, for development only.

# Any Python from 3.11 on. Both stages must be the same image: the environment links to the interpreter that made it.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY requirements.txt /build/
# What has no wheel is built here, so that neither a compiler nor pip's cache is carried along.
RUN pip wheel --no-cache-dir --wheel-dir /build/wheels --requirement /build/requirements.txt \
    && python -m venv /opt/notify \
    && /opt/notify/bin/pip install --no-index --find-links /build/wheels --requirement /build/requirements.txt

FROM ${PYTHON_IMAGE} AS product
LABEL org.opencontainers.image.title="notify" org.opencontainers.image.licenses="MIT"
# NOTIFY_LOCAL_DIR: where `python -m ops failed ...` notes what the operator did; the rest of the image is read-only.
ENV PATH=/opt/notify/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 NOTIFY_LOCAL_DIR=/tmp/notify
RUN groupadd --gid 10001 notify && useradd --uid 10001 --gid notify --no-create-home --shell /usr/sbin/nologin notify
COPY --from=environment /opt/notify /opt/notify
WORKDIR /app
COPY LICENSE VERSION ./
COPY shared ./shared
COPY gateway ./gateway
COPY services ./services
COPY ops ./ops
# A process that comes back after a crash should not compile everything first, and may not write here.
RUN python -m compileall -q --invalidation-mode unchecked-hash .
# By number, so that an orchestrator which forbids root can tell that this is not root. It owns no file here.
USER 10001:10001
CMD ["python", "-m", "gateway"]

FROM product AS sandbox
COPY sandbox ./sandbox
CMD ["python", "-m", "sandbox"]
